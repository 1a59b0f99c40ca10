"""A connection apart from its requests: flow control, time limits, closing.

None of these methods is called for a request that is read at once and answered in time.

Facts of the wire: RFC 9112, 9.6: how a connection is closed so that the sender can read its answer.
"""

from __future__ import annotations

import asyncio
import select
from enum import Enum

from receiver.web.http.connections import ConnectionTable
from receiver.web.http.exchange import STATUS_LINES, Exchange
from receiver.web.http.limits import DRAIN_SECONDS, MAX_DRAIN_BYTES


class State(Enum):
    """The meaning of a connection's next bytes."""

    HEAD = "of a request's head"
    BODY = "of a request's body"
    ANSWERING = "of the next request, once this one is answered"
    CLOSING = "discarded"


# As module globals: an enumeration looks up its members at each use, and each request uses ten.
HEAD, BODY, ANSWERING, CLOSING = State


class BaseConnection(asyncio.Protocol):
    """A connection's state, and the operations on the connection as a whole.

    Attributes:
        stalled: whether the sender does not read what was written.

    Args:
        table: all connections of this listener.
    """

    transport: asyncio.Transport

    def __init__(self, loop: asyncio.AbstractEventLoop, table: ConnectionTable) -> None:
        self.stalled = False
        self._loop = loop
        self._table = table
        self._client: tuple[str, int] | None = None
        self._state = HEAD
        self._since = 0.0
        self._idle = False
        self._exchange: Exchange | None = None
        self._partial = bytearray()
        self._pipelined = b""
        self._drained = 0
        self._reading = True
        self._stopping = False
        self._stalled_since = 0.0
        self._writable: asyncio.Event | None = None

    @property
    def partial_bytes(self) -> int:
        """Bytes of a head that has not ended."""
        return len(self._partial)

    @property
    def awaits_request(self) -> bool:
        """Whether its next request, or the rest of that request's head, has still to come."""
        return self._state is HEAD

    # flow control

    def pause_writing(self) -> None:
        """The sender does not read what was written."""
        self.stalled = True
        self._stalled_since = self._loop.time()
        self._table.stalled[self] = None
        if self._writable is None:
            self._writable = asyncio.Event()
        self._writable.clear()

    def resume_writing(self) -> None:
        """The sender has read enough."""
        self.stalled = False
        self._table.stalled.pop(self, None)
        if self._writable is not None:
            self._writable.set()

    async def writable(self) -> None:
        """Wait until the sender has read enough of what was written."""
        if self._writable is not None:
            await self._writable.wait()

    def resume_reading(self) -> None:
        """Continue reading, if it was stopped."""
        if not self._reading and not self.transport.is_closing():
            self._reading = True
            self.transport.resume_reading()

    def _stop_reading(self) -> None:
        if self._reading and not self.transport.is_closing():
            self._reading = False
            self.transport.pause_reading()

    # called by the server and by the table

    def shutdown(self) -> None:
        """The server stops: the current request is answered, no further one is read."""
        self._stopping = True
        if self._exchange is None:
            self.transport.close()
        else:
            self._exchange.keep_alive = False
            self._drop_pipelined()

    def close_after_answer(self) -> None:
        """Announce the connection's end in the current answer, unless that has begun."""
        if self._exchange is not None and not self._exchange.started:
            self._exchange.keep_alive = False

    def close_if_idle(self) -> None:
        """Close the connection unless it has a request, read or unread."""
        if self._idle and not (self._pipelined or self.transport.is_closing() or _is_readable(self.transport)):
            self.transport.close()

    def check(self, now: float) -> None:
        """Close the connection if it took too long; `now` is the loop's time."""
        limits = self._table.limits
        if self.stalled and now - self._stalled_since > limits.idle_seconds:
            self.cut(reason="reader_stalled")
        elif self._state is CLOSING:
            if now - self._since > DRAIN_SECONDS:
                self.transport.abort()
        elif self._state is HEAD:
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
            self._table.count_cut(reason=reason, client=self._client and self._client[0])
        self._drop_input()
        self._table.remove(self)
        self._state = CLOSING
        if self._exchange is not None:
            self._exchange.disconnect()
        self.transport.abort()

    # closing

    def abort(self) -> None:
        """End the connection in the middle of a response."""
        self.transport.abort()

    def _refuse(self, status: int, *, reason: str) -> None:
        """Answer an unreadable request, unless an answer has begun, and close."""
        self._table.count_cut(reason=reason, client=self._client and self._client[0])
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.disconnect()
            if exchange.started:
                self.abort()
                return
        body = b'{"error":"%b"}' % reason.encode()
        head = b"%bcontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
        self.transport.write(head % (STATUS_LINES[status], len(body)) + body)
        self._close_gracefully()

    def _close_gracefully(self) -> None:
        """Close the write side and read on for a while: a sender that is cut off cannot read its answer.

        RFC 9112, 9.6: closing at once resets the connection, and the reset may overtake the answer. A server that
        stops has no time for this.
        """
        if self._stopping:
            self._close()
            return
        self._begin_closing()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.resume_reading()

    def _close(self) -> None:
        self._begin_closing()
        self.transport.close()

    def _begin_closing(self) -> None:
        self._drop_input()
        self._table.leave_groups(self)
        self._table.awaiting_head[self] = None  # it may last: what was written has to be read first
        self._state = CLOSING
        self._since = self._loop.time()

    def _drain(self, data: bytes) -> None:
        self._drained += len(data)
        if self._drained > MAX_DRAIN_BYTES:
            self.transport.abort()

    def _drop_pipelined(self) -> None:
        self._table.pipelined_bytes -= len(self._pipelined)
        self._pipelined = b""

    def _drop_input(self) -> None:
        self._drop_pipelined()
        self._table.partial_bytes -= len(self._partial)
        self._partial = bytearray()


def _is_readable(transport: asyncio.Transport) -> bool:
    """Whether bytes, or the sender's end, wait in the kernel."""
    poll = select.poll()
    poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
    return bool(poll.poll(0))
