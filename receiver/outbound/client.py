"""The HTTP client for requests to providers and their storage, under an address guard.

Every connection goes to an IP address that the guard has checked. `httpx.AsyncClient` is not used: even without
following redirects it parses them, fails on an invalid one, keeps cookies and logs complete URLs. This client does not
follow redirects, keep cookies, or read proxies or netrc from the environment. Network errors are raised as our own,
without the query of the URL: a signed storage URL is a secret.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version

import httpcore

from receiver.errors import Interrupted, UnusableAddress
from receiver.outbound.addresses import Target, redacted_text, redacted_url
from receiver.outbound.guard import AddressGuard
from receiver.outbound.guarded_transport import ConnectionPool, GuardedBackend, Origin, PoolTimeouts

_NETWORK_ERRORS = (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError, OSError)
_CLOSED_BY_SERVER = (httpcore.ReadError, httpcore.RemoteProtocolError)
"""How a request fails on a reused connection that its server has closed."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long to wait, in seconds.

    `connect` includes the name look-up; `read` and `write` are for one chunk, and `read` for the whole of a short body;
    `head` is from the beginning of the request to the end of the response's head.
    """

    connect: float = 10.0
    read: float = 30.0
    write: float = 30.0
    pool: float = 30.0
    head: float = 90.0


@cache
def user_agent() -> str:
    """The `User-Agent` of every request."""
    try:
        return f"tts-receiver/{version('tts-receiver')}"
    except PackageNotFoundError:
        return "tts-receiver"


def network_error(error: Exception, url: str) -> Interrupted:
    """A network error as our own, without the query of `url`."""
    detail = redacted_text(str(error), 200).rstrip(".") or type(error).__name__
    if isinstance(error, httpcore.TimeoutException):
        return Interrupted(f"{redacted_url(url)} did not answer in time ({type(error).__name__}).", reason="timeout")
    if isinstance(error, httpcore.ConnectError):
        return Interrupted(f"Cannot connect to {redacted_url(url)}: {detail}.", reason="connect_failed")
    return Interrupted(f"The connection to {redacted_url(url)} broke: {detail}.")


def _timeout_error(url: str, what: str) -> Interrupted:
    return Interrupted(f"{redacted_url(url)} did not send {what} in time.", reason="timeout")


class HttpResponse:
    """A response whose body has not been read.

    Attributes:
        url: of the request.
        status: the HTTP status.
    """

    def __init__(self, url: str, response: httpcore.Response, read_seconds: float) -> None:
        self.url = url
        self._read_seconds = read_seconds
        self.status = response.status
        self._response = response
        self._lines = [(name.lower(), value) for name, value in response.headers]

    def header(self, name: str) -> str | None:
        """A header's value, stripped (several lines are joined by commas); None if absent."""
        values = self.values(name)
        return b", ".join(values).decode("utf-8", "replace").strip() if values else None

    def values(self, name: str) -> list[bytes]:
        """The raw value of each of a header's lines."""
        wanted = name.lower().encode()
        return [value for line, value in self._lines if line == wanted]

    def lines(self) -> list[tuple[bytes, bytes]]:
        """Every header line: lower-case name, raw value."""
        return list(self._lines)

    def content_length(self) -> int | None:
        """The announced length of the body in bytes; None if not announced."""
        value = self.header("content-length") or ""
        return int(value) if value.isascii() and value.isdigit() and len(value) <= 18 else None

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it is received, in chunks of up to 64 KiB, not decoded.

        Raises:
            Interrupted: the connection broke, or the body is shorter than announced.
        """
        try:
            async for chunk in self._response.aiter_stream():
                yield chunk
        except _NETWORK_ERRORS as error:
            raise network_error(error, self.url) from error

    async def read(self, limit: int) -> bytes:
        """Up to `limit` bytes of a short body; the rest is not read.

        Raises:
            Interrupted: as for `chunks`, or it took too long.
        """
        body = bytearray()
        try:
            async with asyncio.timeout(self._read_seconds):
                async for chunk in self.chunks():
                    body += chunk
                    if len(body) >= limit:
                        break
        except TimeoutError:
            raise _timeout_error(self.url, "its body") from None
        return bytes(body[:limit])


class Client:
    """Sends requests under one address guard, and reuses connections; to be closed at the end.

    Args:
        guard: decides where connections may go.
        timeouts: how long to wait.
        max_connections: connections at one time, to all hosts together.
        ssl_context: which certificates are trusted; by default the well-known authorities, or `SSL_CERT_FILE`.
        dial: connects to an IP address.
    """

    def __init__(
        self,
        guard: AddressGuard,
        *,
        timeouts: Timeouts | None = None,
        max_connections: int = 64,
        ssl_context: ssl.SSLContext | None = None,
        dial: httpcore.AsyncNetworkBackend | None = None,
    ) -> None:
        times = timeouts or Timeouts()
        self._guard = guard
        self._head_seconds = times.head
        self._timeouts = {"connect": times.connect, "read": times.read, "write": times.write, "pool": times.pool}
        # At DEBUG it logs every header, including a `Location` with its signature.
        if logging.getLogger("httpcore").level < logging.WARNING:
            logging.getLogger("httpcore").setLevel(logging.WARNING)
        self._pool = ConnectionPool(
            GuardedBackend(guard, dial),
            max_connections,
            timeouts=PoolTimeouts(times.connect, times.pool),
            ssl_context=ssl_context,
        )

    @asynccontextmanager
    async def send(
        self, method: str, url: str, headers: Mapping[str, str], content: bytes | None = None
    ) -> AsyncIterator[HttpResponse]:
        """Send one request; the body of the response can be read within the `with` block.

        If a reused connection turns out to be closed by its server, a `GET` is repeated once on a new one. Other
        methods are not: the server may have processed the request.

        Raises:
            BlockedAddress: the guard refuses the address.
            UnusableAddress: the URL is invalid (`bad_address`).
            OutboundError: the name cannot be resolved (`dns_failed`).
            Interrupted: no connection, no response in time, or not HTTP.
        """
        self._guard.check_scheme(url)
        target = Target.of(url)
        try:
            request = self._request(method, target, headers, content)
        except TypeError as error:
            raise UnusableAddress(f"{redacted_url(url)} is not a usable address.", reason="bad_address") from error
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(self._head_seconds):
                    response = await self._respond(stack, target.origin, request)
            except TimeoutError:
                raise _timeout_error(url, "the head of its response") from None
            except _NETWORK_ERRORS as error:
                raise network_error(error, url) from error
            stack.push_async_callback(response.aclose)
            yield HttpResponse(url, response, self._timeouts["read"])

    async def _respond(self, stack: AsyncExitStack, origin: Origin, request: httpcore.Request) -> httpcore.Response:
        lease = await stack.enter_async_context(self._pool.connection(origin, fresh=False))
        try:
            return await lease.connection.handle_async_request(request)
        except _CLOSED_BY_SERVER:
            if not lease.reused or request.method != b"GET":
                raise
        await stack.aclose()
        lease = await stack.enter_async_context(self._pool.connection(origin, fresh=True))
        return await lease.connection.handle_async_request(request)

    def _request(
        self, method: str, target: Target, headers: Mapping[str, str], content: bytes | None
    ) -> httpcore.Request:
        """The request.

        Raises:
            TypeError: a header has characters that are not allowed.
        """
        lines: list[tuple[str | bytes, str | bytes]] = [("Host", target.host_header), ("User-Agent", user_agent())]
        lines += headers.items()
        if content is not None or method != "GET":
            lines.append(("Content-Length", str(len(content or b""))))
        url = httpcore.URL(scheme=target.scheme, host=target.host, port=target.port, target=target.path)
        return httpcore.Request(method, url, headers=lines, content=content, extensions={"timeout": self._timeouts})

    async def aclose(self) -> None:
        """Close every connection."""
        await self._pool.aclose()
