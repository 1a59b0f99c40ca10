"""URLs: how one is logged, how one is parsed for a request, and where a redirect leads. Pure.

If two parsers read different hosts from one URL, an API key can be sent to the wrong one. A URL of a plain form, which
every parser reads alike, is parsed here, since httpx takes ten times as long; any other is parsed by httpx and compared
with our own parser.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urldefrag, urljoin, urlsplit

import httpx

from receiver.errors import UnusableAddress
from receiver.model.redact import truncate
from receiver.providers.base import origin_of

MAX_LOCATION = 8192
"""Longest `Location` that is followed, in characters. Signed storage URLs have up to about 2,000."""

_PLAIN = re.compile(rb"[!-\[\]-~]*")
"""ASCII without spaces and backslashes, which needs no encoding."""
_AUTHORITY = re.compile(rb"(?:[A-Za-z][A-Za-z0-9+.-]*:)?//[^/?#]*")


def redacted_url(url: str) -> str:
    """A URL for logs and messages: scheme, host, port and path, without the query, which may contain a signature."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "an invalid address"
    shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    return truncate("".join(char if " " < char <= "~" else "?" for char in shown), 300)


def redacted_text(text: str, limit: int) -> str:
    """Text from outside for logs and messages: printable ASCII, without queries of URLs; shortened with an ellipsis."""
    plain = "".join(char if " " <= char <= "~" else " " for char in text)
    return truncate(re.sub(r"\?\S*", "?", " ".join(plain.split())), limit)


def redirect_target(current: str, locations: Sequence[bytes]) -> str:
    """The absolute URL that a redirect from `current` leads to (RFC 9110, section 10.2.2), without fragment.

    Characters that are not allowed in URLs but sent by storages (raw spaces, bytes above ASCII) are percent-encoded
    after the host, as browsers do. Nothing else is changed, since a signature may depend on every character.

    Args:
        locations: the raw value of each `Location` line.

    Raises:
        UnusableAddress: the `Location` is missing, too long, invalid, not http or https, contains credentials, or
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
        raise _bad(current, "to an address with invalid characters")
    try:
        # An absolute URL is not changed: a signature may depend on every character.
        target = urldefrag(location if origin_of(location) else urljoin(current, location)).url
        parts = urlsplit(target)
    except ValueError:
        raise _bad(current, "to an invalid address") from None
    if parts.scheme.lower() not in ("http", "https"):
        raise _bad(current, f"to a {parts.scheme[:20] or 'nameless'!r} address")
    if "@" in parts.netloc:
        raise _bad(current, "to an address with credentials in it")
    if origin_of(target) is None:
        raise _bad(current, "to an invalid address")
    return target


def _percent_encoded(raw: bytes) -> str | None:
    """A `Location` with the part after the host percent-encoded; None if that is not possible."""
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
    return UnusableAddress(f"{redacted_url(current)} redirects {what}; it is not followed.", reason="bad_redirect")


_PORTS = {"http": 80, "https": 443}
_CHARACTERS = r"[A-Za-z0-9\-._~!$&'()*+,;=:@/]|%[0-9A-Fa-f]{2}"
_PLAIN_URL = re.compile(
    r"(https?)://([a-z0-9](?:[a-z0-9.\-]*[a-z0-9])?)(?::([1-9][0-9]{1,3}|[1-5][0-9]{4}))?"
    rf"(/(?:{_CHARACTERS})*)?(\?(?:{_CHARACTERS}|\?)*)?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Target:
    """The URL of a request: its origin, the `Host` header, and the target in the request line."""

    scheme: str
    host: str
    port: int
    host_header: str
    path: str

    @classmethod
    def of(cls, url: str) -> Target:
        """Parse an absolute URL.

        Raises:
            UnusableAddress: it is invalid, or ambiguous (`reason` `bad_address`).
        """
        plain = _PLAIN_URL.fullmatch(url)
        # httpx removes `.` and `..` from a path, and validates international names.
        if plain is None or "/." in url or "xn--" in url:
            return _parsed_by_httpx(url)
        scheme, host, port, path, query = plain.groups()
        default = _PORTS[scheme]
        number = int(port) if port else default
        header = host if number == default else f"{host}:{number}"
        return cls(scheme, host, number, header, (path or "/") + (query or ""))

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port."""
        return self.scheme, self.host, self.port


def _parsed_by_httpx(url: str) -> Target:
    try:
        parsed = httpx.URL(url)
        host = parsed.host  # decodes an international name
    except (httpx.InvalidURL, UnicodeError, ValueError) as error:
        raise UnusableAddress(f"{redacted_url(url)} is not a usable address.", reason="bad_address") from error
    raw_host = parsed.raw_host.decode("ascii")
    port = parsed.port or _PORTS.get(parsed.scheme, 80)
    hosts = {host.lower().rstrip("."), raw_host.lower().rstrip(".")}
    origin = origin_of(url)
    if origin is None or (origin[0], origin[2]) != (parsed.scheme, port) or origin[1] not in hosts:
        raise UnusableAddress(
            f"{redacted_url(url)} is ambiguous: parsers disagree about its host.", reason="bad_address"
        )
    return Target(parsed.scheme, raw_host, port, parsed.netloc.decode("ascii"), parsed.raw_path.decode("ascii"))
