"""The signature scheme of Standard Webhooks 1.0.0: HMAC-SHA256 (`v1`) and ed25519 (`v1a`) over `<id>.<t>.<body>`."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.constant_time import bytes_eq

from receiver.errors import SignatureError
from receiver.model.delivery import Headers
from receiver.model.scheme import (
    MAX_SIGNATURES,
    SECONDS,
    Key,
    Scheme,
    Verified,
    active_keys,
    malformed,
    mismatch,
    single_header,
)

_ID = re.compile(r"[\x21-\x7e]{1,256}\Z")
_PRIVATE = "whsk_"
_SPACES = re.compile(r"[ \t]+")


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("is not base64") from None


def _standard_key(id_: str, text: str) -> Key:
    if text.startswith(_PRIVATE):
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
            hint = "it contains - or _, as base64 for addresses does; this must be base64 with + and / instead"
        raise ValueError(f"is not base64; {hint}") from None


def _standard_signatures(value: str) -> tuple[list[bytes], list[bytes]]:
    """Read `v1,<b64> v1a,<b64> …`: (HMAC signatures, ed25519 signatures); unknown versions are ignored."""
    symmetric: list[bytes] = []
    asymmetric: list[bytes] = []
    for element in _SPACES.split(value):
        version, comma, content = element.partition(",")
        if not comma or not version:
            raise malformed("An element of webhook-signature is not version,signature.")
        if version not in ("v1", "v1a"):
            continue
        try:
            raw = _base64(content)
        except ValueError:
            raise malformed(f"The {version} signature is not base64.") from None
        if len(raw) != (32 if version == "v1" else 64):
            raise malformed(f"The {version} signature has the wrong length.")
        (symmetric if version == "v1" else asymmetric).append(raw)
    if not symmetric and not asymmetric:
        raise SignatureError("webhook-signature has neither v1 nor v1a.", reason="no_known_version")
    if len(symmetric) + len(asymmetric) > MAX_SIGNATURES:
        raise malformed("webhook-signature has too many signatures.")
    return symmetric, asymmetric


def _verify_standard(headers: Headers, body: bytes, keys: Sequence[Key], now: float) -> Verified:
    id_ = single_header(headers, b"webhook-id")
    timestamp = single_header(headers, b"webhook-timestamp")
    if not _ID.match(id_):
        raise malformed("webhook-id is empty, too long, or has white space.")
    if not SECONDS.match(timestamp):
        raise malformed("webhook-timestamp is not unix seconds in ASCII digits.")
    symmetric, asymmetric = _standard_signatures(single_header(headers, b"webhook-signature"))
    prefix = f"{id_}.{timestamp}.".encode()
    for key in active_keys(keys, now):
        if key.public:
            valid = any(_is_valid_ed25519(key.secret, signature, prefix + body) for signature in asymmetric)
        else:
            expected = key.mac(prefix, body)
            valid = any(bytes_eq(expected, signature) for signature in symmetric)
        if valid:
            seconds = int(timestamp)
            return Verified(key.id, seconds, now - seconds, id_)
    raise mismatch()


def _is_valid_ed25519(public: bytes, signature: bytes, message: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except InvalidSignature:
        return False
    return True


def _sign_standard(secret: str, body: bytes, now: int, id_: str) -> list[tuple[str, str]]:
    signature = _signature(secret, f"{id_}.{now}.".encode() + body)
    return [("webhook-id", id_), ("webhook-timestamp", str(now)), ("webhook-signature", signature)]


def public_secret(secret: str) -> str:
    """What verifies the signatures of a secret: `whpk_…` for the private key `whsk_…`, else the secret itself.

    Raises:
        ValueError: it begins with `whsk_` and is no private key.
    """
    if not secret.startswith(_PRIVATE):
        return secret
    return "whpk_" + base64.b64encode(_private_key(secret).public_key().public_bytes_raw()).decode()


def _private_key(secret: str) -> Ed25519PrivateKey:
    seed = _base64_secret(secret.removeprefix(_PRIVATE))[:32]
    if len(seed) != 32:
        raise ValueError("is not an ed25519 private key of 32 bytes")
    return Ed25519PrivateKey.from_private_bytes(seed)


def _signature(secret: str, message: bytes) -> str:
    if secret.startswith(_PRIVATE):
        return "v1a," + base64.b64encode(_private_key(secret).sign(message)).decode()
    key = _standard_key("", secret)
    if key.public:
        raise ValueError("is a public key (whpk_…), which cannot sign")
    return "v1," + base64.b64encode(key.mac(message)).decode()


STANDARD_WEBHOOKS = Scheme(
    "standard-webhooks",
    ("webhook-id", "webhook-timestamp", "webhook-signature"),
    _standard_key,
    _verify_standard,
    _sign_standard,
)
