"""One connection: reads its requests, one after the other.

One request is processed at a time: bytes behind it are not parsed, and soon not read, before it is answered.

Facts of the wire: RFC 9112, 2.2: empty lines before a request.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

import uvicorn
from uvicorn.server import ServerState

from receiver.web.http.base_connection import ANSWERING, BODY, CLOSING, HEAD, BaseConnection
from receiver.web.http.connections import ConnectionTable
from receiver.web.http.exchange import Exchange
from receiver.web.http.limits import MAX_BODY_BUFFER, MAX_HEAD_BYTES, MAX_PIPELINED_BYTES
from receiver.web.http.parser import EMPTY_LINE, Head, RequestParser, RequestRefused, head_too_long


class HttpConnection(BaseConnection):
    """A connection of a listener; uvicorn constructs one for each.

    Args:
        config, server_state, app_state: as uvicorn gives them.
        table: all connections of this listener.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        table: ConnectionTable,
    ) -> None:
        super().__init__(_loop or asyncio.get_running_loop(), table)
        self._app = config.loaded_app
        self._server = server_state
        self._app_state = app_state
        self._parser = RequestParser()

    # called by asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A sender has connected."""
        self.transport = cast("asyncio.Transport", transport)
        self._since = self._loop.time()
        self._client = _address(self.transport.get_extra_info("peername"))
        self._addresses = (_address(self.transport.get_extra_info("sockname")), self._client)
        self._server.connections.add(cast("Any", self))
        self._table.add(self, self._loop)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended."""
        self._state = CLOSING
        self._drop_input()
        self._table.remove(self)
        self._server.connections.discard(cast("Any", self))
        # No reference cycle is left: it would keep a part of a body in memory until the garbage collector runs.
        self._parser.close()
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.disconnect()
        self.resume_writing()

    def eof_received(self) -> bool:
        """The sender sends nothing more; it may still wait for the answer to a complete request.

        After a `GET` or `HEAD` it is treated as disconnected, so that no work is done for an answer that nobody reads.
        """
        exchange = self._exchange
        answering = self._state is ANSWERING and exchange is not None and not exchange.started
        if answering and exchange is not None and exchange.scope["method"] not in ("GET", "HEAD"):
            exchange.keep_alive = False
            self._drop_pipelined()
            return True
        return False

    def data_received(self, data: bytes) -> None:
        """Read, buffer or discard bytes, depending on the state."""
        try:
            while data:
                if self._state is HEAD:
                    data = self._read_head(data)
                elif self._state is BODY:
                    data = self._read_body(data)
                elif self._state is ANSWERING:
                    self._buffer_pipelined(data)
                    return
                else:
                    self._drain(data)
                    return
        except RequestRefused as refused:
            self._refuse(refused.status, reason=refused.reason)

    # called by the exchange

    def exchange_ended(self, exchange: Exchange) -> None:
        """The response is written: go on with the next request, or close."""
        self._server.total_requests += 1
        self._exchange = None
        if self.transport.is_closing():
            return
        if self._state is not ANSWERING:  # an early answer: the rest of the body is not wanted
            self._close_gracefully()
            return
        if not exchange.keep_alive:
            self._close() if self._reading else self._close_gracefully()
            return
        self._state = HEAD
        self._idle = True
        self._since = self._loop.time()
        self._table.idle[self] = None
        if self._pipelined:
            self._table.queue(self._read_pipelined, self._loop)  # nothing is read meanwhile
        elif not self._reading:
            self.resume_reading()

    def _read_pipelined(self) -> None:
        """Begin the next pipelined request, unless the connection is being closed."""
        if self._state is not HEAD:
            return
        data, self._pipelined = self._pipelined, b""
        self._table.pipelined_bytes -= len(data)
        self.data_received(data)
        if self._state is not ANSWERING or not self._pipelined:
            self.resume_reading()

    # heads

    def _read_head(self, data: bytes) -> bytes:
        """Read a head, or a part of one; return the bytes after it.

        Raises:
            RequestRefused: it is too long, or not the head of a request that this server answers.
        """
        if not self._partial:
            # Empty lines before a request are skipped (RFC 9112, 2.2), all at once; they do not restart the time limit.
            data = data.lstrip(b"\r\n")
            if not data:
                return b""
        if self._partial:
            start = max(0, len(self._partial) - 3)
            self._partial += data
            self._table.partial_bytes += len(data)
            end = self._partial.find(EMPTY_LINE, start)
            if end < 0:
                self._check_partial()
                return b""
            data = bytes(self._partial)
            self._drop_input()
        else:
            end = data.find(EMPTY_LINE)
            if end < 0:
                if self._idle:
                    self._begin_head()
                self._partial += data
                self._table.partial_bytes += len(data)
                self._check_partial()
                return b""
        end += len(EMPTY_LINE)
        if end > MAX_HEAD_BYTES:
            raise head_too_long(data)
        head = self._parser.read_head(data[:end])
        if head is not None:
            self._begin(head)
        return data[end:]

    def _begin_head(self) -> None:
        """The first byte after a pause: the head's time limit begins."""
        self._idle = False
        self._since = self._loop.time()
        self._table.idle.pop(self, None)
        self._table.awaiting_head[self] = None

    def _check_partial(self) -> None:
        if len(self._partial) > MAX_HEAD_BYTES:
            raise head_too_long(self._partial)
        self._table.make_room()

    def _begin(self, head: Head) -> None:
        """Pass a request to the application; its body may still be on its way."""
        exchange = self._exchange = Exchange(
            self, head, self._addresses, self._app_state.copy(), self._server.default_headers
        )
        if self._table.draining:
            exchange.keep_alive = False
        if self._idle:
            self._idle = False
            self._table.idle.pop(self, None)
        else:
            self._table.awaiting_head.pop(self, None)
        if self._parser.whole:
            self._state = ANSWERING
            exchange.end_of_body()
        else:
            self._state = BODY
            self._table.awaiting_body[self] = None
        self._loop.create_task(exchange.run(cast("Any", self._app), self._loop, self._server.tasks))

    # bodies

    def _read_body(self, data: bytes) -> bytes:
        """Read the body's bytes; return the bytes after it.

        Raises:
            RequestRefused: it is not a valid body.
        """
        pieces, rest = self._parser.read_body(data)
        exchange = self._exchange
        if exchange is None:
            raise RuntimeError("A body is read without its request.")
        for piece in pieces:
            exchange.add_body(piece)
        if self._parser.whole:
            self._state = ANSWERING
            self._table.awaiting_body.pop(self, None)
            exchange.end_of_body()
        elif exchange.buffered > MAX_BODY_BUFFER:
            self._stop_reading()
        return rest

    # pipelined requests

    def _buffer_pipelined(self, data: bytes) -> None:
        """Keep pipelined requests; what follows stays in the kernel until the current request is answered."""
        exchange = self._exchange
        if exchange is None or not exchange.keep_alive:
            return
        if self._table.pipelined_bytes + len(data) > MAX_PIPELINED_BYTES:
            self._drop_pipelined()
            exchange.keep_alive = False
            return
        self._pipelined += data
        self._table.pipelined_bytes += len(data)
        self._stop_reading()


def _address(name: Any) -> tuple[str, int] | None:
    """Host and port of a socket's name; None for a socket that has none."""
    return (str(name[0]), int(name[1])) if isinstance(name, tuple) else None
