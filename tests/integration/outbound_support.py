"""A small HTTP/1.1 server on loopback for the audio tests: it answers as a function says, byte by byte if need be."""

from __future__ import annotations

import asyncio
import io
import wave
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache

from tests.patience import PATIENCE


@dataclass
class ReceivedRequest:
    """A request as it came."""

    path: str
    headers: dict[str, str]
    method: str = "GET"
    body: bytes = b""


@dataclass
class Say:
    """A reply: `cut` closes the connection after so many bytes of the body; `hang` waits there instead.

    `drip` is sent instead of the body, piece by piece.
    """

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    cut: int | None = None
    length: bool = True
    lines: tuple[str, ...] = ()
    hang: asyncio.Event | None = None
    drip: AsyncIterator[bytes] | None = None


Behave = Callable[[ReceivedRequest], Say | Awaitable[Say]]


class Server:
    """Answers with `behave`; remembers what was asked."""

    def __init__(self) -> None:
        self.requests: list[ReceivedRequest] = []
        self.behave: Behave = lambda request: Say(404)
        self.port = 0
        self.sent: asyncio.Event = asyncio.Event()

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                first, *lines = head.decode("latin-1").split("\r\n")
                headers = {}
                for line in filter(None, lines):
                    name, _, value = line.partition(":")
                    headers[name.lower()] = value.strip()
                method, path, _ = first.split(" ")
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                request = ReceivedRequest(path, headers, method, body)
                self.requests.append(request)
                say = self.behave(request)
                if isinstance(say, Awaitable):
                    say = await say
                if not await self._answer(writer, say):
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    async def _answer(self, writer: asyncio.StreamWriter, say: Say) -> bool:
        lines = [f"HTTP/1.1 {say.status} X", *(f"{name}: {value}" for name, value in say.headers.items()), *say.lines]
        if say.length:
            lines.append(f"Content-Length: {len(say.body)}")
        else:
            lines.append("Connection: close")
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
        if say.drip is None:
            writer.write(say.body if say.cut is None else say.body[: say.cut])
        else:
            async for piece in say.drip:
                writer.write(piece)
                await writer.drain()
        await writer.drain()
        self.sent.set()
        if say.hang is not None:
            await say.hang.wait()
        return say.cut is None and say.length


@asynccontextmanager
async def serving(behave: Behave | None = None) -> AsyncIterator[Server]:
    """A running server on a free port."""
    server = Server()
    if behave is not None:
        server.behave = behave
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0, limit=1 << 20)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()


@cache
def _samples() -> list[bytes]:
    return [(index * 7919 % 65_521).to_bytes(2, "little") for index in range(65_521)]


def make_wav(seconds: float = 1.0, rate: int = 24_000, channels: int = 1) -> bytes:
    """A WAV with something in it, so that no two stretches of it are alike that are not 65,521 frames apart."""
    size = int(seconds * rate) * 2 * channels
    period = b"".join(sample * channels for sample in _samples())
    body = (period * (size // len(period) + 1))[:size]
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(body)
    return out.getvalue()


def ranged(body: bytes, request: ReceivedRequest, etag: str = '"v1"', **more: str) -> Say:
    """What a storage with ranges says."""
    headers = {"ETag": etag, "Content-Type": "audio/wav", **more}
    wanted = request.headers.get("range")
    if wanted and request.headers.get("if-range", etag) == etag:
        start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        if start >= len(body):
            return Say(416, {"Content-Range": f"bytes */{len(body)}"})
        headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        return Say(206, headers, body[start:])
    return Say(200, headers, body)


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Peer:
    """A server that answers each request with `answer`, or closes the connection where that is empty."""

    def __init__(self) -> None:
        self.port = 0
        self.requests: list[tuple[int, bytes]] = []
        """The connection's number and the head, as they came."""
        self.connections = 0
        self.open = 0
        self.changed = asyncio.Event()
        self.answer: Callable[[int, int], bytes] = lambda number, nth: OK

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number, nth = self.connections, 0
        self.connections += 1
        self.open += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.requests.append((number, head))
                answer = self.answer(number, nth)
                nth += 1
                if not answer:
                    return
                writer.write(answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()
            self.open -= 1
            self.changed.set()

    def url(self, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}/audio"

    async def until_open(self, count: int) -> None:
        async with asyncio.timeout(PATIENCE):
            while self.open != count:
                self.changed.clear()
                await self.changed.wait()


@asynccontextmanager
async def peering() -> AsyncIterator[Peer]:
    """Run a peer."""
    made = Peer()
    listener = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = listener.sockets[0].getsockname()[1]
    yield made
    listener.close()
