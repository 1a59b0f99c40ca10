"""One connection: where a request begins and ends, and how much of it is taken.

httptools (llhttp, strict) parses; what it is given is cut here, so that never more than one request is in hand. A head
is given to it whole: it ends at the first empty line, which is also the only place where a chunked body can end.

Facts of the wire: RFC 9112 (HTTP/1.1): 3.2 the Host header, 6.1 Transfer-Encoding, 9.6 closing; RFC 9110: 7.8 a server
may ignore Upgrade, 10.1.1 Expect.
"""

from __future__ import annotations

import asyncio
import re
from enum import Enum
from typing import Any, cast
from urllib.parse import unquote

import httptools
import uvicorn
from starlette.types import Scope
from uvicorn.server import ServerState

from receiver.web.http.connections import ConnectionTable
from receiver.web.http.exchange import STATUS_LINES, Exchange
from receiver.web.http.limits import (
    DRAIN_SECONDS,
    MAX_BODY_AHEAD,
    MAX_DRAIN_BYTES,
    MAX_HEAD_BYTES,
    MAX_HEADERS,
    MAX_TARGET_BYTES,
)

_EMPTY_LINE = b"\r\n\r\n"
_UPGRADE = re.compile(rb"\r\nupgrade:[^\r\n]*", re.IGNORECASE)


class _State(Enum):
    """What the next bytes of a connection are."""

    HEAD = "of a request's head"
    BODY = "of a request's body"
    ANSWERING = "of the next request, once this one is answered"
    CLOSING = "thrown away"


class _Refused(Exception):
    """The request cannot be read: a status to answer, and a reason for the metric."""

    def __init__(self, status: int, *, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class HttpConnection(asyncio.Protocol):
    """A connection of a listener; what uvicorn makes for each.

    Args:
        config, server_state, app_state: as uvicorn gives them.
        table: all connections of this listener.
    """

    transport: asyncio.Transport

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        table: ConnectionTable,
    ) -> None:
        self._app = config.loaded_app
        self._server = server_state
        self._app_state = app_state
        self._loop = _loop or asyncio.get_running_loop()
        self._table = table
        self._parser = httptools.HttpRequestParser(self)
        self._state = _State.HEAD
        self._since = 0.0
        self._idle = False
        self._exchange: Exchange | None = None
        # of the head that is being read
        self._partial = bytearray()
        self._target = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._keep_alive = False
        self._whole = False
        # of the body that is being read
        self._left: int | None = None
        self._tail = b""
        self._overhead = 0
        # requests sent ahead of their answers, and what is thrown away
        self._held = b""
        self._drained = 0
        self._reading = True
        self._stopping = False
        self._stalled_since: float | None = None
        self._writable: asyncio.Event | None = None

    @property
    def unfinished(self) -> int:
        """Bytes of a head that has not ended."""
        return len(self._partial)

    @property
    def stalled(self) -> bool:
        """Whether the sender does not read what was written."""
        return self._stalled_since is not None

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A sender has connected."""
        self.transport = cast("asyncio.Transport", transport)
        self._since = self._loop.time()
        self._server_name = _address(self.transport.get_extra_info("sockname"))
        self._client = _address(self.transport.get_extra_info("peername"))
        self._server.connections.add(cast("Any", self))
        self._table.add(self, self._loop)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended."""
        self._state = _State.CLOSING
        self._forget_input()
        self._table.remove(self)
        self._server.connections.discard(cast("Any", self))
        if self._exchange is not None:
            self._exchange.disconnect()
        self.resume_writing()

    def eof_received(self) -> bool:
        """The sender sends nothing more; it may still wait for the answer to a request that is whole."""
        exchange = self._exchange
        if self._state is _State.ANSWERING and exchange is not None and not exchange.started:
            exchange.keep_alive = False
            self._drop_held()
            return True
        return False

    def data_received(self, data: bytes) -> None:
        """Take bytes, as far as they are wanted now."""
        try:
            while data:
                if self._state is _State.HEAD:
                    data = self._read_head(data)
                elif self._state is _State.BODY:
                    data = self._read_body(data)
                elif self._state is _State.ANSWERING:
                    self._hold(data)
                    return
                else:
                    self._drain(data)
                    return
        except _Refused as refused:
            self._refuse(refused.status, reason=refused.reason)

    def pause_writing(self) -> None:
        """The sender does not read what was written."""
        self._stalled_since = self._loop.time()
        if self._writable is None:
            self._writable = asyncio.Event()
        self._writable.clear()

    def resume_writing(self) -> None:
        """The sender has read enough."""
        self._stalled_since = None
        if self._writable is not None:
            self._writable.set()

    # the server's and the table's side

    def shutdown(self) -> None:
        """The server stops: what is in hand is answered, nothing more is taken."""
        self._stopping = True
        if self._exchange is None:
            self.transport.close()
        else:
            self._exchange.keep_alive = False
            self._drop_held()

    def check(self, now: float) -> None:
        """Close the connection if it took too long."""
        limits = self._table.limits
        if self._stalled_since is not None and now - self._stalled_since > limits.idle_seconds:
            self.cut(reason="reader_stalled")
        elif self._state is _State.CLOSING:
            if now - self._since > DRAIN_SECONDS:
                self.transport.abort()
        elif self._state is _State.HEAD:
            if self._idle:
                if now - self._since > limits.idle_seconds:
                    self.transport.close()
            elif now - self._since > limits.head_seconds:
                if self._partial:
                    self._refuse(408, reason="head_too_slow")
                else:
                    self.cut(reason="silent")

    def cut(self, *, reason: str) -> None:
        """Close the connection at once."""
        if reason not in ("connection_limit", "memory_limit"):  # those are counted where they are decided
            self._table.note(reason=reason, client=self._client and self._client[0])
        self._forget_input()
        self._table.remove(self)
        self._state = _State.CLOSING
        if self._exchange is not None:
            self._exchange.disconnect()
        self.transport.abort()

    # the exchange's side

    async def writable(self) -> None:
        """Wait until the sender has read enough of what was written."""
        if self._writable is not None:
            await self._writable.wait()

    def resume_reading(self) -> None:
        """Read on, if reading was stopped."""
        if not self._reading and not self.transport.is_closing():
            self._reading = True
            self.transport.resume_reading()

    def abort(self) -> None:
        """End the connection in the middle of a response."""
        self.transport.abort()

    def exchange_ended(self, exchange: Exchange) -> None:
        """The response is written: go on with the next request, or close."""
        self._server.total_requests += 1
        self._exchange = None
        if self.transport.is_closing():
            return
        if self._state is not _State.ANSWERING:  # an early answer: the rest of the body is not wanted
            self._close_gently()
            return
        if not exchange.keep_alive:
            self._close() if self._reading else self._close_gently()
            return
        self._state = _State.HEAD
        self._idle = True
        self._since = self._loop.time()
        self._table.idle[self] = None
        held, self._held = self._held, b""
        if held:
            self._table.buffered -= len(held)
            self.data_received(held)
        if self._state is not _State.ANSWERING or not self._held:
            self.resume_reading()

    # heads

    def _read_head(self, data: bytes) -> bytes:
        """Take a head, or a part of one; what follows it is returned.

        Raises:
            _Refused: it is too long, or no head of a request that is answered here.
        """
        if self._partial:
            start = max(0, len(self._partial) - 3)
            self._partial += data
            self._table.buffered += len(data)
            end = self._partial.find(_EMPTY_LINE, start)
            if end < 0:
                self._check_partial()
                return b""
            data = bytes(self._partial)
            self._forget_input()
        else:
            end = data.find(_EMPTY_LINE)
            if self._idle:
                self._begin_head()
            if end < 0:
                self._partial += data
                self._table.buffered += len(data)
                self._check_partial()
                return b""
        end += len(_EMPTY_LINE)
        if end > MAX_HEAD_BYTES:
            raise _too_long(data)
        self._parse_head(data[:end])
        return data[end:]

    def _begin_head(self) -> None:
        """The first byte after a pause: from now on the head's time runs."""
        self._idle = False
        self._since = self._loop.time()
        self._table.idle.pop(self, None)
        self._table.without_head[self] = None

    def _check_partial(self) -> None:
        if len(self._partial) > MAX_HEAD_BYTES:
            raise _too_long(self._partial)
        if self._table.overfull:
            self._table.make_room()

    def _parse_head(self, head: bytes) -> None:
        self._target, self._headers, self._whole, self._left, self._tail = b"", [], False, None, b""
        try:
            try:
                self._parser.feed_data(head)
            except httptools.HttpParserUpgrade:
                # RFC 9110, 7.8: a server may ignore Upgrade. The parser does not: it takes the body for the other
                # protocol. So the head is read again without it, and keeps its framing.
                self._target, self._headers, self._whole = b"", [], False
                self._parser.feed_data(_UPGRADE.sub(b"", head))
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            raise _Refused(400, reason="malformed_request") from None
        if not self._target:
            return  # empty lines in front of a request
        scope, expects_continue = self._scope()
        exchange = Exchange(
            self,
            scope,
            self._server.default_headers,
            expects_continue=expects_continue,
            keep_alive=self._keep_alive and scope["http_version"] == "1.1",
        )
        self._exchange = exchange
        self._table.without_head.pop(self, None)
        if self._whole:
            self._state = _State.ANSWERING
            exchange.end_of_body()
        else:
            self._state = _State.BODY
            self._table.without_body[self] = None
        task = self._loop.create_task(exchange.run(cast("Any", self._app)))
        self._server.tasks.add(task)
        task.add_done_callback(self._server.tasks.discard)

    def _scope(self) -> tuple[Scope, bool]:
        """The ASGI scope, and whether the sender waits for "100 Continue".

        Raises:
            _Refused: the head is not one that can be answered.
        """
        version, method = self._parser.get_http_version(), self._parser.get_method()
        if version not in ("1.1", "1.0"):
            raise _Refused(505, reason="http_version")
        if len(self._target) > MAX_TARGET_BYTES:
            raise _Refused(414, reason="target_too_long")
        headers = self._headers
        if len(headers) > MAX_HEADERS:
            raise _Refused(431, reason="head_too_long")
        names = [name for name, _ in headers]
        hosts = names.count(b"host")
        if hosts > 1 or (hosts == 0 and version == "1.1"):
            raise _Refused(400, reason="host_header")
        if not self._whole:
            self._left = self._announced(names, version)
        try:
            target = httptools.parse_url(self._target)
            path = target.path.decode("ascii")
        except (httptools.HttpParserError, UnicodeDecodeError, AttributeError):
            raise _Refused(400, reason="malformed_request") from None
        if "%" in path:
            path = unquote(path)
        scope: Scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": version,
            "server": self._server_name,
            "client": self._client,
            "scheme": "http",
            "method": method.decode("ascii"),
            "root_path": "",
            "path": path,
            "raw_path": target.path,
            "query_string": target.query or b"",
            "headers": headers,
            "state": self._app_state.copy(),
        }
        return scope, b"expect" in names and (b"expect", b"100-continue") in [(n, v.lower()) for n, v in headers]

    def _announced(self, names: list[bytes], version: str) -> int | None:
        """The body's length in bytes; None for a chunked one."""
        if b"transfer-encoding" not in names:
            return int(self._headers[names.index(b"content-length")][1])
        codings = [value.lower() for name, value in self._headers if name == b"transfer-encoding"]
        if codings != [b"chunked"] or version != "1.1":
            raise _Refused(501, reason="transfer_encoding")
        return None

    # bodies

    def _read_body(self, data: bytes) -> bytes:
        """Take the body's bytes; what follows it is returned."""
        left = self._left
        if left is not None:
            piece = data if len(data) <= left else data[:left]
            self._left = left - len(piece)
        else:
            end = (self._tail + data).find(_EMPTY_LINE)
            piece = data if end < 0 else data[: end + len(_EMPTY_LINE) - len(self._tail)]
            self._tail = (self._tail + piece)[-3:]
        self._overhead += len(piece)
        try:
            self._parser.feed_data(piece)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            raise _Refused(400, reason="malformed_request") from None
        if self._overhead > MAX_HEAD_BYTES and not self._whole:
            raise _Refused(431, reason="head_too_long")
        if self._whole:
            self._overhead = 0
            self._state = _State.ANSWERING
            self._table.without_body.pop(self, None)
            if self._exchange is not None:
                self._exchange.end_of_body()
        elif self._exchange is not None and self._exchange.ahead > MAX_BODY_AHEAD:
            self._stop_reading()
        return data[len(piece) :]

    # the parser's side

    def on_url(self, part: bytes) -> None:
        """A part of the request's target."""
        self._target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header line; a trailer's lines are no headers, and nobody wants them."""
        if self._state is _State.HEAD:
            self._headers.append((name.lower(), value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        """The head is whole. Only now does the parser know this."""
        self._keep_alive = self._parser.should_keep_alive()

    def on_body(self, piece: bytes) -> None:
        """A piece of the body, without its framing."""
        self._overhead = 0
        if self._exchange is not None:
            self._exchange.body(piece)

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._whole = True

    # what is not read now

    def _hold(self, data: bytes) -> None:
        """Keep what came ahead of its turn; the rest stays in the kernel until there is an answer."""
        exchange = self._exchange
        if exchange is None or not exchange.keep_alive:
            return
        self._held += data
        self._table.buffered += len(data)
        self._stop_reading()
        if self._table.overfull:
            self._drop_held()
            exchange.keep_alive = False

    def _drop_held(self) -> None:
        self._table.buffered -= len(self._held)
        self._held = b""

    def _forget_input(self) -> None:
        self._table.buffered -= len(self._partial) + len(self._held)
        self._partial = bytearray()
        self._held = b""

    def _stop_reading(self) -> None:
        if self._reading and not self.transport.is_closing():
            self._reading = False
            self.transport.pause_reading()

    # ends

    def _refuse(self, status: int, *, reason: str) -> None:
        """Answer what cannot be read, unless an answer has begun, and close."""
        self._table.note(reason=reason, client=self._client and self._client[0])
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.disconnect()
            if exchange.started:
                self.abort()
                return
        body = b'{"error":"%b"}' % reason.encode()
        head = b"%bcontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
        self.transport.write(head % (STATUS_LINES[status], len(body)) + body)
        self._close_gently()

    def _close_gently(self) -> None:
        """Say that nothing follows, and read on for a while: a sender that is cut off cannot read its answer.

        RFC 9112, 9.6: closing at once resets the connection, and the reset may overtake the answer. A server that
        stops has no time for this.
        """
        if self._stopping:
            self._close()
            return
        self._forget_input()
        self._table.leave_groups(self)
        self._table.without_head[self] = None
        self._state = _State.CLOSING
        self._since = self._loop.time()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.resume_reading()

    def _close(self) -> None:
        self._forget_input()
        self._table.leave_groups(self)
        self._state = _State.CLOSING
        self._since = self._loop.time()
        self.transport.close()

    def _drain(self, data: bytes) -> None:
        self._drained += len(data)
        if self._drained > MAX_DRAIN_BYTES:
            self.transport.abort()


def _too_long(head: bytes | bytearray) -> _Refused:
    """Which of the two is too long: the target is, if the first line does not end in time."""
    if head.find(b"\n", 0, MAX_TARGET_BYTES) < 0:
        return _Refused(414, reason="target_too_long")
    return _Refused(431, reason="head_too_long")


def _address(name: Any) -> tuple[str, int] | None:
    """Host and port of a socket's name; None for a socket that has none."""
    return (str(name[0]), int(name[1])) if isinstance(name, tuple) else None
