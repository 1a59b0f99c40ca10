"""Verifies signatures: pure functions of (headers, body, keys, now), one for each scheme.

Separate from the intake, so that they can be tested with published vectors and used by the command line.

Sources: the aitts provider's webhook documentation (`tts`), ElevenLabs' and Stripe's webhook documentation, the
Standard Webhooks specification 1.0.0, GitHub's "Validating webhook deliveries".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from cryptography.hazmat.primitives.constant_time import bytes_eq

from receiver.errors import SignatureError
from receiver.model.delivery import Headers
from receiver.model.scheme import (
    MAX_SIGNATURES,
    SECONDS,
    WHITE_SPACE,
    Key,
    Scheme,
    Verified,
    active_keys,
    malformed,
    mismatch,
    single_header,
    text_key,
)
from receiver.model.standard_webhooks import STANDARD_WEBHOOKS

_HEX_SHA256 = re.compile(r"[0-9a-fA-F]{64}\Z", re.ASCII)

_USUAL = re.compile(r"t=([0-9]{1,12}),(v[0-9])=([0-9a-fA-F]{64})", re.ASCII)
"""The usual form, with one signature: read in one step, with the same result as the loop."""

# t=<seconds>,vN=<hex>: tts, ElevenLabs, Stripe ------------------------------------------------------------------


def parse_timestamped(value: str, field: str) -> tuple[str, list[bytes]]:
    """Read `t=<digits>,<field>=<hex>[,<field>=<hex>…]`; unknown fields are ignored.

    As in any list in a header, white space is allowed around the commas, and elements may be empty (RFC 9110, 5.6.1).

    Returns:
        The timestamp's digits as signed, and each signature's 32 bytes.

    Raises:
        SignatureError: the header does not have this form.
    """
    usual = _USUAL.fullmatch(value)
    if usual is not None and usual[2] == field:
        return usual[1], [bytes.fromhex(usual[3])]
    timestamp: str | None = None
    signatures: list[bytes] = []
    for item in value.split(","):
        name, equals, content = item.strip(WHITE_SPACE).partition("=")
        if not equals or not name:
            if not name and not equals:
                continue
            raise malformed("An element of the signature header is not name=value.")
        if name == "t":
            if timestamp is not None:
                raise malformed("The signature header has more than one t.")
            if not SECONDS.match(content):
                raise malformed("t is not unix seconds in ASCII digits.")
            timestamp = content
        elif name == field:
            if not _HEX_SHA256.match(content):
                raise malformed(f"{field} is not 64 hex digits.")
            signatures.append(bytes.fromhex(content))
    if timestamp is None:
        raise malformed("The signature header has no t.")
    if not signatures:
        raise SignatureError(f"The signature header has no {field}.", reason="no_known_version")
    if len(signatures) > MAX_SIGNATURES:
        raise malformed("The signature header has too many signatures.")
    return timestamp, signatures


def timestamped_signature(secrets: Iterable[str], field: str, body: bytes, now: int) -> str:
    """`t=<now>,<field>=<hex>[,<field>=<hex>…]`, with a signature for each secret."""
    made = [f"{field}={Key('', secret.encode()).mac(b'%d.' % now, body).hex()}" for secret in secrets]
    return ",".join([f"t={now}", *made])


def timestamped(name: str, header: str, field: str) -> Scheme:
    """A scheme that signs `<t>.<body>` and sends `t=<t>,<field>=<hex>` in one header."""
    raw_name = header.lower().encode()

    def verify(headers: Headers, body: bytes, keys: Sequence[Key], now: float) -> Verified:
        timestamp, signatures = parse_timestamped(single_header(headers, raw_name), field)
        prefix = timestamp.encode() + b"."
        for key in active_keys(keys, now):
            expected = key.mac(prefix, body)
            for signature in signatures:
                if bytes_eq(expected, signature):
                    seconds = int(timestamp)
                    return Verified(key.id, seconds, now - seconds)
        raise mismatch()

    def sign(secret: str, body: bytes, now: int, id_: str) -> list[tuple[str, str]]:
        del id_
        return [(header, timestamped_signature([secret], field, body, now))]

    return Scheme(name, (raw_name.decode(),), text_key, verify, sign)


# sha256=<hex> over the body alone --------------------------------------------------------------------------------


def _verify_github_like(headers: Headers, body: bytes, keys: Sequence[Key], now: float) -> Verified:
    version, _, content = single_header(headers, b"x-hub-signature-256").partition("=")
    if version != "sha256" or not _HEX_SHA256.match(content):
        raise malformed("x-hub-signature-256 is not sha256= and 64 hex digits.")
    signature = bytes.fromhex(content)
    for key in active_keys(keys, now):
        if bytes_eq(key.mac(body), signature):
            return Verified(key.id, None, None)
    raise mismatch()


def _sign_github_like(secret: str, body: bytes, now: int, id_: str) -> list[tuple[str, str]]:
    del now, id_
    return [("X-Hub-Signature-256", "sha256=" + Key("", secret.encode()).mac(body).hex())]


SCHEMES: dict[str, Scheme] = {
    scheme.name: scheme
    for scheme in (
        timestamped("tts", "X-TTS-Signature", "v1"),
        timestamped("elevenlabs", "ElevenLabs-Signature", "v0"),
        STANDARD_WEBHOOKS,
        Scheme("github-like", ("x-hub-signature-256",), text_key, _verify_github_like, _sign_github_like),
    )
}
