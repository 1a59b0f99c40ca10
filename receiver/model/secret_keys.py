"""How the text of a signing secret becomes the key of an HMAC."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from receiver.model.scheme import Key
from receiver.model.signature_spec import SignatureSpec
from receiver.model.standard_webhooks import decode_base64, standard_key


def key_parser(spec: SignatureSpec) -> Callable[[str, str], Key]:
    """A function of (key id, secret's text) that returns the key, or raises ValueError without showing the secret."""
    if spec.accepts_public_keys:
        return standard_key
    parse = _PARSERS[spec.key_encoding]
    if spec.digest == "sha256":
        return parse
    return lambda id_, text: replace(parse(id_, text), digest=spec.digest)


def text_key(id_: str, text: str) -> Key:
    """A key whose secret is used as text, even if it looks like hex or base64."""
    if not text or text != text.strip():
        raise ValueError("is empty or has white space around it")
    return Key(id_, text.encode())


def _hex_key(id_: str, text: str) -> Key:
    try:
        raw = bytes.fromhex(text)
    except ValueError:
        raise ValueError("is not hex; if its text is the key, leave out signature.key_encoding") from None
    if not raw or len(text) != 2 * len(raw):
        raise ValueError("is empty or has white space in it")
    return Key(id_, raw)


def _base64_key(id_: str, text: str) -> Key:
    raw = decode_base64(text.removeprefix("whsec_"))
    if not raw:
        raise ValueError("is empty")
    return Key(id_, raw)


_PARSERS: dict[str, Callable[[str, str], Key]] = {"text": text_key, "hex": _hex_key, "base64": _base64_key}
