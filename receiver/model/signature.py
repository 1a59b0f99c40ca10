"""Does a signature hold? Pure functions of (headers, body, keys, now), one per scheme.

Apart from the intake so that they can be tested against published vectors and used by the command line, and
because nothing here may read a clock. Whether an authentic delivery is too old is the caller's decision: `Verified`
carries the skew.

Sources: the aitts provider's webhook documentation (`tts`), ElevenLabs' and Stripe's webhook documentation, the
Standard Webhooks specification 1.0.0, GitHub's "Validating webhook deliveries".
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.constant_time import bytes_eq

from receiver.errors import SignatureError
from receiver.model.delivery import Headers

MAX_SIGNATURES = 16
"""More signatures than this in one header are refused: no honest sender has so many keys."""

_SHA256 = hashes.SHA256()
_SECONDS = re.compile(r"[0-9]{1,12}\Z", re.ASCII)
_HEX_SHA256 = re.compile(r"[0-9a-fA-F]{64}\Z", re.ASCII)
_ID = re.compile(r"[\x21-\x7e]{1,256}\Z")
_WHITE_SPACE = re.compile(r"[ \t]+")
_WHITE = " \t"
"""White space allowed around a header's value and the elements of a list in it (RFC 9110, 5.5 and 5.6.1)."""


@dataclass(frozen=True, slots=True)
class Key:
    """One signing secret, ready to use.

    Attributes:
        id: names it in rows and logs; says nothing about the secret.
        secret: the bytes that go into HMAC, or an ed25519 public key's 32 bytes.
        public: whether `secret` is an ed25519 public key (`v1a`).
        not_before: unix seconds before which the key is not accepted; None for no bound.
        not_after: unix seconds after which the key is not accepted; None for no bound.
    """

    id: str
    secret: bytes
    public: bool = False
    not_before: float | None = None
    not_after: float | None = None
    _mac: hmac.HMAC = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_mac", hmac.HMAC(self.secret, _SHA256))

    def __repr__(self) -> str:
        return f"Key(id={self.id!r})"

    def mac(self, *parts: bytes) -> bytes:
        """HMAC-SHA256 over the parts, one after the other."""
        mac = self._mac.copy()  # half the price of setting the key up anew
        for part in parts:
            mac.update(part)
        return mac.finalize()

    def active(self, now: float) -> bool:
        """Whether the key is accepted at `now`."""
        return (self.not_before is None or now >= self.not_before) and (self.not_after is None or now <= self.not_after)


class Verified(NamedTuple):
    """A signature that holds.

    Attributes:
        key_id: the key that made it.
        timestamp: the signed unix seconds; None where the scheme signs no time.
        skew: `now` minus the timestamp, seconds; positive for the past.
        message_id: the signed id of the message; None where the scheme signs none.
    """

    key_id: str
    timestamp: int | None
    skew: float | None
    message_id: str | None = None


@dataclass(frozen=True, slots=True)
class Scheme:
    """How one family of services signs.

    Attributes:
        headers: lower-case names of every header that the check reads; these are kept with the event.
        parse_secret: a configured secret's text to a `Key`; ValueError, in words for a person, if it is none.
        verify: raises `SignatureError` unless one of the keys made the signature.
        sign: header lines for a body: (secret text, body, unix seconds, message id) to name/value pairs.
    """

    name: str
    headers: tuple[str, ...]
    parse_secret: Callable[[str, str], Key]
    verify: Callable[[Headers, bytes, Sequence[Key], float], Verified]
    sign: Callable[[str, bytes, int, str], list[tuple[str, str]]]


def single_header(headers: Headers, name: bytes) -> str:
    """The one value of a header, without white space around it (RFC 9110, 5.5).

    Two lines of one name are not joined: none of these headers is a list of values (RFC 9110, 5.3), and it is unknown
    which of two signatures was meant.

    Raises:
        SignatureError: it is missing, repeated, or not ASCII.
    """
    found: bytes | None = None
    for header, value in headers:
        if header == name:
            if found is not None:
                raise SignatureError(
                    f"The header {name.decode()} stands there more than once.", reason="repeated_header"
                )
            found = value
    if found is None:
        raise SignatureError(f"There is no {name.decode()} header.", reason="missing_header")
    try:
        return found.decode("ascii").strip(_WHITE)
    except UnicodeDecodeError:
        raise SignatureError(f"The header {name.decode()} is not ASCII.", reason="malformed_header") from None


def _malformed(what: str) -> SignatureError:
    return SignatureError(what, reason="malformed_header")


def _active(keys: Iterable[Key], now: float) -> list[Key]:
    active = [key for key in keys if key.active(now)]
    if not active:
        raise SignatureError("No configured signing secret is valid at this time.", reason="no_active_key")
    return active


def _mismatch() -> SignatureError:
    return SignatureError(
        "No configured signing secret makes this signature over this body: another secret, or a changed body.",
        reason="mismatch",
    )


def _text_key(id_: str, text: str) -> Key:
    """The secret is used as the text it is, also where it looks like hex or base64."""
    if not text or text != text.strip():
        raise ValueError("is empty or has white space around it")
    return Key(id_, text.encode())


# t=<seconds>,vN=<hex>: tts, ElevenLabs, Stripe ------------------------------------------------------------------


def parse_timestamped(value: str, field: str) -> tuple[str, list[bytes]]:
    """Read `t=<digits>,<field>=<hex>[,<field>=<hex>…]`; unknown fields are passed over.

    As in any list of a header, white space may stand around the commas, and an element may be empty (RFC 9110, 5.6.1).

    Returns:
        The timestamp's digits as signed, and each signature's 32 bytes.

    Raises:
        SignatureError: not of this form.
    """
    timestamp: str | None = None
    signatures: list[bytes] = []
    for item in value.split(","):
        name, equals, content = item.strip(_WHITE).partition("=")
        if not equals or not name:
            if not name and not equals:
                continue
            raise _malformed("An element of the signature header is not name=value.")
        if name == "t":
            if timestamp is not None:
                raise _malformed("The signature header has more than one t.")
            if not _SECONDS.match(content):
                raise _malformed("t is not unix seconds in ASCII digits.")
            timestamp = content
        elif name == field:
            if not _HEX_SHA256.match(content):
                raise _malformed(f"{field} is not 64 hex digits.")
            signatures.append(bytes.fromhex(content))
    if timestamp is None:
        raise _malformed("The signature header has no t.")
    if not signatures:
        raise SignatureError(f"The signature header has no {field}.", reason="no_known_version")
    if len(signatures) > MAX_SIGNATURES:
        raise _malformed("The signature header has too many signatures.")
    return timestamp, signatures


def timestamped(name: str, header: str, field: str) -> Scheme:
    """A scheme that signs `<t>.<body>` and sends `t=,<field>=` in one header."""
    raw_name = header.lower().encode()

    def verify(headers: Headers, body: bytes, keys: Sequence[Key], now: float) -> Verified:
        timestamp, signatures = parse_timestamped(single_header(headers, raw_name), field)
        prefix = timestamp.encode() + b"."
        for key in _active(keys, now):
            expected = key.mac(prefix, body)
            for signature in signatures:
                if bytes_eq(expected, signature):
                    seconds = int(timestamp)
                    return Verified(key.id, seconds, now - seconds)
        raise _mismatch()

    def sign(secret: str, body: bytes, now: int, id_: str) -> list[tuple[str, str]]:
        del id_
        return [(header, f"t={now},{field}={Key('', secret.encode()).mac(b'%d.' % now, body).hex()}")]

    return Scheme(name, (raw_name.decode(),), _text_key, verify, sign)


# Standard Webhooks -----------------------------------------------------------------------------------------------


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("is not base64") from None


def _standard_key(id_: str, text: str) -> Key:
    if text.startswith("whsk_"):
        raise ValueError("is a private key (whsk_…); a receiver needs the public one (whpk_…)")
    if re.match(r"v1a?,", text):
        raise ValueError("begins with a version and a comma, which are no part of it: leave out what is before whsec_")
    if text.startswith("whpk_"):
        raw = _base64_secret(text.removeprefix("whpk_"))
        if len(raw) != 32:
            raise ValueError("is not an ed25519 public key of 32 bytes")
        return Key(id_, raw, public=True)
    raw = _base64_secret(text.removeprefix("whsec_"))
    if not raw:
        raise ValueError("is empty")
    return Key(id_, raw)


def _base64_secret(text: str) -> bytes:
    try:
        return _base64(text)
    except ValueError:
        hint = "copy it again from where it was shown: whsec_ and base64"
        if re.fullmatch(r"[A-Za-z0-9+/]+", text):
            hint = "its end is missing: base64 comes in groups of four characters, with = at the end where needed"
        elif re.fullmatch(r"[A-Za-z0-9_-]+=*", text):
            hint = "it has - or _ in it, as base64 for addresses does; this one has + and / in their place"
        raise ValueError(f"is not base64; {hint}") from None


def _standard_signatures(value: str) -> tuple[list[bytes], list[bytes]]:
    """Read `v1,<b64> v1a,<b64> …`: (HMAC signatures, ed25519 signatures); unknown versions are passed over."""
    symmetric: list[bytes] = []
    asymmetric: list[bytes] = []
    for element in _WHITE_SPACE.split(value):
        version, comma, content = element.partition(",")
        if not comma or not version:
            raise _malformed("An element of webhook-signature is not version,signature.")
        if version not in ("v1", "v1a"):
            continue
        try:
            raw = _base64(content)
        except ValueError:
            raise _malformed(f"The {version} signature is not base64.") from None
        if len(raw) != (32 if version == "v1" else 64):
            raise _malformed(f"The {version} signature has the wrong length.")
        (symmetric if version == "v1" else asymmetric).append(raw)
    if not symmetric and not asymmetric:
        raise SignatureError("webhook-signature has neither v1 nor v1a.", reason="no_known_version")
    if len(symmetric) + len(asymmetric) > MAX_SIGNATURES:
        raise _malformed("webhook-signature has too many signatures.")
    return symmetric, asymmetric


def _verify_standard(headers: Headers, body: bytes, keys: Sequence[Key], now: float) -> Verified:
    id_ = single_header(headers, b"webhook-id")
    timestamp = single_header(headers, b"webhook-timestamp")
    if not _ID.match(id_):
        raise _malformed("webhook-id is empty, too long, or has white space.")
    if not _SECONDS.match(timestamp):
        raise _malformed("webhook-timestamp is not unix seconds in ASCII digits.")
    symmetric, asymmetric = _standard_signatures(single_header(headers, b"webhook-signature"))
    prefix = f"{id_}.{timestamp}.".encode()
    for key in _active(keys, now):
        if key.public:
            holds = any(_ed25519_holds(key.secret, signature, prefix + body) for signature in asymmetric)
        else:
            expected = key.mac(prefix, body)
            holds = any(bytes_eq(expected, signature) for signature in symmetric)
        if holds:
            seconds = int(timestamp)
            return Verified(key.id, seconds, now - seconds, id_)
    raise _mismatch()


def _ed25519_holds(public: bytes, signature: bytes, message: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except InvalidSignature:
        return False
    return True


def _sign_standard(secret: str, body: bytes, now: int, id_: str) -> list[tuple[str, str]]:
    message = f"{id_}.{now}.".encode()
    if secret.startswith("whsk_"):
        seed = _base64(secret.removeprefix("whsk_"))[:32]
        signature = "v1a," + base64.b64encode(Ed25519PrivateKey.from_private_bytes(seed).sign(message + body)).decode()
    else:
        mac = _standard_key("", secret).mac(message, body)
        signature = "v1," + base64.b64encode(mac).decode()
    return [("webhook-id", id_), ("webhook-timestamp", str(now)), ("webhook-signature", signature)]


# sha256=<hex> over the body alone --------------------------------------------------------------------------------


def _verify_github_like(headers: Headers, body: bytes, keys: Sequence[Key], now: float) -> Verified:
    version, _, content = single_header(headers, b"x-hub-signature-256").partition("=")
    if version != "sha256" or not _HEX_SHA256.match(content):
        raise _malformed("x-hub-signature-256 is not sha256= and 64 hex digits.")
    signature = bytes.fromhex(content)
    for key in _active(keys, now):
        if bytes_eq(key.mac(body), signature):
            return Verified(key.id, None, None)
    raise _mismatch()


def _sign_github_like(secret: str, body: bytes, now: int, id_: str) -> list[tuple[str, str]]:
    del now, id_
    return [("X-Hub-Signature-256", "sha256=" + Key("", secret.encode()).mac(body).hex())]


SCHEMES: dict[str, Scheme] = {
    scheme.name: scheme
    for scheme in (
        timestamped("tts", "X-TTS-Signature", "v1"),
        timestamped("elevenlabs", "ElevenLabs-Signature", "v0"),
        Scheme(
            "standard-webhooks",
            ("webhook-id", "webhook-timestamp", "webhook-signature"),
            _standard_key,
            _verify_standard,
            _sign_standard,
        ),
        Scheme("github-like", ("x-hub-signature-256",), _text_key, _verify_github_like, _sign_github_like),
    )
}
