"""Where a request goes: an address read once, in one way only. Pure.

Two parsers that read two hosts from one address are how a key is lured to the wrong one. An address of a plain form,
which every parser reads alike, is taken apart here, since httpx takes ten times as long; any other is read by httpx and
compared with our own reading.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import httpx

from receiver.errors import UnusableAddress
from receiver.outbound.addresses import where
from receiver.providers.base import origin_of

_PORTS = {"http": 80, "https": 443}
_CHARACTERS = r"[A-Za-z0-9\-._~!$&'()*+,;=:@/]|%[0-9A-Fa-f]{2}"
_PLAIN = re.compile(
    r"(https?)://([a-z0-9](?:[a-z0-9.\-]*[a-z0-9])?)(?::([1-9][0-9]{1,3}|[1-5][0-9]{4}))?"
    rf"(/(?:{_CHARACTERS})*)?(\?(?:{_CHARACTERS}|\?)*)?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Target:
    """An address for a request: its origin, and what is sent of it in the `Host` header and the first line."""

    scheme: str
    host: str
    port: int
    host_header: str
    path: str

    @classmethod
    def of(cls, url: str) -> Target:
        """Read an absolute address.

        Raises:
            UnusableAddress: it is unusable, or can be read in more than one way (`reason` `bad_address`).
        """
        plain = _PLAIN.fullmatch(url)
        # httpx takes `.` and `..` out of a path, and checks a name in its international form.
        if plain is None or "/." in url or "xn--" in url:
            return _read_by_httpx(url)
        scheme, host, port, path, query = plain.groups()
        default = _PORTS[scheme]
        number = int(port) if port else default
        header = host if number == default else f"{host}:{number}"
        return cls(scheme, host, number, header, (path or "/") + (query or ""))

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port."""
        return self.scheme, self.host, self.port


def _read_by_httpx(url: str) -> Target:
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, UnicodeError, ValueError) as error:
        raise UnusableAddress(f"{where(url)} is not a usable address.", reason="bad_address") from error
    raw_host = parsed.raw_host.decode("ascii")
    port = parsed.port or _PORTS.get(parsed.scheme, 80)
    hosts = {parsed.host.lower().rstrip("."), raw_host.lower().rstrip(".")}
    origin = origin_of(url)
    if origin is None or (origin[0], origin[2]) != (parsed.scheme, port) or origin[1] not in hosts:
        raise UnusableAddress(f"{where(url)} can be read in more than one way.", reason="bad_address")
    return Target(parsed.scheme, raw_host, port, parsed.netloc.decode("ascii"), parsed.raw_path.decode("ascii"))
