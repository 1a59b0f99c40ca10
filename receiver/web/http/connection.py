"""One connection: the meaning of its next bytes, and whether to read them now.

One request is processed at a time: bytes behind it are not parsed, and soon not read, before it is answered.

Facts of the wire: RFC 9112: 2.2 empty lines before a request; 9.6 how a connection is closed so that the sender can
read its answer.
"""

from __future__ import annotations

import asyncio
import select
from enum import Enum
from typing import Any, cast

import uvicorn
from uvicorn.server import ServerState

from receiver.web.http.connections import ConnectionTable
from receiver.web.http.exchange import STATUS_LINES, Exchange
from receiver.web.http.limits import DRAIN_SECONDS, MAX_BODY_AHEAD, MAX_DRAIN_BYTES, MAX_HEAD_BYTES, MAX_HELD_BYTES
from receiver.web.http.parser import EMPTY_LINE, Head, RequestParser, RequestRefused, too_long


class _State(Enum):
    """The meaning of a connection's next bytes."""

    HEAD = "of a request's head"
    BODY = "of a request's body"
    ANSWERING = "of the next request, once this one is answered"
    CLOSING = "thrown away"


# An enumeration looks its members up at each use; a request would need ten of them.
_HEAD, _BODY, _ANSWERING, _CLOSING = _State


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
        self._parser = RequestParser()
        self._state = _HEAD
        self._since = 0.0
        self._idle = False
        self._exchange: Exchange | None = None
        self._partial = bytearray()
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
    def awaits_request(self) -> bool:
        """Whether its next request, or the rest of that request's head, has still to come."""
        return self._state is _HEAD

    @property
    def stalled(self) -> bool:
        """Whether the sender does not read what was written."""
        return self._stalled_since is not None

    # asyncio's side

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
        self._state = _CLOSING
        self._forget_input()
        self._table.remove(self)
        self._server.connections.discard(cast("Any", self))
        # Nothing that refers to itself is left: it would keep a piece of a body until the collector comes.
        self._parser.close()
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.disconnect()
        self.resume_writing()

    def eof_received(self) -> bool:
        """The sender sends nothing more; it may still wait for the answer to a request that is whole.

        One that only asked has gone, as far as one can tell: nothing need be read for it any longer.
        """
        exchange = self._exchange
        answering = self._state is _ANSWERING and exchange is not None and not exchange.started
        if answering and exchange is not None and exchange.scope["method"] not in ("GET", "HEAD"):
            exchange.keep_alive = False
            self._drop_held()
            return True
        return False

    def data_received(self, data: bytes) -> None:
        """Take bytes, as far as they are wanted now."""
        try:
            while data:
                if self._state is _HEAD:
                    data = self._read_head(data)
                elif self._state is _BODY:
                    data = self._read_body(data)
                elif self._state is _ANSWERING:
                    self._hold(data)
                    return
                else:
                    self._drain(data)
                    return
        except RequestRefused as refused:
            self._refuse(refused.status, reason=refused.reason)

    def pause_writing(self) -> None:
        """The sender does not read what was written."""
        self._stalled_since = self._loop.time()
        self._table.unread[self] = None
        if self._writable is None:
            self._writable = asyncio.Event()
        self._writable.clear()

    def resume_writing(self) -> None:
        """The sender has read enough."""
        self._stalled_since = None
        self._table.unread.pop(self, None)
        if self._writable is not None:
            self._writable.set()

    # the server's and the table's side

    def shutdown(self) -> None:
        """The server stops: the current request is answered, no further one is read."""
        self._stopping = True
        if self._exchange is None:
            self.transport.close()
        else:
            self._exchange.keep_alive = False
            self._drop_held()

    def end_with_answer(self) -> None:
        """Announce the connection's end in the current answer, unless that has begun."""
        if self._exchange is not None and not self._exchange.started:
            self._exchange.keep_alive = False

    def close_if_idle(self) -> None:
        """Close the connection unless it has a request, read or unread."""
        if self._idle and not (self._held or self.transport.is_closing() or _is_readable(self.transport)):
            self.transport.close()

    def check(self, now: float) -> None:
        """Close the connection if it took too long."""
        limits = self._table.limits
        if self._stalled_since is not None and now - self._stalled_since > limits.idle_seconds:
            self.cut(reason="reader_stalled")
        elif self._state is _CLOSING:
            if now - self._since > DRAIN_SECONDS:
                self.transport.abort()
        elif self._state is _HEAD:
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
        self._state = _CLOSING
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
        if self._state is not _ANSWERING:  # an early answer: the rest of the body is not wanted
            self._close_gently()
            return
        if not exchange.keep_alive:
            self._close() if self._reading else self._close_gently()
            return
        self._state = _HEAD
        self._idle = True
        self._since = self._loop.time()
        self._table.idle[self] = None
        if self._held:
            self._table.queue(self, self._loop)  # not read from meanwhile
        else:
            self.resume_reading()

    def read_held(self) -> None:
        """Begin the next request of those that were sent ahead, unless the connection is being closed."""
        if self._state is _HEAD:
            self._read_held()

    def _read_held(self) -> None:
        held, self._held = self._held, b""
        self._table.held -= len(held)
        self.data_received(held)
        if self._state is not _ANSWERING or not self._held:
            self.resume_reading()

    # heads

    def _read_head(self, data: bytes) -> bytes:
        """Take a head, or a part of one; what follows it is returned.

        Raises:
            RequestRefused: it is too long, or no head of a request that is answered here.
        """
        if not self._partial:
            # Empty lines before a request are passed over (RFC 9112, 2.2), all at once; no time is won by them.
            data = data.lstrip(b"\r\n")
            if not data:
                return b""
        if self._partial:
            start = max(0, len(self._partial) - 3)
            self._partial += data
            self._table.unfinished += len(data)
            end = self._partial.find(EMPTY_LINE, start)
            if end < 0:
                self._check_partial()
                return b""
            data = bytes(self._partial)
            self._forget_input()
        else:
            end = data.find(EMPTY_LINE)
            if end < 0:
                if self._idle:
                    self._begin_head()
                self._partial += data
                self._table.unfinished += len(data)
                self._check_partial()
                return b""
        end += len(EMPTY_LINE)
        if end > MAX_HEAD_BYTES:
            raise too_long(data)
        head = self._parser.read_head(data[:end])
        if head is not None:
            self._begin(head)
        return data[end:]

    def _begin_head(self) -> None:
        """The first byte after a pause: from now on the head's time runs."""
        self._idle = False
        self._since = self._loop.time()
        self._table.idle.pop(self, None)
        self._table.without_head[self] = None

    def _check_partial(self) -> None:
        if len(self._partial) > MAX_HEAD_BYTES:
            raise too_long(self._partial)
        self._table.make_room()

    def _begin(self, head: Head) -> None:
        """Hand a request to the application; its body may still be on its way."""
        exchange = self._exchange = Exchange(
            self, head, self._addresses, self._app_state.copy(), self._server.default_headers
        )
        if self._table.draining:
            exchange.keep_alive = False
        if self._idle:
            self._idle = False
            self._table.idle.pop(self, None)
        else:
            self._table.without_head.pop(self, None)
        if self._parser.whole:
            self._state = _ANSWERING
            exchange.end_of_body()
        else:
            self._state = _BODY
            self._table.without_body[self] = None
        task = self._loop.create_task(exchange.run(cast("Any", self._app)))
        self._server.tasks.add(task)
        task.add_done_callback(self._server.tasks.discard)

    # bodies

    def _read_body(self, data: bytes) -> bytes:
        """Take the body's bytes; what follows it is returned.

        Raises:
            RequestRefused: it is no proper body.
        """
        pieces, rest = self._parser.read_body(data)
        exchange = self._exchange
        if exchange is None:
            raise RuntimeError("A body is read without its request.")
        for piece in pieces:
            exchange.body(piece)
        if self._parser.whole:
            self._state = _ANSWERING
            self._table.without_body.pop(self, None)
            exchange.end_of_body()
        elif exchange.ahead > MAX_BODY_AHEAD:
            self._stop_reading()
        return rest

    # what is not read now

    def _hold(self, data: bytes) -> None:
        """Keep requests sent ahead; the rest stays in the kernel until there is an answer."""
        exchange = self._exchange
        if exchange is None or not exchange.keep_alive:
            return
        if self._table.held + len(data) > MAX_HELD_BYTES:
            self._drop_held()
            exchange.keep_alive = False
            return
        self._held += data
        self._table.held += len(data)
        self._stop_reading()

    def _drop_held(self) -> None:
        self._table.held -= len(self._held)
        self._held = b""

    def _forget_input(self) -> None:
        self._drop_held()
        self._table.unfinished -= len(self._partial)
        self._partial = bytearray()

    def _stop_reading(self) -> None:
        if self._reading and not self.transport.is_closing():
            self._reading = False
            self.transport.pause_reading()

    # closing

    def _refuse(self, status: int, *, reason: str) -> None:
        """Answer an unreadable request, unless an answer has begun, and close."""
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
        """Close the write side and read on for a while: a sender that is cut off cannot read its answer.

        RFC 9112, 9.6: closing at once resets the connection, and the reset may overtake the answer. A server that
        stops has no time for this.
        """
        if self._stopping:
            self._close()
            return
        self._forget_input()
        self._table.leave_groups(self)
        self._table.without_head[self] = None
        self._state = _CLOSING
        self._since = self._loop.time()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.resume_reading()

    def _close(self) -> None:
        self._forget_input()
        self._table.leave_groups(self)
        self._table.without_head[self] = None  # it may last: what was written has to be read first
        self._state = _CLOSING
        self._since = self._loop.time()
        self.transport.close()

    def _drain(self, data: bytes) -> None:
        self._drained += len(data)
        if self._drained > MAX_DRAIN_BYTES:
            self.transport.abort()


def _is_readable(transport: asyncio.Transport) -> bool:
    """Whether bytes, or the sender's end, wait in the kernel."""
    poll = select.poll()
    poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
    return bool(poll.poll(0))


def _address(name: Any) -> tuple[str, int] | None:
    """Host and port of a socket's name; None for a socket that has none."""
    return (str(name[0]), int(name[1])) if isinstance(name, tuple) else None
