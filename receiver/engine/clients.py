"""The handlers' own HTTP clients, `ctx.http`: one for each handler, behind the address guard.

Each handler has its own, because a client has a limited number of connections and a cookie jar: one handler's slow
requests would delay another's, and its cookies would be sent with them.

The guard is in the connection pool, below redirects and keep-alive: each connection goes to an address that it has
checked. The pool is the receiver's own: httpcore's takes most of a small request's time (docs/adr/0073). Proxies of the
environment are not used, because a proxy resolves names itself, unchecked.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager

import httpcore
import httpx

from receiver.errors import BlockedAddress, OutboundError
from receiver.outbound.guard import AddressGuard
from receiver.outbound.guarded_transport import ConnectionPool, GuardedBackend, PoolTimeouts

TIMEOUT_SECONDS = 30.0
"""How long connecting, sending and each wait for further bytes may take. The run's time-out bounds the whole."""
MAX_CONNECTIONS = 100
"""Connections of one handler at one time."""
MAX_IDLE_CONNECTIONS = 20
IDLE_SECONDS = 5.0
"""How many unused connections are kept, and for how long."""

PORTS = {"http": 80, "https": 443}


class HandlerClients:
    """Clients by handler, created on first use.

    Args:
        private: names of the handlers that may connect to private addresses.
        tls: of the handlers that have their own, by name.
    """

    def __init__(self, private: Collection[str], tls: Mapping[str, ssl.SSLContext] = {}) -> None:
        self._private = frozenset(private)
        self._tls = dict(tls)
        self._lock = threading.Lock()
        self._clients: dict[str, httpx.AsyncClient] = {}

    def get(self, handler: str) -> httpx.AsyncClient:
        """Return the handler's client. For any thread."""
        with self._lock:
            client = self._clients.get(handler)
            if client is None:
                guard = handler_guard(handler, allow_private=handler in self._private)
                client = self._clients[handler] = handler_client(GuardedTransport(guard, self._tls.get(handler)))
            return client

    async def aclose(self) -> None:
        """Close all clients."""
        for client in self._clients.values():
            await client.aclose()


def handler_client(transport: httpx.AsyncBaseTransport) -> httpx.AsyncClient:
    """Create a client for handlers: without credentials; it follows redirects only if a call requests it."""
    return httpx.AsyncClient(timeout=TIMEOUT_SECONDS, transport=transport, trust_env=False)


def handler_guard(handler: str, *, allow_private: bool) -> AddressGuard:
    """Create the guard of a handler's client; a refusal names the handler's table."""
    return AddressGuard(allow_private, table=f"[handlers.{handler}]")


class GuardedTransport(httpx.AsyncBaseTransport):
    """An httpx transport whose connections go only to addresses that the guard has checked.

    A refusal is a `BlockedAddress`; every other error is one of httpx, as in any client of it.

    Args:
        tls: which certificates are trusted and presented; by default the well-known authorities, and none.
    """

    def __init__(self, guard: AddressGuard, tls: ssl.SSLContext | None = None) -> None:
        self._pool = ConnectionPool(
            GuardedBackend(guard),
            MAX_CONNECTIONS,
            timeouts=PoolTimeouts(TIMEOUT_SECONDS, TIMEOUT_SECONDS),
            max_idle=MAX_IDLE_CONNECTIONS,
            idle_seconds=IDLE_SECONDS,
            ssl_context=tls,
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request.

        Raises:
            BlockedAddress: the guard refuses the address.
            httpx.TransportError: as httpx's own transport.
        """
        url = request.url
        if url.scheme not in PORTS:
            raise httpx.UnsupportedProtocol(f"The address has an unsupported scheme: {url.scheme!r}.", request=request)
        allowed = request.extensions.get("timeout", {})
        timeouts = PoolTimeouts(allowed.get("connect"), allowed.get("pool"))
        origin = (url.scheme, url.raw_host.decode("ascii"), url.port or PORTS[url.scheme])
        with _httpx_errors(request):
            async with AsyncExitStack() as stack:
                lease = await stack.enter_async_context(self._pool.connection(origin, fresh=False, timeouts=timeouts))
                response = await lease.connection.handle_async_request(
                    httpcore.Request(
                        request.method,
                        httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
                        headers=request.headers.raw,
                        content=request.stream,
                        extensions=request.extensions,
                    )
                )
                lasting = stack.pop_all()  # the connection is in use until the response is closed
        return httpx.Response(
            response.status,
            headers=response.headers,
            stream=_Body(response, request, lasting),
            extensions=response.extensions,
        )

    async def aclose(self) -> None:
        """Close every connection."""
        await self._pool.aclose()


class _Body(httpx.AsyncByteStream):
    """The body of a response; closing it returns the connection.

    Args:
        lease: of the connection.
    """

    def __init__(self, response: httpcore.Response, request: httpx.Request, lease: AsyncExitStack) -> None:
        self._response = response
        self._request = request
        self._lease = lease

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _httpx_errors(self._request):
            async for piece in self._response.aiter_stream():
                yield piece

    async def aclose(self) -> None:
        async with self._lease:
            await self._response.aclose()


_ERRORS = (
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    httpcore.UnsupportedProtocol,
)


@contextmanager
def _httpx_errors(request: httpx.Request) -> Iterator[None]:
    """Raise httpx's error for each of httpcore's: the two have the same names."""
    try:
        yield
    except BlockedAddress:
        raise
    except OutboundError as error:  # the name cannot be resolved
        raise httpx.ConnectError(str(error), request=request) from error
    except ssl.SSLError as error:  # an alert after the handshake, such as that a certificate is required
        raise httpx.ReadError(str(error), request=request) from error
    except _ERRORS as error:
        kind = getattr(httpx, type(error).__name__, httpx.TransportError)
        raise kind(str(error), request=request) from error
