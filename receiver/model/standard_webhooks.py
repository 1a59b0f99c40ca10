"""The secrets of Standard Webhooks 1.0.0: `whsec_…` for HMAC (`v1`), `whpk_…` and `whsk_…` for ed25519 (`v1a`)."""

from __future__ import annotations

import base64
import binascii
import re

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from receiver.model.scheme import Key

PUBLIC_PREFIX = "v1a,"
"""Before an ed25519 signature."""
PRIVATE = "whsk_"


def standard_key(id_: str, text: str) -> Key:
    """The key of a secret: `whsec_` and base64, base64 alone, or `whpk_` and the base64 of a public key.

    Raises:
        ValueError: it is none of these; the message does not show it.
    """
    if text.startswith(PRIVATE):
        raise ValueError("is a private key (whsk_…); a receiver needs the public one (whpk_…)")
    if re.match(r"v1a?,", text):
        raise ValueError("begins with a version and a comma, which are no part of it: leave out what is before whsec_")
    if text.startswith("whpk_"):
        raw = decode_base64(text.removeprefix("whpk_"))
        if len(raw) != 32:
            raise ValueError("is not an ed25519 public key of 32 bytes")
        return Key(id_, raw, public=True)
    raw = decode_base64(text.removeprefix("whsec_"))
    if not raw:
        raise ValueError("is empty")
    return Key(id_, raw)


def decode_base64(text: str) -> bytes:
    """The bytes of a secret in base64.

    Raises:
        ValueError: it is not base64; the message says what may have happened to it.
    """
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        hint = "copy it again from where it was shown: whsec_ and base64"
        if re.fullmatch(r"[A-Za-z0-9+/]+", text):
            hint = "its end is missing: base64 comes in groups of four characters, with = at the end where needed"
        elif re.fullmatch(r"[A-Za-z0-9_-]+=*", text):
            hint = "it contains - or _, as base64 for addresses does; this must be base64 with + and / instead"
        raise ValueError(f"is not base64; {hint}") from None


def is_valid_ed25519(public: bytes, signature: bytes, message: bytes) -> bool:
    """Whether a signature was made by the private key of this public key."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except InvalidSignature:
        return False
    return True


def sign_ed25519(secret: str, message: bytes) -> str:
    """`v1a,` and the base64 of a signature, by the private key `whsk_…`.

    Raises:
        ValueError: it is no private key.
    """
    return PUBLIC_PREFIX + base64.b64encode(_private_key(secret).sign(message)).decode()


def public_secret(secret: str) -> str:
    """What verifies the signatures of a secret: `whpk_…` for the private key `whsk_…`, else the secret itself.

    Raises:
        ValueError: it begins with `whsk_` and is no private key.
    """
    if not secret.startswith(PRIVATE):
        return secret
    return "whpk_" + base64.b64encode(_private_key(secret).public_key().public_bytes_raw()).decode()


def _private_key(secret: str) -> Ed25519PrivateKey:
    seed = decode_base64(secret.removeprefix(PRIVATE))[:32]
    if len(seed) != 32:
        raise ValueError("is not an ed25519 private key of 32 bytes")
    return Ed25519PrivateKey.from_private_bytes(seed)
