"""The one file that knows httpx for outgoing traffic to providers and their storage.

Every connection goes to exactly an IP address that the guard has checked. Requests are given to our transport without
an `httpx.AsyncClient` around it: one that does not follow a redirect still parses it, fails on a bad one, keeps cookies
and logs whole addresses. So nothing here follows redirects, keeps cookies, or reads the environment's proxies or netrc.
What goes wrong on the wire comes out as an error of ours, without the query of the address: a signed storage address
is a secret.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.metadata import PackageNotFoundError, version

import httpcore
import httpx

from receiver.errors import AudioError, AudioRefused
from receiver.outbound.addresses import shown, where
from receiver.outbound.guard import AddressGuard
from receiver.outbound.pinned import PinnedBackend
from receiver.providers.base import origin_of

_ERRORS: dict[type[Exception], type[httpx.TransportError]] = {
    getattr(httpcore, name): getattr(httpx, name)
    for name in (
        *("ConnectTimeout", "ReadTimeout", "WriteTimeout", "PoolTimeout", "ConnectError", "ReadError", "WriteError"),
        *("LocalProtocolError", "RemoteProtocolError", "UnsupportedProtocol"),
    )
}
_KNOWN = tuple(_ERRORS)


class Interrupted(AudioError):
    """The connection could not be made, or broke; the same request may well work when it is made again."""

    reason = "interrupted"


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
def trusted_certificates() -> ssl.SSLContext:
    """The well-known authorities, or the operator's `SSL_CERT_FILE`. Read once: it takes a megabyte and 40 ms."""
    return httpx.create_ssl_context()


@cache
def user_agent() -> str:
    """What we call ourselves."""
    try:
        return f"tts-receiver/{version('tts-receiver')}"
    except PackageNotFoundError:
        return "tts-receiver"


def audio_error(error: Exception, url: str) -> AudioError:
    """What went wrong on the wire in our words, without the query of `url`."""
    detail = shown(str(error), 200).rstrip(".") or type(error).__name__
    if isinstance(error, httpx.TimeoutException):
        return Interrupted(f"{where(url)} did not answer in time ({type(error).__name__}).", reason="timeout")
    if isinstance(error, httpx.ConnectError):
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

    def __init__(self, url: str, response: httpx.Response, read_seconds: float) -> None:
        self.url = url
        self._read_seconds = read_seconds
        self.status = response.status_code
        self._response = response

    def header(self, name: str) -> str | None:
        """A header's value (the lines joined by commas where there are several), stripped; None if absent."""
        value = self._response.headers.get(name)
        return None if value is None else value.strip()

    def values(self, name: str) -> list[bytes]:
        """The raw value of each of a header's lines."""
        wanted = name.lower().encode()
        return [value for line, value in self.lines() if line == wanted]

    def lines(self) -> list[tuple[bytes, bytes]]:
        """Every header line: lower-case names, raw values, repeats kept."""
        return [(name.lower(), value) for name, value in self._response.headers.raw]

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
            async for chunk in self._response.aiter_raw():
                yield chunk
        except (httpx.HTTPError, OSError) as error:
            raise audio_error(error, self.url) from error

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


class _Body(httpx.AsyncByteStream):
    """A body whose errors are httpx's."""

    def __init__(self, response: httpcore.Response) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for piece in self._response.aiter_stream():
                yield piece
        except _KNOWN as error:
            raise _ERRORS[type(error)](str(error)) from error

    async def aclose(self) -> None:
        await self._response.aclose()


class GuardedTransport(httpx.AsyncBaseTransport):
    """An httpx transport over a connection pool of our own, built from public parts only.

    httpx's own transport cannot be told how to connect short of reaching into its private pool, and a guard that hangs
    on a private attribute of another library would one day be gone without a sound.
    """

    def __init__(self, backend: PinnedBackend, ssl_context: ssl.SSLContext, max_connections: int) -> None:
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=ssl_context,
            max_connections=max_connections,
            max_keepalive_connections=max(1, max_connections // 4),
            keepalive_expiry=30.0,
            http1=True,
            http2=False,
            network_backend=backend,
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request; the errors are httpx's, or the guard's own."""
        url = request.url
        outgoing = httpcore.Request(
            method=request.method,
            url=httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )
        try:
            response = await self._pool.handle_async_request(outgoing)
        except _KNOWN as error:
            raise _ERRORS[type(error)](str(error), request=request) from error
        return httpx.Response(
            response.status, headers=response.headers, stream=_Body(response), extensions=response.extensions
        )

    async def aclose(self) -> None:
        """Close every connection."""
        await self._pool.aclose()


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
        self._ssl_context = ssl_context
        self._backend = PinnedBackend(guard, dial)
        self._max_connections = max_connections

    @cached_property
    def _transport(self) -> GuardedTransport:
        """Made for the first request: the certificates of every authority take megabytes."""
        context = self._ssl_context or trusted_certificates()
        return GuardedTransport(self._backend, context, self._max_connections)

    @asynccontextmanager
    async def send(
        self, method: str, url: str, headers: Mapping[str, str], content: bytes | None = None
    ) -> AsyncIterator[Reply]:
        """Send one request; the body of the reply is there as long as the `with` block lasts.

        Raises:
            BlockedAddress: the guard will not connect there.
            AudioRefused: the address cannot be used (`bad_address`).
            AudioError: the name cannot be resolved (`dns_failed`).
            Interrupted: no connection, no answer in time, or not HTTP.
        """
        self._guard.check_scheme(url)
        try:
            request = httpx.Request(
                method,
                url,
                headers={"User-Agent": user_agent(), **headers},
                content=content,
                extensions={"timeout": self._timeouts},
            )
        except (httpx.InvalidURL, UnicodeError, ValueError) as error:
            raise AudioRefused(f"{where(url)} is not a usable address.", reason="bad_address") from error
        self._check_one_reading(url, request.url)
        try:
            async with asyncio.timeout(self._head_seconds):
                response = await self._transport.handle_async_request(request)
        except TimeoutError:
            raise _late(url, "the head of its answer") from None
        except (httpx.HTTPError, OSError) as error:
            raise audio_error(error, url) from error
        try:
            yield Reply(url, response, self._timeouts["read"])
        finally:
            await response.aclose()

    @staticmethod
    def _check_one_reading(url: str, parsed: httpx.URL) -> None:
        """Two parsers that read two hosts from one address are how a key is lured to the wrong one."""
        port = parsed.port or (443 if parsed.scheme == "https" else 80)
        hosts = {parsed.host.lower().rstrip("."), parsed.raw_host.decode("ascii").lower().rstrip(".")}
        origin = origin_of(url)
        if origin is None or (origin[0], origin[2]) != (parsed.scheme, port) or origin[1] not in hosts:
            raise AudioRefused(f"{where(url)} can be read in more than one way.", reason="bad_address")

    async def aclose(self) -> None:
        """Close every connection."""
        if "_transport" in vars(self):  # nothing was asked, nothing is open
            await self._transport.aclose()
