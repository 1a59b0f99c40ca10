"""Connections: each goes to an address that the guard has checked, and is reused for its own origin only.

A name is looked up once. The check is made where connections are made, below redirects, retries and keep-alive, so that
no request can bypass it.

httpcore's own pool checks every connection of every origin for each request, and its locks try an import that fails:
more than half of the processor time of fetching a small file (docs/adr/0059). The connections themselves, and HTTP, are
httpcore's.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache

import httpcore
import httpx

from receiver.clock import Clock, SystemClock
from receiver.outbound.guard import AddressGuard


class GuardedBackend(httpcore.AsyncNetworkBackend):
    """Connects only to the IP addresses that the guard returns for a name.

    TLS (server name and certificate) and the `Host` header still use the name: httpcore takes both from the request. A
    refusal (`BlockedAddress`) passes through httpcore unchanged.

    Args:
        guard: decides where a connection may go.
        dial: connects to an IP address.
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
        """Look the name up once and try its addresses in turn, all within `timeout` seconds.

        Raises:
            BlockedAddress: the guard refuses it.
            OutboundError: the name cannot be resolved.
            httpcore.ConnectError, httpcore.ConnectTimeout: no address can be connected to; the last one's error.
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
        """Refused: no provider is on a Unix socket."""
        raise httpcore.ConnectError("connections to Unix sockets are not made")

    async def sleep(self, seconds: float) -> None:
        """Wait between connection attempts."""
        await self._backend.sleep(seconds)


IDLE_SECONDS = 30.0
"""How long an unused connection stays open."""

Origin = tuple[str, str, int]
"""Scheme, host and port; a connection is only reused for the same origin."""


@cache
def trusted_certificates() -> ssl.SSLContext:
    """The well-known authorities, or the operator's `SSL_CERT_FILE`. Loaded once: it takes a megabyte and 40 ms."""
    return httpx.create_ssl_context()


@dataclass(frozen=True, slots=True)
class PoolTimeouts:
    """How long getting a connection may take, in seconds; None for no limit.

    Attributes:
        connect: for the look-up and the connecting, and again for TLS.
        wait: for one to become free.
    """

    connect: float | None
    wait: float | None


@dataclass(frozen=True, slots=True)
class PooledConnection:
    """A connection in use; `reused` if it has had a request before, so that its server may have closed it since."""

    connection: httpcore.AsyncHTTP11Connection
    reused: bool


class ConnectionPool:
    """The connections of one client, under one guard.

    Args:
        backend: connects.
        max_connections: at one time, to all origins together.
        timeouts: of requests that bring none of their own.
        max_idle: how many unused connections are kept; by default half of `max_connections`.
        idle_seconds: how long an unused connection is kept.
        ssl_context: which certificates are trusted.
        clock: for how long connections are idle.
    """

    def __init__(
        self,
        backend: GuardedBackend,
        max_connections: int,
        *,
        timeouts: PoolTimeouts,
        max_idle: int | None = None,
        idle_seconds: float = IDLE_SECONDS,
        ssl_context: ssl.SSLContext | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._backend = backend
        self._max = max_connections
        self._timeouts = timeouts
        self._max_idle = max(1, max_connections // 2) if max_idle is None else max_idle
        self._idle_seconds = idle_seconds
        self._ssl_context = ssl_context
        self._clock = clock or SystemClock()
        self._in_use = 0
        self._used: set[httpcore.AsyncHTTP11Connection] = set()
        self._slots = asyncio.Semaphore(max_connections)
        self._idle: list[tuple[float, Origin, httpcore.AsyncHTTP11Connection]] = []
        self._closed = False

    @asynccontextmanager
    async def connection(
        self, origin: Origin, *, fresh: bool, timeouts: PoolTimeouts | None = None
    ) -> AsyncIterator[PooledConnection]:
        """A connection to `origin`, reused for the next request if its response was read to the end.

        Args:
            fresh: do not reuse an idle one.
            timeouts: instead of the pool's.

        Raises:
            httpcore.PoolTimeout: all connections were in use for too long.
            httpcore.ConnectError, httpcore.ConnectTimeout: none could be made.
            BlockedAddress, OutboundError: from the guard.
        """
        allowed = timeouts or self._timeouts
        await self._acquire_slot(allowed.wait)
        self._in_use += 1
        connection: httpcore.AsyncHTTP11Connection | None = None
        try:
            await self._close_expired()
            connection = None if fresh else await self._take_idle(origin)
            reused = connection is not None
            if connection is None:
                connection = await self._connect(origin, allowed.connect)
            self._used.add(connection)
            yield PooledConnection(connection, reused)
        finally:
            try:
                if connection is not None:
                    self._used.discard(connection)
                    await self._release(origin, connection)
            finally:
                self._in_use -= 1
                self._slots.release()

    async def aclose(self) -> None:
        """Close every connection, also those in use."""
        self._closed = True
        idle, self._idle = self._idle, []
        for connection in [*(one for _, _, one in idle), *self._used]:
            await connection.aclose()

    async def _acquire_slot(self, seconds: float | None) -> None:
        if not self._slots.locked():
            await self._slots.acquire()
            return
        try:
            async with asyncio.timeout(seconds):
                await self._slots.acquire()
        except TimeoutError as error:
            raise httpcore.PoolTimeout(f"all {self._max} connections are in use") from error

    async def _take_idle(self, origin: Origin) -> httpcore.AsyncHTTP11Connection | None:
        """The connection to `origin` that was used last; those that their server has closed meanwhile are dropped."""
        for index in range(len(self._idle) - 1, -1, -1):
            if self._idle[index][1] == origin:
                _, _, connection = self._idle.pop(index)
                if not connection.has_expired():
                    return connection
                await connection.aclose()
                return await self._take_idle(origin)
        return None

    async def _connect(self, origin: Origin, seconds: float | None) -> httpcore.AsyncHTTP11Connection:
        if self._in_use + len(self._idle) > self._max:
            await self._idle.pop(0)[2].aclose()
        scheme, host, port = origin
        stream = await self._backend.connect_tcp(host, port, seconds)
        if scheme == "https":
            context = self._ssl_context or trusted_certificates()
            context.set_alpn_protocols(["http/1.1"])
            stream = await stream.start_tls(context, host, seconds)
        return httpcore.AsyncHTTP11Connection(httpcore.Origin(scheme.encode(), host.encode(), port), stream)

    async def _release(self, origin: Origin, connection: httpcore.AsyncHTTP11Connection) -> None:
        if connection.is_idle() and not self._closed and len(self._idle) < self._max_idle:
            self._idle.append((self._clock.monotonic() + self._idle_seconds, origin, connection))
        elif not connection.is_closed():
            await connection.aclose()

    async def _close_expired(self) -> None:
        now = self._clock.monotonic()
        while self._idle and self._idle[0][0] <= now:
            await self._idle.pop(0)[2].aclose()
