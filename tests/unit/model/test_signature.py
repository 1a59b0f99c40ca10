"""Signatures: published vectors, one reason for each way to be wrong, and nothing that escapes."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import string
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import assume, given
from hypothesis import strategies as st

from receiver.errors import SignatureError
from receiver.model.scheme import MAX_SIGNATURES, Key, Verified
from receiver.model.signature import SCHEMES

VECTORS: list[dict[str, Any]] = json.loads(Path(__file__).with_name("vectors.json").read_text("utf-8"))["valid"]
NOW = 1_700_000_000
BODY = b'{"event":"test"}'
SECRET = "tts_secret_1"
STANDARD_SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef01234567").decode()
SECRETS = {
    "tts": SECRET,
    "elevenlabs": "wsec_abcdef",
    "stripe": "whsec_abcdef",
    "standard-webhooks": STANDARD_SECRET,
    "svix": STANDARD_SECRET,
    "github": "It's a Secret to Everybody",
}

Lines = list[tuple[bytes, bytes]]


def raw(lines: list[tuple[str, str]]) -> Lines:
    """Header lines as a server hands them on."""
    return [(name.lower().encode(), value.encode()) for name, value in lines]


def text_key(secret: str = SECRET, id_: str = "a", **bounds: float) -> Key:
    return Key(id_, secret.encode(), **bounds)


def mac(secret: bytes, message: bytes) -> str:
    return hmac.new(secret, message, hashlib.sha256).hexdigest()


def tts(value: str | bytes, body: bytes = BODY, keys: tuple[Key, ...] = (), now: float = NOW) -> Verified:
    """Verify one X-TTS-Signature value."""
    value = value.encode() if isinstance(value, str) else value
    return SCHEMES["tts"].verify([(b"x-tts-signature", value)], body, keys or (text_key(),), now)


def reason(scheme: str, headers: Lines, body: bytes = BODY, keys: tuple[Key, ...] = (), now: float = NOW) -> str:
    keys = keys or (SCHEMES[scheme].parse_secret("a", SECRETS[scheme]),)
    with pytest.raises(SignatureError) as caught:
        SCHEMES[scheme].verify(headers, body, keys, now)
    return caught.value.reason


GOOD = mac(SECRET.encode(), b"%d." % NOW + BODY)
BAD = "0" * 64


# vectors


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: f"{v['scheme']}: {v['origin'][:50]}")
def test_a_known_vector_verifies(vector: dict[str, Any]) -> None:
    scheme = SCHEMES[vector["scheme"]]
    key = scheme.parse_secret("k", vector["secret"])
    headers = [(name.encode(), value.encode()) for name, value in vector["headers"].items()]
    verified = scheme.verify(headers, vector["body"].encode(), [key], vector["now"])
    assert verified.key_id == "k"
    assert verified.skew in (None, 0)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: f"{v['scheme']}: {v['origin'][:50]}")
def test_a_known_vector_fails_over_another_body_and_with_another_secret(vector: dict[str, Any]) -> None:
    scheme = SCHEMES[vector["scheme"]]
    headers = [(name.encode(), value.encode()) for name, value in vector["headers"].items()]
    key = scheme.parse_secret("k", vector["secret"])
    assert reason(vector["scheme"], headers, vector["body"].encode() + b" ", (key,), vector["now"]) == "mismatch"
    other = Key("k", bytes(byte ^ 1 for byte in key.secret)) if not key.public else Key("k", key.secret)
    assert reason(vector["scheme"], headers, vector["body"].encode(), (other,), vector["now"]) == "mismatch"


# who signed, and when


def test_the_skew_is_our_clock_minus_the_signed_time() -> None:
    assert tts(f"t={NOW},v1={GOOD}", now=NOW + 400.5) == Verified("a", NOW, 400.5)
    assert tts(f"t={NOW},v1={GOOD}", now=NOW - 7.0).skew == -7.0


def test_an_authentic_signature_of_any_age_is_authentic_its_age_is_for_the_caller() -> None:
    assert tts(f"t={NOW},v1={GOOD}", now=NOW + 10**8).skew == 10**8


def test_github_signs_no_time() -> None:
    headers = raw(SCHEMES["github"].sign("s", BODY, NOW, "id"))
    assert SCHEMES["github"].verify(headers, BODY, [text_key("s")], NOW) == Verified("a", None, None)


def test_the_key_that_made_the_signature_is_named_whatever_its_place() -> None:
    old, new = text_key("old secret", "old"), text_key(id_="new")
    assert tts(f"t={NOW},v1={GOOD}", keys=(old, new)).key_id == "new"
    assert tts(f"t={NOW},v1={GOOD}", keys=(new, old)).key_id == "new"


def test_a_key_holds_within_its_validity_bounds_included() -> None:
    key = text_key(not_before=NOW - 10, not_after=NOW + 10)
    for now in (NOW - 10, NOW, NOW + 10):
        assert tts(f"t={NOW},v1={GOOD}", keys=(key,), now=now).key_id == "a"
    for now in (NOW - 10.1, NOW + 10.1):
        assert reason("tts", [(b"x-tts-signature", f"t={NOW},v1={GOOD}".encode())], keys=(key,), now=now) == (
            "no_active_key"
        )


def test_a_retired_key_does_not_verify_beside_an_active_one() -> None:
    retired, active = text_key(not_after=NOW - 1), text_key("another", "b")
    headers = [(b"x-tts-signature", f"t={NOW},v1={GOOD}".encode())]
    assert reason("tts", headers, keys=(retired, active)) == "mismatch"


def test_a_key_never_shows_its_secret() -> None:
    assert SECRET not in repr(text_key())


# the header's grammar


@pytest.mark.parametrize(
    "value",
    [
        f"t={NOW},v1={GOOD}",
        f"v1={GOOD},t={NOW}",
        f"t={NOW},v1={GOOD.upper()}",
        f"t={NOW},v1={BAD},v1={GOOD}",
        f"t={NOW},v1={GOOD},v1={BAD}",
        f"t={NOW},v0=whatever,v1={GOOD},v2=",
        f"t={NOW},v1={GOOD},x=a=b",
        f"t={NOW}," + f"v1={BAD}," * (MAX_SIGNATURES - 1) + f"v1={GOOD}",
        f"t={NOW}, v1={GOOD}",
        f"t={NOW} \t,\t v1={GOOD}",
        f" \t t={NOW},v1={GOOD} \t ",
        f"t={NOW},v1={GOOD},",
        f",t={NOW}, ,v1={GOOD}",
    ],
)
def test_a_header_within_the_grammar_verifies(value: str) -> None:
    assert tts(value).key_id == "a"


@pytest.mark.parametrize(
    ("value", "slug"),
    [
        ("", "malformed_header"),
        (",", "malformed_header"),
        (GOOD, "malformed_header"),
        (f"v1={GOOD}", "malformed_header"),
        (f"t=,v1={GOOD}", "malformed_header"),
        (f"t=-1,v1={GOOD}", "malformed_header"),
        (f"t=+{NOW},v1={GOOD}", "malformed_header"),
        (f"t= {NOW},v1={GOOD}", "malformed_header"),
        (f"t={NOW}.0,v1={GOOD}", "malformed_header"),
        (f"t={NOW}\n,v1={GOOD}", "malformed_header"),
        (f"t={'9' * 13},v1={GOOD}", "malformed_header"),
        (f"t={NOW},t={NOW},v1={GOOD}", "malformed_header"),
        (f"t={NOW}, v1 ={GOOD}", "no_known_version"),
        (f"t={NOW}, v1= {GOOD}", "malformed_header"),
        (f"t={NOW},\u00a0v1={GOOD}", "malformed_header"),
        (f"t={NOW}\x0b,v1={GOOD}", "malformed_header"),
        (f"t={NOW}; v1={GOOD}", "malformed_header"),
        (f"t={NOW},v1={GOOD}, t={NOW},v1={GOOD}", "malformed_header"),
        (f"t={NOW},v1={GOOD},,;", "malformed_header"),
        (f"t={NOW},v1={GOOD}\n", "malformed_header"),
        (f"t={NOW},v1={GOOD[:-1]}", "malformed_header"),
        (f"t={NOW},v1={GOOD}0", "malformed_header"),
        (f"t={NOW},v1={GOOD[:-1]}g", "malformed_header"),
        (f"t={NOW},v1=", "malformed_header"),
        (f"t={NOW},v1={GOOD},v1=zz", "malformed_header"),
        (f"t={NOW},=,v1={GOOD}", "malformed_header"),
        (f"t={NOW}," + f"v1={BAD}," * MAX_SIGNATURES + f"v1={GOOD}", "malformed_header"),
        (f"t={NOW}", "no_known_version"),
        (f"t={NOW},v0={GOOD}", "no_known_version"),
        (f"t={NOW + 1},v1={GOOD}", "mismatch"),
        (f"t=0{NOW},v1={GOOD}", "mismatch"),
        (f"t={NOW},v1={BAD}", "mismatch"),
    ],
)
def test_a_header_outside_the_grammar_is_refused_with_its_reason(value: str, slug: str) -> None:
    assert reason("tts", [(b"x-tts-signature", value.encode())]) == slug


@pytest.mark.parametrize("digits", ["１７０００００００００", "١٧٠٠٠٠٠٠٠٠", "²"])
def test_digits_of_other_scripts_are_no_time(digits: str) -> None:
    value = f"t={digits},v1={GOOD}".encode()
    assert reason("tts", [(b"x-tts-signature", value)]) == "malformed_header"


@given(seconds=st.integers(0, 10**12 - 1), body=st.binary())
@pytest.mark.parametrize("scheme", ["tts", "elevenlabs", "stripe"])
def test_the_usual_header_is_read_as_one_with_an_empty_element(scheme: str, seconds: int, body: bytes) -> None:
    [(name, value)] = raw(SCHEMES[scheme].sign(SECRETS[scheme], body, seconds, ""))
    key = SCHEMES[scheme].parse_secret("a", SECRETS[scheme])
    found = [SCHEMES[scheme].verify([(name, value + end)], body, [key], NOW) for end in (b"", b",")]
    assert found[0] == found[1]
    assert found[0].timestamp == seconds


@pytest.mark.parametrize("scheme", sorted(SCHEMES))
def test_a_missing_header_is_named_as_missing(scheme: str) -> None:
    lines = raw(SCHEMES[scheme].sign(SECRETS[scheme], BODY, NOW, "msg_1"))
    assert len(lines) == len(SCHEMES[scheme].headers)
    for line in lines:
        assert reason(scheme, [other for other in lines if other is not line]) == "missing_header"


@pytest.mark.parametrize("scheme", sorted(SCHEMES))
def test_a_repeated_header_is_refused_even_if_both_are_right(scheme: str) -> None:
    lines = raw(SCHEMES[scheme].sign(SECRETS[scheme], BODY, NOW, "msg_1"))
    for line in lines:
        assert reason(scheme, [*lines, line]) == "repeated_header"


@pytest.mark.parametrize("scheme", sorted(SCHEMES))
def test_a_header_outside_ascii_is_refused(scheme: str) -> None:
    lines = raw(SCHEMES[scheme].sign(SECRETS[scheme], BODY, NOW, "msg_1"))
    for index, (name, value) in enumerate(lines):
        changed = [*lines[:index], (name, value + b"\xff"), *lines[index + 1 :]]
        assert reason(scheme, changed) == "malformed_header"


@pytest.mark.parametrize(
    ("value", "slug"),
    [
        ("", "malformed_header"),
        ("sha1=" + "0" * 40, "malformed_header"),
        ("sha256=" + "0" * 63, "malformed_header"),
        ("0" * 64, "malformed_header"),
        ("SHA256=" + "0" * 64, "malformed_header"),
        ("sha256=" + "0" * 64, "mismatch"),
    ],
)
def test_a_github_header_that_does_not_hold_has_its_reason(value: str, slug: str) -> None:
    assert reason("github", [(b"x-hub-signature-256", value.encode())]) == slug


# Standard Webhooks


def standard(signature: str, id_: str = "msg_1", timestamp: str = str(NOW)) -> Lines:
    return raw([("webhook-id", id_), ("webhook-timestamp", timestamp), ("webhook-signature", signature)])


STANDARD_GOOD = dict(SCHEMES["standard-webhooks"].sign(STANDARD_SECRET, BODY, NOW, "msg_1"))["webhook-signature"]
STANDARD_BAD = "v1," + base64.b64encode(bytes(32)).decode()


@pytest.mark.parametrize(
    "value",
    [
        STANDARD_GOOD,
        f"{STANDARD_BAD} {STANDARD_GOOD}",
        f"v9,anything {STANDARD_GOOD}",
        f"v1a,{base64.b64encode(bytes(64)).decode()} {STANDARD_GOOD}",
        f"{STANDARD_BAD}  \t{STANDARD_GOOD}",
    ],
)
def test_any_of_several_standard_signatures_may_match(value: str) -> None:
    key = SCHEMES["standard-webhooks"].parse_secret("a", STANDARD_SECRET)
    assert SCHEMES["standard-webhooks"].verify(standard(value), BODY, [key], NOW).key_id == "a"


@pytest.mark.parametrize(
    ("headers", "slug"),
    [
        (standard(""), "malformed_header"),
        (standard("v1"), "malformed_header"),
        (standard(",AAAA"), "malformed_header"),
        (standard("v1,***"), "malformed_header"),
        (standard("v1,AAAA"), "malformed_header"),
        (standard("v1a,AAAA"), "malformed_header"),
        (standard("v2,AAAA"), "no_known_version"),
        (standard(" ".join([STANDARD_BAD] * (MAX_SIGNATURES + 1))), "malformed_header"),
        (standard(STANDARD_BAD), "mismatch"),
        (standard(STANDARD_GOOD, id_="msg_2"), "mismatch"),
        (standard(STANDARD_GOOD, id_=""), "malformed_header"),
        (standard(STANDARD_GOOD, id_="msg 1"), "malformed_header"),
        (standard(STANDARD_GOOD, id_="m" * 257), "malformed_header"),
        (standard(STANDARD_GOOD, timestamp="now"), "malformed_header"),
        (standard(STANDARD_GOOD, timestamp="-1"), "malformed_header"),
        (standard(STANDARD_GOOD, timestamp=str(NOW + 1)), "mismatch"),
    ],
)
def test_a_standard_signature_that_does_not_hold_has_its_reason(headers: Lines, slug: str) -> None:
    assert reason("standard-webhooks", headers) == slug


def test_an_ed25519_signature_holds_with_the_public_key_only() -> None:
    private = Ed25519PrivateKey.generate()
    public = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    scheme = SCHEMES["standard-webhooks"]
    value = "v1a," + base64.b64encode(private.sign(f"msg_1.{NOW}.".encode() + BODY)).decode()
    key = scheme.parse_secret("pk", "whpk_" + base64.b64encode(public).decode())
    assert scheme.verify(standard(value), BODY, [key], NOW).key_id == "pk"
    assert reason("standard-webhooks", standard(value), BODY + b" ", (key,)) == "mismatch"
    other = Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    wrong = scheme.parse_secret("pk", "whpk_" + base64.b64encode(other).decode())
    assert reason("standard-webhooks", standard(value), keys=(wrong,)) == "mismatch"


def test_a_public_key_is_never_an_hmac_secret() -> None:
    """Else everyone who knows the public key could sign."""
    private = Ed25519PrivateKey.generate()
    public = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    key = SCHEMES["standard-webhooks"].parse_secret("pk", "whpk_" + base64.b64encode(public).decode())
    forged = base64.b64encode(hmac.digest(public, f"msg_1.{NOW}.".encode() + BODY, "sha256")).decode()
    assert reason("standard-webhooks", standard(f"v1,{forged}"), keys=(key,)) == "mismatch"


def test_signing_with_a_private_key_verifies_with_its_public_one() -> None:
    private = Ed25519PrivateKey.generate()
    scheme = SCHEMES["standard-webhooks"]
    secret = "whsk_" + base64.b64encode(private.private_bytes_raw()).decode()
    public = "whpk_" + base64.b64encode(private.public_key().public_bytes_raw()).decode()
    headers = raw(scheme.sign(secret, BODY, NOW, "msg_1"))
    assert scheme.verify(headers, BODY, [scheme.parse_secret("pk", public)], NOW).key_id == "pk"


# secrets


@pytest.mark.parametrize("scheme", ["tts", "elevenlabs", "github"])
@pytest.mark.parametrize("secret", ["", " ", " padded", "padded\n"])
def test_a_text_secret_with_white_space_around_it_is_not_taken(scheme: str, secret: str) -> None:
    with pytest.raises(ValueError, match="white space"):
        SCHEMES[scheme].parse_secret("a", secret)


@pytest.mark.parametrize(
    "secret",
    ["whsec_!!!", "whsec_", "whsec_ä", "whpk_AAAA", "whpk_***", "whsk_" + base64.b64encode(bytes(64)).decode()],
)
def test_an_unusable_standard_secret_is_refused_without_being_shown(secret: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is what is checked
        SCHEMES["standard-webhooks"].parse_secret("a", secret)
    content = secret.partition("_")[2]
    assert not content or content not in str(caught.value)


@pytest.mark.parametrize(
    ("secret", "what"),
    [
        (f"v1,{STANDARD_SECRET}", "leave out what is before whsec_"),
        (f"v1a,{STANDARD_SECRET}", "leave out what is before whsec_"),
        ("whsec_" + base64.b64encode(b"0" * 25).decode().rstrip("="), "its end is missing"),
        (STANDARD_SECRET[:-1], "its end is missing"),
        ("whsec_" + base64.urlsafe_b64encode(b"\xff" * 24).decode(), "contains - or _"),
        (f'"{STANDARD_SECRET}"', "copy it again"),
    ],
)
def test_a_standard_secret_that_was_pasted_wrongly_gets_a_hint(secret: str, what: str) -> None:
    with pytest.raises(ValueError, match=what) as caught:
        SCHEMES["standard-webhooks"].parse_secret("a", secret)
    assert STANDARD_SECRET[6:20] not in str(caught.value)


@given(secret=st.text(min_size=1).filter(lambda s: s == s.strip()), body=st.binary(), now=st.integers(0, 10**12 - 1))
def test_tts_is_the_standard_librarys_hmac_over_time_dot_body_with_the_secret_as_text(
    secret: str, body: bytes, now: int
) -> None:
    assume(not any(0xD800 <= ord(char) < 0xE000 for char in secret))
    expected = mac(secret.encode(), str(now).encode() + b"." + body)
    assert SCHEMES["tts"].sign(secret, body, now, "") == [("X-TTS-Signature", f"t={now},v1={expected}")]
    key = SCHEMES["tts"].parse_secret("a", secret)
    assert tts(f"t={now},v1={expected}", body, (key,), now).timestamp == now


@given(secret=st.binary(min_size=1), parts=st.lists(st.binary(), max_size=4))
def test_the_hmac_is_the_standard_librarys(secret: bytes, parts: list[bytes]) -> None:
    key = Key("a", secret)
    for _ in range(2):
        assert key.mac(*parts) == hmac.digest(secret, b"".join(parts), "sha256"), "the second as well as the first"


_WHITE_SPACE = st.text(" \t", max_size=4).map(str.encode)


@pytest.mark.parametrize("scheme", sorted(SCHEMES))
@given(before=_WHITE_SPACE, after=_WHITE_SPACE)
def test_white_space_around_any_header_value_changes_nothing(scheme: str, before: bytes, after: bytes) -> None:
    signed = raw(SCHEMES[scheme].sign(SECRETS[scheme], BODY, NOW, "msg_1"))
    key = SCHEMES[scheme].parse_secret("a", SECRETS[scheme])
    padded = [(name, before + value + after) for name, value in signed]
    assert SCHEMES[scheme].verify(padded, BODY, [key], NOW) == SCHEMES[scheme].verify(signed, BODY, [key], NOW)


@pytest.mark.parametrize("scheme", sorted(SCHEMES))
def test_two_lines_that_a_proxy_joined_are_refused_like_two_lines(scheme: str) -> None:
    lines = raw(SCHEMES[scheme].sign(SECRETS[scheme], BODY, NOW, "msg_1"))
    for index, (name, value) in enumerate(lines):
        joined = [*lines[:index], (name, value + b", " + value), *lines[index + 1 :]]
        assert reason(scheme, joined) == "malformed_header"


@pytest.mark.parametrize("scheme", sorted(SCHEMES))
def test_only_an_id_that_is_signed_is_given_as_the_messages(scheme: str) -> None:
    headers = [(b"x-tts-delivery-id", b"d-1"), *raw(SCHEMES[scheme].sign(SECRETS[scheme], BODY, NOW, "msg_1"))]
    key = SCHEMES[scheme].parse_secret("a", SECRETS[scheme])
    signed = {"standard-webhooks": "msg_1", "svix": "msg_1"}
    assert SCHEMES[scheme].verify(headers, BODY, [key], NOW).message_id == signed.get(scheme)


@pytest.mark.parametrize("scheme", sorted(SCHEMES))
@given(body=st.binary(), now=st.integers(0, 10**12 - 1))
def test_what_a_scheme_signs_it_verifies(scheme: str, body: bytes, now: int) -> None:
    headers = raw(SCHEMES[scheme].sign(SECRETS[scheme], body, now, "msg_1"))
    key = SCHEMES[scheme].parse_secret("a", SECRETS[scheme])
    verified = SCHEMES[scheme].verify(headers, body, [key], now + 3)
    assert verified.key_id == "a"
    assert verified.skew in (None, 3)


# nothing from outside escapes, nothing changed holds

_PIECES = st.sampled_from(
    [b"t", b"v1", b"v0", b"v1a", b"=", b",", b" ", b".", str(NOW).encode(), GOOD.encode(), BAD.encode(), b"sha256"]
)
_VALUES = st.one_of(st.binary(max_size=200), st.lists(_PIECES, max_size=12).map(b"".join))
_REASONS = {"missing_header", "repeated_header", "malformed_header", "no_known_version", "no_active_key", "mismatch"}
_NAMES = st.sampled_from(sorted({name.encode() for scheme in SCHEMES.values() for name in scheme.headers}))


@pytest.mark.parametrize("scheme", sorted(SCHEMES))
@given(headers=st.lists(st.tuples(_NAMES, _VALUES), max_size=6), body=st.binary())
def test_arbitrary_headers_and_bodies_raise_nothing_but_a_signature_error(
    scheme: str, headers: Lines, body: bytes
) -> None:
    key = SCHEMES[scheme].parse_secret("a", SECRETS[scheme])
    public = SCHEMES["standard-webhooks"].parse_secret("pk", "whpk_" + base64.b64encode(bytes(32)).decode())
    keys = [key, public] if scheme == "standard-webhooks" else [key]
    slug = "mismatch"
    try:
        SCHEMES[scheme].verify(headers, body, keys, NOW)
    except SignatureError as error:
        slug = error.reason
    assert slug in _REASONS


@given(at=st.integers(0, 10**6), to=st.integers(0, 255))
def test_a_header_with_any_one_byte_changed_does_not_hold(at: int, to: int) -> None:
    value = bytearray(f"t={NOW},v1={GOOD}".encode())
    at %= len(value)
    same_digit = value[at : at + 1].lower() == bytes([to]).lower() and chr(to) in string.hexdigits and at > 13
    assume(value[at] != to and not same_digit)
    value[at] = to
    with pytest.raises(SignatureError):
        tts(bytes(value))


@pytest.mark.parametrize("scheme", sorted(SCHEMES))
@given(body=st.binary(min_size=1), at=st.integers(0, 10**6), flip=st.integers(1, 255))
def test_a_body_with_any_one_byte_changed_does_not_hold(scheme: str, body: bytes, at: int, flip: int) -> None:
    headers = raw(SCHEMES[scheme].sign(SECRETS[scheme], body, NOW, "msg_1"))
    changed = bytearray(body)
    changed[at % len(body)] ^= flip
    assert reason(scheme, headers, bytes(changed)) == "mismatch"


@given(at=st.integers(0, 31), flip=st.integers(1, 255))
def test_a_standard_signature_with_any_one_byte_changed_does_not_hold(at: int, flip: int) -> None:
    signature = bytearray(base64.b64decode(STANDARD_GOOD.removeprefix("v1,")))
    signature[at] ^= flip
    value = "v1," + base64.b64encode(signature).decode()
    assert reason("standard-webhooks", standard(value)) == "mismatch"


@given(moved=st.integers(1, 9))
def test_digits_cannot_move_between_the_time_and_the_body(moved: int) -> None:
    """The dot is signed: `t=17,body=0…` is another message than `t=170,body=…`."""
    digits = str(NOW)
    value = f"t={digits[:-moved]},v1={GOOD}"
    assert reason("tts", [(b"x-tts-signature", value.encode())], digits[-moved:].encode() + BODY) == "mismatch"
