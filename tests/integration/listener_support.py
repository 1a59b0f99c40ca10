"""A listener with a small application behind it, asked over raw sockets."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from receiver.metrics import Metrics
from receiver.web.http.connection import HttpConnection
from receiver.web.http.connections import ConnectionTable
from receiver.web.http.exchange import WHOLE_REQUEST
from receiver.web.http.limits import Limits
from receiver.web.http.server import listener_server
from tests.patience import PATIENCE

GENEROUS = Limits(connections=1000, head_seconds=120, idle_seconds=600)


@dataclass
class Application:
    """Answers with what it was asked; what it saw can be looked at.

    Attributes:
        gates: paths that are answered only when their event is set.
        unread: paths that are answered 413 before the body is read.
    """

    seen: list[tuple[str, str, bytes]] = field(default_factory=list)
    gates: dict[str, asyncio.Event] = field(default_factory=dict)
    unread: frozenset[str] = frozenset({"/unread"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if path in self.unread:
            await _answer(send, 413, {"error": "too_large"})
            return
        if path == "/whole":
            whole = scope["extensions"][WHOLE_REQUEST]
            if whole.answer(200, b"content-type: application/json\r\n", b'{"bytes": %d}' % len(whole.take_body())):
                self.seen.append((scope["method"], path, b"answered in one step"))
            else:
                await _answer(send, 200, {"bytes": 6})
            return
        body = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message["body"]
            if not message["more_body"]:
                break
        self.seen.append((scope["method"], path, body))
        if path in self.gates:
            await self.gates[path].wait()
        if path == "/raises":
            raise LookupError("on purpose")
        headers = [[name.decode(), value.decode("latin-1")] for name, value in scope["headers"]]
        await _answer(send, 200, {"method": scope["method"], "path": path, "bytes": len(body), "headers": headers})


async def _answer(send: Send, status: int, document: dict[str, Any]) -> None:
    text = json.dumps(document).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(text))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text})


@dataclass
class Listener:
    """A running listener, its address, and what it counts."""

    port: int
    application: Application
    table: ConnectionTable
    metrics: Metrics
    clients: list[Client] = field(default_factory=list)

    def cut(self, reason: str) -> float:
        """How many connections were cut for this reason."""
        value = self.metrics.registry.get_sample_value(
            "tts_receiver_connections_cut_total", {"listener": "public", "reason": reason}
        )
        return value or 0.0

    async def open(self, first: bytes = b"") -> Client:
        """A new connection. Its first bytes are there before it is accepted: no limit of time ends before."""
        connected = socket.create_connection(("127.0.0.1", self.port))
        connected.sendall(first)
        reader, writer = await asyncio.open_connection(sock=connected, limit=1 << 26)
        client = Client(reader, writer)
        self.clients.append(client)
        return client

    async def close(self) -> None:
        """End all connections from the senders' side."""
        for client in self.clients:
            client.close()
            with suppress(ConnectionError):
                await client.writer.wait_closed()


@asynccontextmanager
async def listening_raw(limits: Limits = GENEROUS) -> AsyncIterator[Listener]:
    """The application behind a listener of its own."""
    application, metrics = Application(), Metrics()
    table = ConnectionTable("public", limits, metrics)
    config = listener_server(application, table).config
    config.load()
    state, loop = ServerState(), asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: HttpConnection(config, state, {}, loop, table=table), "127.0.0.1", 0, start_serving=True
    )
    port = server.sockets[0].getsockname()[1]
    running = Listener(port, application, table, metrics)
    try:
        yield running
    finally:
        for gate in application.gates.values():
            gate.set()
        await running.close()
        server.close()
        async with asyncio.timeout(PATIENCE):
            while state.connections or state.tasks:
                await asyncio.sleep(0.001)


@dataclass
class Answer:
    """A response, read whole."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> dict[str, Any]:
        """Its JSON body."""
        return dict(json.loads(self.body))


class Client:
    """A raw connection to a listener."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        """Send bytes, whatever they are."""
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self) -> Answer:
        """The next response."""
        async with asyncio.timeout(PATIENCE):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            status, *lines = head.strip().split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            if headers.get("transfer-encoding") == "chunked":
                body = await self._chunks()
            elif "content-length" in headers:
                body = await self.reader.readexactly(int(headers["content-length"]))
            else:
                body = b""
            return Answer(int(status.split()[1]), headers, body)

    async def _chunks(self) -> bytes:
        body = b""
        while size := int((await self.reader.readline()).strip(), 16):
            body += await self.reader.readexactly(size)
            await self.reader.readexactly(2)
        await self.reader.readexactly(2)
        return body

    async def ask(self, data: bytes) -> Answer:
        """Send bytes and read one response."""
        await self.send(data)
        return await self.answer()

    async def rest(self) -> bytes:
        """All that comes until the other side ends; nothing if it resets the connection."""
        async with asyncio.timeout(PATIENCE):
            try:
                return await self.reader.read()
            except ConnectionError:
                return b""

    def close(self) -> None:
        """End the connection, with what was not sent."""
        self.writer.transport.abort()


def request(method: str = "GET", path: str = "/", body: bytes | None = None, headers: str = "") -> bytes:
    """A request as it is on the wire; `headers` are whole lines, each with its line break."""
    length = "" if body is None else f"Content-Length: {len(body)}\r\n"
    return f"{method} {path} HTTP/1.1\r\nHost: t\r\n{headers}{length}\r\n".encode("latin-1") + (body or b"")
