"""The face of all outgoing traffic to providers and their storage: one request at a time, under one address guard.

Every connection goes to exactly an IP address that the guard has checked. There is no `httpx.AsyncClient`: one that
does not follow a redirect still parses it, fails on a bad one, keeps cookies and logs whole addresses. So nothing here
follows redirects, keeps cookies, or reads the environment's proxies or netrc. What goes wrong on the wire comes out as
an error of ours, without the query of the address: a signed storage address is a secret.
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
from receiver.outbound.addresses import Target, shown, where
from receiver.outbound.guard import AddressGuard
from receiver.outbound.guarded_transport import ConnectionPool, GuardedBackend, Origin

_ON_THE_WIRE = (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError, OSError)
_BROKEN = (httpcore.ReadError, httpcore.RemoteProtocolError)
"""How a request ends on a kept connection that its server has closed."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long to wait, in seconds.

    `connect` includes the name look-up; `read` and `write` are for one piece, and `read` is for the whole of a short
    body; `head` is from the beginning until the head of the answer is whole.
    """

    connect: float = 10.0
    read: float = 30.0
    write: float = 30.0
    pool: float = 30.0
    head: float = 90.0


@cache
def user_agent() -> str:
    """What we call ourselves."""
    try:
        return f"tts-receiver/{version('tts-receiver')}"
    except PackageNotFoundError:
        return "tts-receiver"


def wire_error(error: Exception, url: str) -> Interrupted:
    """What went wrong on the wire in our words, without the query of `url`."""
    detail = shown(str(error), 200).rstrip(".") or type(error).__name__
    if isinstance(error, httpcore.TimeoutException):
        return Interrupted(f"{where(url)} did not answer in time ({type(error).__name__}).", reason="timeout")
    if isinstance(error, httpcore.ConnectError):
        return Interrupted(f"Cannot connect to {where(url)}: {detail}.", reason="connect_failed")
    return Interrupted(f"The connection to {where(url)} broke: {detail}.")


def _late(url: str, what: str) -> Interrupted:
    return Interrupted(f"{where(url)} did not send {what} in time.", reason="timeout")


class Reply:
    """A response whose body has not been read.

    Attributes:
        url: the address that was asked.
        status: the HTTP status.
    """

    def __init__(self, url: str, response: httpcore.Response, read_seconds: float) -> None:
        self.url = url
        self._read_seconds = read_seconds
        self.status = response.status
        self._response = response
        self._lines = [(name.lower(), value) for name, value in response.headers]

    def header(self, name: str) -> str | None:
        """A header's value (the lines joined by commas where there are several), stripped; None if absent."""
        values = self.values(name)
        return b", ".join(values).decode("utf-8", "replace").strip() if values else None

    def values(self, name: str) -> list[bytes]:
        """The raw value of each of a header's lines."""
        wanted = name.lower().encode()
        return [value for line, value in self._lines if line == wanted]

    def lines(self) -> list[tuple[bytes, bytes]]:
        """Every header line: lower-case names, raw values, repeats kept."""
        return list(self._lines)

    def content_length(self) -> int | None:
        """The announced bytes of the body; None if there is no such announcement."""
        value = self.header("content-length") or ""
        return int(value) if value.isascii() and value.isdigit() and len(value) <= 18 else None

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes, in pieces of up to 64 KiB, nothing decoded.

        Raises:
            Interrupted: the connection broke, or the body is shorter than announced.
        """
        try:
            async for chunk in self._response.aiter_stream():
                yield chunk
        except _ON_THE_WIRE as error:
            raise wire_error(error, self.url) from error

    async def read(self, limit: int) -> bytes:
        """Up to `limit` bytes of a short body; the rest is not read.

        Raises:
            Interrupted: as for `chunks`, or it takes too long.
        """
        body = bytearray()
        try:
            async with asyncio.timeout(self._read_seconds):
                async for chunk in self.chunks():
                    body += chunk
                    if len(body) >= limit:
                        break
        except TimeoutError:
            raise _late(self.url, "its body") from None
        return bytes(body[:limit])


class Client:
    """Makes requests under one address guard; reuses connections; to be closed at the end.

    Args:
        guard: where connections may go.
        timeouts: how long to wait.
        max_connections: connections at one time, to all hosts together.
        ssl_context: which certificates are trusted; the well-known authorities, or the operator's `SSL_CERT_FILE`.
        dial: what connects to an IP address.
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
        # At DEBUG it logs every header, a `Location` with its signature too.
        if logging.getLogger("httpcore").level < logging.WARNING:
            logging.getLogger("httpcore").setLevel(logging.WARNING)
        self._pool = ConnectionPool(
            GuardedBackend(guard, dial),
            max_connections,
            connect_seconds=times.connect,
            wait_seconds=times.pool,
            ssl_context=ssl_context,
        )

    @asynccontextmanager
    async def send(
        self, method: str, url: str, headers: Mapping[str, str], content: bytes | None = None
    ) -> AsyncIterator[Reply]:
        """Send one request; the body of the reply is there as long as the `with` block lasts.

        A kept connection that its server has closed costs nothing but a second try, on a fresh one. That is for `GET`
        alone: what else was sent may have been done.

        Raises:
            BlockedAddress: the guard will not connect there.
            UnusableAddress: the address cannot be used (`bad_address`).
            OutboundError: the name cannot be resolved (`dns_failed`).
            Interrupted: no connection, no answer in time, or not HTTP.
        """
        self._guard.check_scheme(url)
        target = Target.of(url)
        try:
            request = self._request(method, target, headers, content)
        except TypeError as error:
            raise UnusableAddress(f"{where(url)} is not a usable address.", reason="bad_address") from error
        async with AsyncExitStack() as kept:
            try:
                async with asyncio.timeout(self._head_seconds):
                    response = await self._respond(kept, target.origin, request)
            except TimeoutError:
                raise _late(url, "the head of its answer") from None
            except _ON_THE_WIRE as error:
                raise wire_error(error, url) from error
            kept.push_async_callback(response.aclose)
            yield Reply(url, response, self._timeouts["read"])

    async def _respond(self, kept: AsyncExitStack, origin: Origin, request: httpcore.Request) -> httpcore.Response:
        lease = await kept.enter_async_context(self._pool.connection(origin, fresh=False))
        try:
            return await lease.connection.handle_async_request(request)
        except _BROKEN:
            if not lease.reused or request.method != b"GET":
                raise
        await kept.aclose()
        lease = await kept.enter_async_context(self._pool.connection(origin, fresh=True))
        return await lease.connection.handle_async_request(request)

    def _request(
        self, method: str, target: Target, headers: Mapping[str, str], content: bytes | None
    ) -> httpcore.Request:
        """The request.

        Raises:
            TypeError: a header has characters that no header may have.
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
