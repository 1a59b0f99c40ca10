"""One request and its response, as an ASGI application sees them."""

from __future__ import annotations

import asyncio
import http
from collections.abc import Iterable
from typing import Any, Protocol, cast

import structlog
from starlette.types import ASGIApp, Message, Scope

from receiver.model.redact import truncate
from receiver.web.http.parser import Head

log = structlog.get_logger("receiver.listener")

STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in http.HTTPStatus}
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_FRAMING = frozenset((b"content-length", b"connection", b"transfer-encoding"))
WHOLE_REQUEST = "receiver.whole_request"
"""ASGI extension: the `WholeRequest` of a request that had come to its end when the application was called."""
_DISCONNECT: Message = {"type": "http.disconnect"}
_FAILED = b'{"error":"internal"}'


class WholeRequest(Protocol):
    """A shortcut past `receive` and `send`: no message and no coroutine for each step."""

    def take_body(self) -> bytes | None:
        """The whole body, once; None if the sender is gone."""

    def answer(self, status: int, lines: bytes, body: bytes) -> bool:
        """Write the whole response, unless that needs more than one step: then return False, and use `send`.

        Args:
            lines: header lines of the application, each with its line break, except `Content-Length`.
        """


class ExchangeConnection(Protocol):
    """The part of a connection that an exchange uses.

    Attributes:
        stalled: whether the sender does not read what was written.
    """

    transport: asyncio.Transport
    stalled: bool

    async def writable(self) -> None:
        """Wait until the sender has read enough of what was written."""

    def resume_reading(self) -> None:
        """Continue reading: the application has taken the buffered bytes of the body."""

    def exchange_ended(self, exchange: Exchange) -> None:
        """The whole response has been passed to the transport."""

    def abort(self) -> None:
        """End the connection: the response cannot be completed as announced."""


class Exchange:
    """One request and its response.

    The response's head is written together with the first part of its body wherever its length is known: one system
    call for a whole answer.

    Attributes:
        buffered: bytes of the body that the application has not taken.

    Args:
        addresses: host and port of our side and of the sender's, where the sockets have them.
        state: the ASGI scope's `state`.
        default_headers: header lines that every response has, as ASGI pairs.
    """

    __slots__ = (
        "_changed", "_chunked", "_connection", "_default_headers", "_end_sent", "_expects_continue", "_head", "_pieces",
        "_remaining", "buffered", "complete", "disconnected", "keep_alive", "received", "scope", "started",
    )  # fmt: skip

    def __init__(
        self,
        connection: ExchangeConnection,
        head: Head,
        addresses: tuple[tuple[str, int] | None, tuple[str, int] | None],
        state: dict[str, Any],
        default_headers: Iterable[tuple[bytes, bytes]],
    ) -> None:
        self.scope: Scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": head.version,
            "scheme": "http",
            "method": head.method,
            "root_path": "",
            "path": head.path,
            "raw_path": head.target_path,
            "query_string": head.query,
            "headers": head.headers,
            "server": addresses[0],
            "client": addresses[1],
            "state": state,
        }
        self.keep_alive = head.keep_alive
        self.received = False
        self.started = False
        self.complete = False
        self.disconnected = False
        self._connection = connection
        self._default_headers = default_headers
        self._expects_continue = head.expects_continue
        self._pieces: list[bytes] = []
        self.buffered = 0
        self._end_sent = False
        self._changed: asyncio.Event | None = None
        self._head = b""
        self._chunked = False
        self._remaining: int | None = 0

    # called by the connection

    def add_body(self, piece: bytes) -> None:
        """Add bytes of the request's body."""
        self._pieces.append(piece)
        self.buffered += len(piece)
        if self._changed is not None:
            self._changed.set()

    def end_of_body(self) -> None:
        """The request is complete."""
        self.received = True
        if self._changed is not None:
            self._changed.set()

    def disconnect(self) -> None:
        """The sender is gone, or nothing more of it is read."""
        self.disconnected = True
        self._pieces = []
        if self._changed is not None:
            self._changed.set()

    # called by the application

    async def run(self, app: ASGIApp, loop: asyncio.AbstractEventLoop, tasks: set[asyncio.Task[None]]) -> None:
        """Call the application; whatever it does, the sender gets an answer or the connection ends.

        Args:
            loop: the running loop.
            tasks: has the running task while the application works, so that the server waits for it when it stops.
        """
        # In here, because a callback of the task would be another step of the loop for each request.
        task = cast("asyncio.Task[None]", asyncio.current_task(loop))
        tasks.add(task)
        if self.received:
            self.scope["extensions"] = {WHOLE_REQUEST: self}
        try:
            await app(self.scope, self.receive, self.send)
        except Exception:
            log.exception("request.failed", method=self.scope["method"], path=truncate(self.scope["path"], 200))
        except BaseException:
            self._connection.abort()
            raise
        finally:
            tasks.discard(task)
            self.scope.pop(
                "extensions", None
            )  # a reference cycle would keep the body in memory until the collector runs
        if self.complete or self.disconnected:
            return
        if self.started:
            self._connection.abort()
            return
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(_FAILED))]
        headers.append((b"connection", b"close"))
        await self.send({"type": "http.response.start", "status": 500, "headers": headers})
        await self.send({"type": "http.response.body", "body": _FAILED})

    def take_body(self) -> bytes | None:
        """See `WholeRequest`."""
        if self.disconnected:
            return None
        pieces, self._pieces = self._pieces, []
        self.buffered = 0
        self._end_sent = True
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def answer(self, status: int, lines: bytes, body: bytes) -> bool:
        """See `WholeRequest`."""
        connection = self._connection
        if (
            self.started
            or self.disconnected
            or not self.keep_alive
            or connection.stalled
            or self.scope["method"] == "HEAD"
        ):
            return False
        self.started = self.complete = True
        defaults = b"".join([b"%b: %b\r\n" % line for line in self._default_headers])
        head = b"%b%b%bcontent-length: %d\r\n\r\n%b"
        connection.transport.write(head % (STATUS_LINES[status], defaults, lines, len(body), body))
        connection.exchange_ended(self)
        return True

    async def receive(self) -> Message:
        """The next part of the body; after its end, the disconnect."""
        if self._expects_continue and not self.started and not self.disconnected:
            self._expects_continue = False
            self._connection.transport.write(CONTINUE)
        while not (self.disconnected or self.complete):
            if self._pieces or (self.received and not self._end_sent):
                return self._body_message()
            if self._changed is None:
                self._changed = asyncio.Event()
            self._changed.clear()
            await self._changed.wait()
        return _DISCONNECT

    def _body_message(self) -> Message:
        pieces = self._pieces
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self._pieces = []
        self.buffered = 0
        self._end_sent = self.received
        if not self.received:
            self._connection.resume_reading()
        return {"type": "http.request", "body": body, "more_body": not self.received}

    async def send(self, message: Message) -> None:
        """Write the response's start, or a part of its body.

        Raises:
            RuntimeError: the application breaks ASGI's rules.
        """
        if self._connection.stalled:
            await self._connection.writable()
        if self.disconnected:
            return
        kind = message["type"]
        if not self.started:
            if kind != "http.response.start":
                raise RuntimeError(f"The application sent {kind} before the response's start.")
            self._start(message["status"], message.get("headers", ()))
        elif self.complete or kind != "http.response.body":
            raise RuntimeError(f"The application sent {kind} after the response's start or end.")
        else:
            self._write(message.get("body", b""), last=not message.get("more_body", False))

    def _start(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        parts = [STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status]
        closes = not self.keep_alive or not self.received
        self._remaining = None
        count = 2  # the status line, and the empty one
        for name, value in (*self._default_headers, *headers):
            lowered = name.lower()
            if lowered in _FRAMING:
                if lowered == b"content-length":
                    self._remaining = int(value)
                else:
                    closes = closes or (lowered == b"connection" and b"close" in value.lower())
                    continue  # this class decides how the body is framed
            parts += (name, b": ", value, b"\r\n")
            count += 1
        if self.scope["method"] == "HEAD" or status in (204, 304):
            self._remaining = 0
        elif self._remaining is None:
            if self.scope["http_version"] == "1.1":
                self._chunked = True
                parts.append(b"transfer-encoding: chunked\r\n")
                count += 1
            else:
                closes = True  # the connection's end marks the body's
        if closes:
            self.keep_alive = False
            parts.append(b"connection: close\r\n")
            count += 1
        parts.append(b"\r\n")
        head = b"".join(parts)
        if head.count(b"\n") != count or head.count(b"\r") != count or b"\0" in head:
            raise RuntimeError("A response header contains a line break or a null byte.")
        self.started = True
        if self._remaining is None:
            self._connection.transport.write(head)
        else:
            self._head = head

    def _write(self, body: bytes, *, last: bool) -> None:
        if self.scope["method"] == "HEAD":
            body = b""
        if self._chunked:
            body = (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + (b"0\r\n\r\n" if last else b"")
        elif self._remaining is not None:
            self._remaining -= len(body)
            if self._remaining < 0 or (last and self._remaining > 0):
                raise RuntimeError("The response's body is not as long as its Content-Length says.")
        data = self._head + body if self._head else body
        self._head = b""
        if data:
            self._connection.transport.write(data)
        if last:
            self.complete = True
            if self._changed is not None:
                self._changed.set()
            self._connection.exchange_ended(self)
