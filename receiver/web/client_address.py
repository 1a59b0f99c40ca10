"""The client's address behind trusted proxies. For the log, and for the limit of failed logins to the console.

`X-Forwarded-For` is a list of addresses, each appended by the proxy that saw it. `Forwarded` (RFC 7239) is the same as
a list of `for=…;by=…;proto=…`. Entries to the left of the one that a trusted proxy appended come from its client, and
may be forged. So the lists are read from the right, as long as the address found so far is a trusted proxy's.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Sequence

from starlette.types import Scope

from receiver.settings.proxies import Network

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

MAX_HOPS = 16
"""How many proxies in a row are followed."""
MAX_LIST_BYTES = 2048
"""How much of a list is read, from its end."""
MAX_PEER_CHARACTERS = 64

_BRACKETED = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::[0-9]{1,5})?")
_WITH_PORT = re.compile(r"([0-9.]+):[0-9]{1,5}")


class ClientAddress:
    """Derives the client's address of a request.

    Args:
        trusted: the trusted proxies. Without any, it is always the connection's own address.
    """

    def __init__(self, trusted: Sequence[Network]) -> None:
        self._trusted = tuple(trusted)

    def __call__(self, scope: Scope) -> str | None:
        """The address of the nearest hop that is not a trusted proxy, or of the last one known.

        Returns:
            None if the connection has no address, such as a Unix socket's.
        """
        peer = scope.get("client")
        if not peer:
            return None
        address = _address(str(peer[0]))
        if address is None:
            return str(peer[0])[:MAX_PEER_CHARACTERS]
        for hop in _hops(scope["headers"]):
            if hop is None or not any(address in network for network in self._trusted):
                break
            address = hop
        return str(address)


def _hops(headers: Sequence[tuple[bytes, bytes]]) -> Iterator[Address | None]:
    """The addresses of a request's list, from the right; None for an invalid entry.

    `X-Forwarded-For` is preferred: most proxies append to it and forward the other unchanged.
    """
    for wanted, read in ((b"x-forwarded-for", _node), (b"forwarded", _forwarded)):
        lines = [value for name, value in headers if name == wanted]
        if lines:
            text = b",".join(lines)
            if len(text) > MAX_LIST_BYTES:
                text = text[-MAX_LIST_BYTES:].partition(b",")[2]
            entries = text.decode("latin-1").rsplit(",", MAX_HOPS)[-MAX_HOPS:]
            yield from (read(entry.strip(" \t")) for entry in reversed(entries))
            return


def _forwarded(entry: str) -> Address | None:
    """The `for` of an entry of `Forwarded`; None if there is not exactly one, or it is not an address."""
    pairs = [pair.partition("=") for pair in entry.split(";")]
    nodes = [value.strip(" \t") for name, _, value in pairs if name.strip(" \t").lower() == "for"]
    if len(nodes) != 1:
        return None
    quoted = re.fullmatch(r'"([^"\\]*)"', nodes[0])
    return _node(quoted[1] if quoted else nodes[0])


def _node(text: str) -> Address | None:
    """`192.0.2.1`, `192.0.2.1:443`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:443`; no zone (`%eth0`)."""
    framed = _BRACKETED.fullmatch(text) or _WITH_PORT.fullmatch(text)
    return None if "%" in text else _address(framed[1] if framed else text)


def _address(text: str) -> Address | None:
    """The address, with an IPv4-mapped one as IPv4; None if the text is not an address."""
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    return (found.ipv4_mapped or found) if isinstance(found, ipaddress.IPv6Address) else found
