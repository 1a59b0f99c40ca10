"""The address guard: decides which network addresses this process may connect to.

A module of its own, because it is the protection against server-side request forgery: a URL in a webhook's body or in a
`Location` header comes from outside. The transport connects to exactly the address that was checked here; a name is not
looked up twice.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from receiver.errors import BlockedAddress, OutboundError

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""Resolves a host name and a port to IP addresses as text."""

_IPv4 = ipaddress.IPv4Address
_IPv6 = ipaddress.IPv6Address

# In the newest IANA registries, but not all in `is_global` of the oldest supported Python.
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
    """Whether an IP address, given as text, is on the public internet.

    Not public are: private, loopback, link-local, multicast, reserved, unspecified, carrier-grade NAT, metadata
    services, documentation, and text that is not an IP address. An IPv6 address that contains an IPv4 address (mapped,
    6to4, NAT64) is as public as that address.
    """
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        return False
    if isinstance(address, _IPv4):
        return _is_public_v4(address)
    if address.scope_id is not None:
        return False
    inner = _embedded_v4(address)
    if inner is not None:
        return _is_public_v4(inner)
    return (
        address in _GLOBAL_UNICAST_V6
        and address.is_global
        and not address.is_multicast
        and not any(address in network for network in _SPECIAL_V6)
    )


def is_never_allowed(ip: str) -> bool:
    """Whether no setting allows an address: link-local, cloud metadata, multicast, unspecified, invalid.

    No provider is there, and metadata services give away the machine's own credentials.
    """
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        return True
    inner = _embedded_v4(address) if isinstance(address, _IPv6) else None
    bare = inner or address
    return bare.is_link_local or bare.is_multicast or bare.is_unspecified or bare in _METADATA


def _embedded_v4(address: _IPv6) -> _IPv4 | None:
    """The IPv4 address that an IPv6 address contains: mapped, 6to4 or NAT64; None without one."""
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
    """Resolve with the system's resolver, once.

    Raises:
        OSError: the name cannot be resolved.
        UnicodeError: the name is invalid (a label is too long or empty).
    """
    answers = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(answer[4][0]) for answer in answers))


class AddressGuard:
    """Decides where a connection may go.

    Args:
        allow_private: allow private and loopback addresses and plain `http`, for a provider in one's own network.
            Link-local and metadata addresses stay forbidden (`is_never_allowed`).
        resolve: the name look-up; by default the system's.
        table: the configuration's table with the setting, for the message of a refusal.
    """

    def __init__(
        self,
        allow_private: bool,  # noqa: FBT001 - the setting of the same name
        resolve: Resolve = system_resolve,
        *,
        table: str = "this source's table",
    ) -> None:
        self.allow_private = allow_private
        self._resolve = resolve
        self._hint = f"set allow_private_addresses = true in {table} if it is in your own network"

    def check_scheme(self, url: str) -> None:
        """Allow `https`, and `http` if private addresses are allowed.

        Raises:
            BlockedAddress: any other scheme.
        """
        scheme = urlsplit(url).scheme.lower()
        if scheme == "https" or (scheme == "http" and self.allow_private):
            return
        hint = f"; {self._hint}" if scheme == "http" else ""
        raise BlockedAddress(f"Only https addresses are fetched, and this one is {scheme or 'none'!r}{hint}.")

    async def resolve(self, host: str, port: int) -> list[str]:
        """The IP addresses of `host`, all of them allowed, in the resolver's order.

        One forbidden address is enough to refuse the name: a name with a public and a private address is a known way
        around such a check.

        Raises:
            BlockedAddress: an address is not public and private ones are not allowed, or is never allowed.
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
                what = "never allowed: link-local, a metadata service's, or not a host's"
            elif not self.allow_private and not is_public(address):
                what = f"not public; {self._hint}"
            else:
                continue
            raise BlockedAddress(
                f"{host} {'is' if address == literal else f'has the address {address}, which is'} {what}."
            )
        return addresses

    async def _look_up(self, host: str, port: int) -> list[str]:
        try:
            addresses = await self._resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise OutboundError(f"The name {host} cannot be resolved: {error}.", reason="dns_failed") from error
        if not addresses:
            raise OutboundError(f"The name {host} has no address.", reason="dns_failed")
        return addresses
