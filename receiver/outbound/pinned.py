"""How a connection is made: to an address that the guard has checked, looked up once.

Apart from `client.py`, because it is the half that knows httpcore and no httpx. The check sits in the connection pool
itself, below redirects, retries and keep-alive, where nothing can go round it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import httpcore

from receiver.outbound.guard import AddressGuard


class PinnedBackend(httpcore.AsyncNetworkBackend):
    """Connects to the IP addresses that the guard gives for a name, and to nothing else.

    The name stays the name for TLS (server name and certificate) and for the `Host` header: httpcore takes both from
    the request, not from here. A refusal (`BlockedAddress`) passes through httpcore as it is.

    Args:
        guard: what says where a connection may go.
        dial: what connects to an IP address.
    """

    def __init__(self, guard: AddressGuard, dial: httpcore.AsyncNetworkBackend | None = None) -> None:
        self._guard = guard
        self._backend = dial or httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the signature is httpcore's
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Look the name up once and try its addresses in turn; `timeout` (seconds) is for all of it.

        Raises:
            BlockedAddress: the guard will not have it.
            OutboundError: the name cannot be resolved.
            httpcore.ConnectError, httpcore.ConnectTimeout: no address answered; the last one's failure.
        """
        loop = asyncio.get_running_loop()
        deadline = None if timeout is None else loop.time() + timeout
        try:
            async with asyncio.timeout_at(deadline):
                addresses = await self._guard.resolve(host, port)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout(f"the name {host} was not resolved in time") from error
        failure: Exception = httpcore.ConnectError(f"{host} has no address")
        for index, address in enumerate(addresses):
            # A dead first address must leave time for the second.
            share = None if deadline is None else max(0.0, deadline - loop.time()) / (len(addresses) - index)
            try:
                return await self._backend.connect_tcp(address, port, share, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109 - the signature is httpcore's
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Refused: nothing of the outside is on a Unix socket."""
        raise httpcore.ConnectError("connections to Unix sockets are not made")

    async def sleep(self, seconds: float) -> None:
        """Wait between connection attempts."""
        await self._backend.sleep(seconds)
