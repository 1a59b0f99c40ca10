"""Each mistake that people make with signatures is recognised, and explaining accepts nothing."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.errors import SignatureError
from receiver.model.delivery import Headers
from receiver.model.diagnose import explain
from receiver.model.signature import SCHEMES, Key

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
