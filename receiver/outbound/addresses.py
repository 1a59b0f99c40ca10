"""Web addresses as text: how one is shown, and where a redirect leads. Pure."""

from __future__ import annotations

import re
from urllib.parse import urldefrag, urljoin, urlsplit

from receiver.errors import AudioRefused
from receiver.providers.base import origin_of

MAX_LOCATION = 8192
"""Longest `Location` that is followed, in characters. Signed storage addresses are up to about 2,000."""


def where(url: str) -> str:
    """An address as it may be shown: scheme, host, port and path; never the query, where signatures are."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "an unreadable address"
    shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    return "".join(char if " " < char <= "~" else "?" for char in shown[:300])


def shown(text: str, limit: int) -> str:
    """Somebody else's text as it may stand in a message: printable ASCII, short, no query of an address in it."""
    plain = "".join(char if " " <= char <= "~" else " " for char in text)
    return re.sub(r"\?\S*", "?", " ".join(plain.split()))[:limit]


def next_hop(current: str, location: str | None) -> str:
    """The absolute address that a redirect from `current` leads to (RFC 9110, section 10.2.2), without fragment.

    Raises:
        AudioRefused: the `Location` is missing, too long, unreadable, not http or https, or has credentials in it
            (`reason` `bad_redirect`).
    """
    if not location:
        raise _bad(current, "without a Location")
    if len(location) > MAX_LOCATION:
        raise _bad(current, f"to an address of more than {MAX_LOCATION} characters")
    if any(not "!" <= char <= "~" or char == "\\" for char in location):
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


def _bad(current: str, what: str) -> AudioRefused:
    return AudioRefused(f"{where(current)} redirects {what}; it is not followed.", reason="bad_redirect")
