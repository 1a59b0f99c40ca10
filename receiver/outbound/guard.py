"""The address guard: which network addresses this process may be made to connect to.

Apart, because it is the one answer to server-side request forgery: an address in a webhook's body or in a `Location`
header is somebody else's wish. What is checked here is what the transport connects to; nothing is looked up twice.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from receiver.errors import BlockedAddress, OutboundError

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""Turns a host name and a port into IP addresses in text form."""

_IPv4 = ipaddress.IPv4Address
_IPv6 = ipaddress.IPv6Address

# `is_global` of the oldest Python we run on does not know all of these; the newest IANA registries do.
_SPECIAL_V4 = tuple(
    ipaddress.IPv4Network(text)
    for text in (
        "100.64.0.0/10",  # carrier-grade NAT, and a cloud's metadata service at 100.100.100.200
        "168.63.129.16/32",  # another cloud's internal service, though the address itself is public
        "192.0.0.0/24",  # protocol assignments, and a metadata service at 192.0.0.192
        "192.88.99.0/24",  # 6to4 relays: another way into 2002::/16
    )
)
_SPECIAL_V6 = (ipaddress.IPv6Network("2001::/23"), ipaddress.IPv6Network("3fff::/20"))
_METADATA = frozenset(
    ipaddress.ip_address(text)
    for text in ("100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254")
)
_GLOBAL_UNICAST_V6 = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def is_public(ip: str) -> bool:
    """Whether a textual IP address is one of the open internet's, reached by no detour into a private network.

    Everything that is not known to be public is not: private, loopback, link-local, multicast, reserved, unspecified,
    carrier-grade NAT, metadata services, documentation; and what is no IP address at all. An IPv6 address that carries
    an IPv4 address (mapped, 6to4, NAT64) is as public as the address inside.
    """
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        return False
    if isinstance(address, _IPv4):
        return _is_public_v4(address)
    if address.scope_id is not None:
        return False
    inner = _inside(address)
    if inner is not None:
        return _is_public_v4(inner)
    return (
        address in _GLOBAL_UNICAST_V6
        and address.is_global
        and not address.is_multicast
        and not any(address in network for network in _SPECIAL_V6)
    )


def is_never_allowed(ip: str) -> bool:
    """Whether no setting opens the way to an address: link-local, cloud metadata, multicast, unspecified, not one.

    No provider lives there, and what does live there hands out the machine's own credentials.
    """
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        return True
    inner = _inside(address) if isinstance(address, _IPv6) else None
    bare = inner or address
    return bare.is_link_local or bare.is_multicast or bare.is_unspecified or bare in _METADATA


def _inside(address: _IPv6) -> _IPv4 | None:
    """The IPv4 address that an IPv6 address leads to: mapped, 6to4 or NAT64."""
    if address in _NAT64:
        return _IPv4(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour


def _is_public_v4(address: _IPv4) -> bool:
    return (
        address.is_global
        and not address.is_multicast
        and not address.is_reserved
        and not any(address in network for network in _SPECIAL_V4)
    )


async def system_resolve(host: str, port: int) -> list[str]:
    """Ask the system's resolver, once.

    Raises:
        OSError: there is no answer.
        UnicodeError: the name cannot be one (a label is too long or empty).
    """
    answers = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(answer[4][0]) for answer in answers))


class AddressGuard:
    """Decides where a connection may go.

    Args:
        allow_private: let private and loopback addresses and plain `http` through, for a provider in one's own
            network. Link-local and metadata addresses stay shut (`is_never_allowed`).
        resolve: the name look-up; the system's own if not given.
        table: the table of the configuration that has the setting, for the message of a refusal.
    """

    def __init__(
        self,
        allow_private: bool,  # noqa: FBT001 - its nature
        resolve: Resolve = system_resolve,
        *,
        table: str = "this source's table",
    ) -> None:
        self.allow_private = allow_private
        self._resolve = resolve
        self._hint = f"set allow_private_addresses = true in {table} if it is in your own network"

    def check_scheme(self, url: str) -> None:
        """Let only `https` through, and `http` where private addresses are allowed.

        Raises:
            BlockedAddress: any other scheme.
        """
        scheme = urlsplit(url).scheme.lower()
        if scheme == "https" or (scheme == "http" and self.allow_private):
            return
        hint = f"; {self._hint}" if scheme == "http" else ""
        raise BlockedAddress(f"Only https addresses are fetched, and this one is {scheme or 'none'!r}{hint}.")

    async def resolve(self, host: str, port: int) -> list[str]:
        """The IP addresses of `host` that may be connected to, in the resolver's order.

        One bad answer condemns the name: a name with a public and a private address is how the check is got round.

        Raises:
            BlockedAddress: one of the answers is not public and private ones are not allowed, or is never allowed.
            OutboundError: the name cannot be resolved (`reason` `dns_failed`).
        """
        literal = host.strip("[]")
        try:
            ipaddress.ip_address(literal)
        except ValueError:
            addresses = await self._look_up(host, port)
        else:
            addresses = [literal]
        for address in addresses:
            if is_never_allowed(address):
                raise BlockedAddress(f"{host} is at {address}, a link-local or metadata address, or no real one.")
            if not self.allow_private and not is_public(address):
                raise BlockedAddress(f"{host} is at {address}, which is not a public address; {self._hint}.")
        return addresses

    async def _look_up(self, host: str, port: int) -> list[str]:
        try:
            addresses = await self._resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise OutboundError(f"The name {host} cannot be resolved: {error}.", reason="dns_failed") from error
        if not addresses:
            raise OutboundError(f"The name {host} has no address.", reason="dns_failed")
        return addresses
