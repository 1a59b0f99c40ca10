"""Each mistake that people make with signatures is recognised, and explaining accepts nothing."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.errors import SignatureError
from receiver.model.delivery import Headers
from receiver.model.diagnose import explain
from receiver.model.scheme import Key
from receiver.model.signature import SCHEMES

NOW = 1_700_000_000
TTS = SCHEMES["tts"]
BODY = b'{"event":\r\n"test"}'
SECRET = "tts_secret_1"


def signed(body: bytes = BODY, secret: str | bytes = SECRET) -> Headers:
    raw = secret.encode() if isinstance(secret, str) else secret
    value = f"t={NOW},v1={Key('k', raw).mac(b'%d.' % NOW, body).hex()}"
    return [(b"x-tts-signature", value.encode())]


def why(headers: Headers, body: bytes = BODY, *keys: Key, now: float = NOW) -> str | None:
    used = keys or (Key("k", SECRET.encode()),)
    with pytest.raises(SignatureError):
        TTS.verify(headers, body, used, now)
    return explain(TTS, headers, body, used, now)


@pytest.mark.parametrize(
    ("signed_body", "given_body", "words"),
    [
        (BODY, BODY + b"\n", "without its last line break"),
        (BODY, BODY + b"\r\n", "without its last line break"),
        (BODY + b"\n", BODY, "with a line break at its end"),
        (BODY.replace(b"\r\n", b"\n"), BODY, "LF instead of CRLF"),
        (b"", BODY, "empty body"),
    ],
)
def test_a_body_that_was_changed_on_the_way_is_recognised(signed_body: bytes, given_body: bytes, words: str) -> None:
    said = why(signed(signed_body), given_body)
    assert said is not None
    assert words in said


def test_a_secret_that_the_sender_decoded_is_recognised() -> None:
    as_hex = "5f4dcc3b5aa765d61d8327deb882cf99"
    said = why(signed(secret=bytes.fromhex(as_hex)), BODY, Key("k", as_hex.encode()))
    assert said is not None
    assert "decoded from hex" in said
    raw = b"0123456789abcdef0123456"
    for text in (base64.b64encode(raw).decode(), "whsec_" + base64.b64encode(raw).decode()):
        said = why(signed(secret=raw), BODY, Key("k", text.encode()))
        assert said is not None
        assert "decoded from base64" in said


def test_a_prefix_of_the_secret_that_the_sender_does_not_use_or_adds_is_recognised() -> None:
    assert "without its whsec_" in str(why(signed(secret="an odd one!"), BODY, Key("k", b"whsec_an odd one!")))
    assert "with whsec_ before it" in str(why(signed(secret="whsec_an odd one!"), BODY, Key("k", b"an odd one!")))


def test_a_body_that_a_framework_parsed_and_wrote_anew_is_recognised_with_advice() -> None:
    sent = b'{"event":"test","data":{"text":"Gr\xc3\xbc\xc3\x9fe"}}'
    said = why(signed(sent), json.dumps(json.loads(sent), indent=2).encode())
    assert said is not None
    assert said.startswith("It is valid for the same JSON written compact, letters beyond ASCII as they are. ")
    assert "verify the signature over the raw bytes" in said


@pytest.mark.parametrize(
    ("scheme", "header"),
    [("github", "x-hub-signature-256"), ("elevenlabs", "elevenlabs-signature"), ("standard-webhooks", None)],
)
def test_every_scheme_is_explained(scheme: str, header: str | None) -> None:
    secret = base64.b64encode(b"a secret of some length").decode()
    headers = [
        (name.lower().encode(), value.encode())
        for name, value in SCHEMES[scheme].sign(secret, BODY, NOW, "msg_1")
        if header in (None, name.lower())
    ]
    said = explain(SCHEMES[scheme], headers, BODY + b"\n", [SCHEMES[scheme].parse_secret("k", secret)], NOW)
    assert said is not None
    assert "without its last line break" in said


def pasted(value: bytes) -> str | None:
    return why([(b"x-tts-signature", value)])


def test_what_was_copied_with_white_space_or_quotes_is_recognised() -> None:
    value = signed()[0][1]
    for changed in (
        value.replace(b",v1=", b",\n  v1="),
        value[:40] + b"\n" + value[40:],
        b'"' + value + b'"',
        value.replace(b"t=", "t=\u00a0".encode()),
        b"\xe2\x80\x9c" + value + b"\xe2\x80\x9d",
    ):
        assert pasted(changed) == "It is valid without the white space and the quotes in the header.", changed


def test_the_case_of_hex_digits_does_not_matter() -> None:
    t, _, hex = signed()[0][1].partition(b",v1=")
    assert TTS.verify([(b"x-tts-signature", t + b",v1=" + hex.upper())], BODY, [Key("k", SECRET.encode())], NOW)


def test_a_time_in_milliseconds_is_recognised() -> None:
    value = signed()[0][1]
    assert "in seconds instead of milliseconds" in str(pasted(value.replace(b",v1", b"123,v1")))

    over = Key("k", SECRET.encode()).mac(b"%d." % (NOW * 1000), BODY).hex()
    said = str(pasted(b"t=%d,v1=%s" % (NOW * 1000, over.encode())))
    assert said.startswith("The time in the header is in milliseconds: the sender must send and sign unix seconds.")
    assert said.endswith("Otherwise it is valid.")

    said = str(pasted(b"t=%d,v1=%s" % (NOW * 1000, b"0" * 64)))
    assert said.startswith("The time in the header is in milliseconds")


def test_milliseconds_of_standard_webhooks_are_recognised() -> None:
    scheme, secret = SCHEMES["standard-webhooks"], base64.b64encode(b"a secret of some length").decode()
    lines = dict(scheme.sign(secret, BODY, NOW, "msg_1")) | {"webhook-timestamp": f"{NOW}000"}
    headers = [(name.encode(), value.encode()) for name, value in lines.items()]
    said = explain(scheme, headers, BODY, [scheme.parse_secret("k", secret)], NOW)
    assert said == "It is valid with the time in seconds instead of milliseconds."


def test_a_sender_that_signs_the_body_alone_is_recognised() -> None:
    alone = Key("k", SECRET.encode()).mac(BODY).hex()
    assert "for the body alone" in str(pasted(f"t={NOW},v1={alone}".encode()))


def test_of_two_headers_the_one_that_holds_is_named() -> None:
    other = (b"x-tts-signature", signed(secret="another")[0][1])
    for headers, number in (([other, *signed()], 2), ([*signed(), other], 1)):
        said = why(headers)
        assert said == (f"It is valid with line {number} of 2 of x-tts-signature alone: the others must not be added.")
    assert why([other, other]) is None


@pytest.mark.parametrize("bounds", [{"not_after": NOW - 1.0}, {"not_before": NOW + 1.0}])
def test_a_secret_outside_its_validity_is_named(bounds: dict[str, float]) -> None:
    said = why(signed(), BODY, Key("old", SECRET.encode(), **bounds), Key("new", b"another"))
    assert said is not None
    assert "old" in said
    assert "validity" in said


def test_a_wrong_secret_or_a_broken_header_is_not_explained_away() -> None:
    assert why(signed(secret="another")) is None
    assert why([]) is None
    assert why([(b"x-tts-signature", b"\xff")]) is None
    assert why(signed(secret="another"), BODY, Key("k", "schlüssel".encode())) is None


def test_no_explanation_shows_the_secret() -> None:
    for body in (BODY + b"\n", BODY):
        said = explain(TTS, signed(), body, [Key("k", SECRET.encode(), not_after=0.0)], NOW)
        assert said is not None
        assert SECRET not in said


@pytest.mark.parametrize("scheme", sorted(SCHEMES))
@given(value=st.binary(max_size=120), body=st.binary(max_size=50), secret=st.binary(min_size=1, max_size=40))
def test_whatever_it_is_given_it_explains_or_says_none(scheme: str, value: bytes, body: bytes, secret: bytes) -> None:
    headers = [(name.encode(), value) for name in SCHEMES[scheme].headers]
    said = explain(SCHEMES[scheme], headers, body, [Key("k", secret)], NOW)
    assert said is None or isinstance(said, str)
