"""Web addresses as text: how one is shown, and where a redirect leads. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import urldefrag, urljoin, urlsplit

from receiver.errors import UnusableAddress
from receiver.model.redact import cut
from receiver.providers.base import origin_of

MAX_LOCATION = 8192
"""Longest `Location` that is followed, in characters. Signed storage addresses are up to about 2,000."""

_PLAIN = re.compile(rb"[!-\[\]-~]*")
"""ASCII without spaces and backslashes: nothing in it is to be encoded."""
_AUTHORITY = re.compile(rb"(?:[A-Za-z][A-Za-z0-9+.-]*:)?//[^/?#]*")


def where(url: str) -> str:
    """An address as it may be shown: scheme, host, port and path; never the query, where signatures are."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "an unreadable address"
    shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    return cut("".join(char if " " < char <= "~" else "?" for char in shown), 300)


def shown(text: str, limit: int) -> str:
    """Somebody else's text as it may stand in a message: printable ASCII, short, no query of an address in it."""
    plain = "".join(char if " " <= char <= "~" else " " for char in text)
    return cut(re.sub(r"\?\S*", "?", " ".join(plain.split())), limit)


def next_hop(current: str, locations: Sequence[bytes]) -> str:
    """The absolute address that a redirect from `current` leads to (RFC 9110, section 10.2.2), without fragment.

    Characters that no address may have and storages send (raw spaces, bytes above ASCII) are percent-encoded after
    the host as browsers do. Nothing else is changed, since a signature may depend on every character.

    Args:
        locations: the value of each `Location` line, as it came over the wire.

    Raises:
        UnusableAddress: the `Location` is missing, too long, unreadable, not http or https, has credentials in it, or
            there are two that differ (`reason` `bad_redirect`).
    """
    values = {value.strip(b" \t") for value in locations}
    if values in (set(), {b""}):
        raise _bad(current, "without a Location")
    if len(values) > 1:
        raise _bad(current, "to more than one address")
    raw = values.pop()
    if len(raw) > MAX_LOCATION:
        raise _bad(current, f"to an address of more than {MAX_LOCATION} characters")
    location = _percent_encoded(raw)
    if location is None:
        raise _bad(current, "to an address with characters that no address has")
    try:
        # What is absolute already is taken as it is: a signature may hang on every character of it.
        target = urldefrag(location if origin_of(location) else urljoin(current, location)).url
        parts = urlsplit(target)
    except ValueError:
        raise _bad(current, "to an address that cannot be read") from None
    if parts.scheme.lower() not in ("http", "https"):
        raise _bad(current, f"to a {parts.scheme[:20] or 'nameless'!r} address")
    if "@" in parts.netloc:
        raise _bad(current, "to an address with credentials in it")
    if origin_of(target) is None:
        raise _bad(current, "to an address that cannot be read")
    return target


def _percent_encoded(raw: bytes) -> str | None:
    """A `Location` with the part after the host in plain ASCII; None if that is not possible."""
    if _PLAIN.fullmatch(raw):
        return raw.decode("ascii")
    if any(byte < 0x20 or byte in b"\x7f\\" for byte in raw):
        return None
    match = _AUTHORITY.match(raw)
    host = match[0] if match else b""
    if b" " in host:
        return None
    try:
        text = host.decode()
    except UnicodeDecodeError:
        return None
    return text + "".join(chr(byte) if 0x20 < byte < 0x7F else f"%{byte:02X}" for byte in raw[len(host) :])


def _bad(current: str, what: str) -> UnusableAddress:
    return UnusableAddress(f"{where(current)} redirects {what}; it is not followed.", reason="bad_redirect")
