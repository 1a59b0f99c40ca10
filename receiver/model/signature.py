"""Verifies signatures: pure functions of (headers, body, keys, now), made from a `SignatureSpec`; and the presets.

Separate from the intake, so that they can be tested with published vectors and used by the command line.

Sources of the presets: the aitts provider's webhook documentation (`tts`), ElevenLabs' and Stripe's webhook
documentation, the Standard Webhooks specification 1.0.0, Svix' "Verifying webhooks manually", GitHub's "Validating
webhook deliveries".
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Sequence

from cryptography.hazmat.primitives.constant_time import bytes_eq

from receiver.errors import SignatureError
from receiver.model.delivery import Headers
from receiver.model.scheme import (
    MAX_SIGNATURES,
    WHITE_SPACE,
    Key,
    Scheme,
    Verified,
    malformed,
    mismatch,
    no_active_key,
    single_header,
)
from receiver.model.secret_keys import key_parser
from receiver.model.signature_spec import BODY, ID, TIMESTAMP, SignatureSpec
from receiver.model.standard_webhooks import PRIVATE, PUBLIC_PREFIX, is_valid_ed25519, sign_ed25519

_ID = re.compile(r"[\x21-\x7e]{1,256}")
_ED25519 = re.compile(r"[A-Za-z0-9+/]{86}==")


def header_reader(spec: SignatureSpec) -> Callable[[str], tuple[str, Sequence[bytes], Sequence[bytes]]]:
    """A function that reads the value of the signature's header: the signed time, HMACs, ed25519 signatures.

    It raises SignatureError if the value is malformed. The time is empty if the header has none.

    As in any list in a header, white space is allowed around separators, and elements may be empty (RFC 9110, 5.6.1).
    Elements with unknown names are ignored: they are other versions.
    """
    name, separator, mark = spec.header.lower(), spec.separator, spec.prefix[-1:]
    signature = re.compile(spec.signature_pattern)
    time = re.compile(spec.time_pattern)
    decode = bytes.fromhex if spec.encoding == "hex" else _decode_base64
    time_element = "()" if spec.timestamp_prefix is None else f"{re.escape(spec.timestamp_prefix)}({spec.time_pattern})"
    between = "" if spec.timestamp_prefix is None else separator
    usual = re.compile(f"{time_element}{between}{re.escape(spec.prefix)}({spec.signature_pattern})")

    def read(value: str) -> tuple[str, Sequence[bytes], Sequence[bytes]]:
        found = usual.fullmatch(value)
        if found is not None:
            return found[1], (decode(found[2]),), ()
        if separator is None:
            before = f"{spec.prefix} and " if spec.prefix else ""
            raise malformed(f"{name} is not {before}{spec.signature_form}.")
        return read_elements(value, separator)

    def read_elements(value: str, separator: str) -> tuple[str, Sequence[bytes], Sequence[bytes]]:
        timestamps: list[str] = []
        signatures: list[bytes] = []
        public: list[bytes] = []
        elements = value.replace("\t", " ").split(separator)
        for element in filter(None, (element.strip(WHITE_SPACE) for element in elements)):
            label, found, content = element.partition(mark)
            if not found or not label:
                raise malformed(f"An element of {name} is not name{mark}value.")
            prefix = label + mark
            if prefix == spec.timestamp_prefix:
                if time.fullmatch(content) is None:
                    raise malformed(f"{label} in {name} is not {spec.time_format.text}.")
                timestamps.append(content)
            elif prefix == spec.prefix:
                if signature.fullmatch(content) is None:
                    raise malformed(f"{label} in {name} is not {spec.signature_form}.")
                signatures.append(decode(content))
            elif spec.accepts_public_keys and prefix == PUBLIC_PREFIX:
                if _ED25519.fullmatch(content) is None:
                    raise malformed(f"{label} in {name} is not base64 of 64 bytes.")
                public.append(_decode_base64(content))
        if spec.timestamp_prefix is not None and len(timestamps) != 1:
            many = "more than one" if timestamps else "no"
            raise malformed(f"{name} has {many} {spec.timestamp_prefix[:-1]}.")
        if not value:
            raise malformed(f"{name} is empty.")
        if not signatures and not public:
            raise SignatureError(f"{name} has no {spec.prefix[:-1]}.", reason="no_known_version")
        if len(signatures) + len(public) > MAX_SIGNATURES:
            raise malformed(f"{name} has too many signatures.")
        return (timestamps[0] if timestamps else ""), signatures, public

    return read


def make_scheme(name: str, spec: SignatureSpec) -> Scheme:
    """The functions that verify and sign as `spec` describes."""
    header = spec.header.lower().encode()
    id_header = None if spec.id_header is None else spec.id_header.lower().encode()
    time_header = None if spec.timestamp_header is None else spec.timestamp_header.lower().encode()
    time_format = spec.time_format if spec.signs_time else None
    is_time = re.compile(spec.time_pattern).fullmatch
    refused_in_id = re.compile(spec.refused_in_id).search if spec.refused_in_id else None
    seconds_of = None if time_format is None else time_format.read
    read, parse_secret = header_reader(spec), key_parser(spec)
    before, after = _texts_around_body(spec)

    def read_id(headers: Headers, header: bytes) -> str:
        value = single_header(headers, header)
        if _ID.fullmatch(value) is None:
            raise malformed(f"{header.decode()} is empty, too long, or has white space.")
        if refused_in_id is not None and refused_in_id(value) is not None:
            raise malformed(f"{header.decode()} contains what ends the id in the signed text.")
        return value

    def read_time(headers: Headers, header: bytes) -> str:
        value = single_header(headers, header)
        if is_time(value) is None:
            raise malformed(f"{header.decode()} is not {spec.time_format.text}.")
        return value

    def verify(headers: Headers, body: bytes, keys: Sequence[Key], now: float) -> Verified:
        timestamp, signatures, public = read(single_header(headers, header))
        if time_header is not None:
            timestamp = read_time(headers, time_header)
        message_id = None if id_header is None else read_id(headers, id_header)
        parts: tuple[bytes, ...] = (before(timestamp, message_id).encode(), body)
        if after is not None:
            parts = (*parts, after(timestamp, message_id).encode())
        time = None if seconds_of is None else seconds_of(timestamp)
        problem = no_active_key
        for key in keys:
            if not key.active(now):
                continue
            problem = mismatch
            if key.public:
                valid = any(is_valid_ed25519(key.secret, signature, b"".join(parts)) for signature in public)
            else:
                valid = False
                expected = key.mac(*parts)
                for signature in signatures:
                    valid |= bytes_eq(expected, signature)
            if valid:
                return Verified(key.id, time, None if time is None else now - time, message_id)
        raise problem()

    def sign(secret: str, body: bytes, now: int, id_: str) -> list[tuple[str, str]]:
        timestamp = "" if time_format is None else time_format.write(now)
        message = before(timestamp, id_).encode() + body + ("" if after is None else after(timestamp, id_)).encode()
        values = [(spec.id_header, id_), (spec.timestamp_header, timestamp), (spec.header, signature(secret, message))]
        if spec.timestamp_prefix is not None:
            values[-1] = (spec.header, f"{spec.timestamp_prefix}{timestamp}{spec.separator}{values[-1][1]}")
        return [(name, value) for name, value in values if name is not None]

    def signature(secret: str, message: bytes) -> str:
        if spec.accepts_public_keys and secret.startswith(PRIVATE):
            return sign_ed25519(secret, message)
        key = parse_secret("", secret)
        if key.public:
            raise ValueError("is a public key (whpk_…), which cannot sign")
        made = key.mac(message)
        return spec.prefix + (made.hex() if spec.encoding == "hex" else base64.b64encode(made).decode())

    return Scheme(name, spec, tuple(name.lower() for name in spec.headers), parse_secret, verify, sign)


def _texts_around_body(spec: SignatureSpec) -> tuple[Callable[..., str], Callable[..., str] | None]:
    """Functions of (time, message id) that make the signed text before and after the body; None for none after it."""
    places = {TIMESTAMP: "{0}", ID: "{1}"}
    at = spec.parts.index(BODY, 1)
    before, after = (
        "".join(places[part] if index % 2 else part for index, part in enumerate(side, start))
        for side, start in ((spec.parts[:at], 0), (spec.parts[at + 1 :], at + 1))
    )
    return before.format, after.format if after else None


def _decode_base64(text: str) -> bytes:
    """The bytes of base64 in its only form: bits that stand for nothing must be 0 (RFC 4648, 3.5)."""
    raw = base64.b64decode(text, validate=True)
    if base64.b64encode(raw).decode() != text:
        raise malformed("The signature is not base64 as an encoder writes it.")
    return raw


def _in_elements(header: str, label: str) -> SignatureSpec:
    """`t=<seconds>,<label>=<hex>` in one header, over the time, a dot and the body."""
    return SignatureSpec(
        header=header, separator=",", timestamp_prefix="t=", prefix=f"{label}=", signed_content="{timestamp}.{body}"
    )


def _standard_webhooks(name: str) -> SignatureSpec:
    return SignatureSpec(
        header=f"{name}-signature",
        prefix="v1,",
        separator=" ",
        encoding="base64",
        key_encoding="base64",
        signed_content="{id}.{timestamp}.{body}",
        timestamp_header=f"{name}-timestamp",
        id_header=f"{name}-id",
    )


PRESETS: dict[str, SignatureSpec] = {
    "tts": _in_elements("X-TTS-Signature", "v1"),
    "elevenlabs": _in_elements("ElevenLabs-Signature", "v0"),
    "stripe": _in_elements("Stripe-Signature", "v1"),
    "standard-webhooks": _standard_webhooks("webhook"),
    "svix": _standard_webhooks("svix"),
    "github": SignatureSpec(header="X-Hub-Signature-256", prefix="sha256=", signed_content="{body}"),
}
"""Signatures by name: for `preset` of a source, for `scheme` of a provider module."""

SCHEMES: dict[str, Scheme] = {name: make_scheme(name, spec) for name, spec in PRESETS.items()}
STANDARD_WEBHOOKS = SCHEMES["standard-webhooks"]
