"""All connections of one listener: their number, which one to close when there are too many, and their time limits."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol

import structlog

from receiver.metrics import Metrics
from receiver.web.http.limits import LINGER_SECONDS, MAX_PARTIAL_BYTES, Limits

log = structlog.get_logger("receiver.listener")

PIPELINED_PER_ROUND = 8
"""Pipelined requests that begin in one iteration of the event loop, of all connections together."""
LOG_INTERVAL_SECONDS = 60.0
"""A reason is logged at most once in this time; the metric counts every connection."""


class ManagedConnection(Protocol):
    """The part of a connection that the table uses."""

    @property
    def partial_bytes(self) -> int:
        """Bytes of a head that has not ended."""

    @property
    def awaits_request(self) -> bool:
        """Whether its next request, or the rest of that request's head, has still to come."""

    def close_after_answer(self) -> None:
        """Announce its end in the current answer, unless that has begun."""

    def close_if_idle(self) -> None:
        """Close it unless it has a request, read or unread."""

    def check(self, now: float) -> None:
        """Close it if it took too long; `now` is the loop's time."""

    def cut(self, *, reason: str) -> None:
        """Close it at once, for this reason."""


class ConnectionTable:
    """The connections of one listener.

    A connection that waits for its sender is in one of the groups `awaiting_head`, `idle` or `awaiting_body`, and in
    none while the application works on its request. If its sender does not read its answers it is in `stalled`, too. A
    group is a dictionary used as an ordered set, the longest waiting first.

    Attributes:
        partial_bytes: bytes of heads that have not ended.
        pipelined_bytes: bytes of requests sent before the answer to the one before them.
        draining: whether each connection ends with its next answer.
        linger_until: the loop's time until which a listener that stops keeps idle connections open.

    Args:
        listener: the metric's label and the log's field.
    """

    def __init__(self, listener: str, limits: Limits, metrics: Metrics) -> None:
        self.limits = limits
        self.partial_bytes = 0
        self.pipelined_bytes = 0
        self.draining = False
        self.linger_until = 0.0
        self._listener = listener
        self._metrics = metrics
        self._open: dict[ManagedConnection, None] = {}
        self.awaiting_head: dict[ManagedConnection, None] = {}
        self.idle: dict[ManagedConnection, None] = {}
        self.stalled: dict[ManagedConnection, None] = {}
        self.awaiting_body: dict[ManagedConnection, None] = {}
        self._pipelined: deque[Callable[[], None]] = deque()
        self._logged: dict[str, tuple[float, int]] = {}
        self._ticking = False
        self._tick_seconds = min(1.0, limits.head_seconds / 4, limits.idle_seconds / 4)
        metrics.connections.labels(listener).set(0)

    def add(self, connection: ManagedConnection, loop: asyncio.AbstractEventLoop) -> None:
        """Add a connection. If there are too many now, close the one that has waited longest for its sender.

        First those that never sent a complete head, then those that wait for their next request, those whose answers
        are not read, those that wait for a body; last the new one itself.
        """
        self._open[connection] = None
        self.awaiting_head[connection] = None
        self._metrics.connections.labels(self._listener).set(len(self._open))
        if len(self._open) > self.limits.connections:
            victim = self._longest_waiting(connection)
            self.count_cut(reason="connection_limit", open=len(self._open), hint="see server.max_connections")
            victim.cut(reason="connection_limit")
        if not self._ticking:
            self._ticking = True
            loop.call_later(self._tick_seconds, self._tick, loop)

    def drain(self, now: float) -> None:
        """Announce the end of each connection in its next answer, and leave idle ones open for a while.

        A client that keeps a connection, such as a proxy, may send its next request at any moment; it loses that
        request if the connection is closed under it. A client that gets `Connection: close` opens another.
        """
        self.draining = True
        self.linger_until = now + LINGER_SECONDS
        for connection in self._open:
            connection.close_after_answer()

    def close_idle(self) -> None:
        """Close the connections that are without a request."""
        for connection in list(self.idle):
            connection.close_if_idle()

    @property
    def awaits_requests(self) -> bool:
        """Whether there is a connection whose first request, or the rest of one's head, has still to come."""
        return any(connection.awaits_request for connection in self.awaiting_head)

    def remove(self, connection: ManagedConnection) -> None:
        """A connection has ended."""
        self.leave_groups(connection)
        if connection in self._open:
            del self._open[connection]
            self._metrics.connections.labels(self._listener).set(len(self._open))

    def leave_groups(self, connection: ManagedConnection) -> None:
        """The connection no longer waits for its sender."""
        self.awaiting_head.pop(connection, None)
        self.idle.pop(connection, None)
        self.awaiting_body.pop(connection, None)
        self.stalled.pop(connection, None)

    def queue(self, begin: Callable[[], None], loop: asyncio.AbstractEventLoop) -> None:
        """Queue the beginning of a pipelined request.

        A few begin in each iteration of the event loop. Connections are accepted one an iteration, and a client that
        sends one request at a time must not wait for thousands of pipelined ones.
        """
        if not self._pipelined:
            loop.call_soon(self._begin_pipelined, loop)
        self._pipelined.append(begin)

    def _begin_pipelined(self, loop: asyncio.AbstractEventLoop) -> None:
        for _ in range(min(PIPELINED_PER_ROUND, len(self._pipelined))):
            self._pipelined.popleft()()
        if self._pipelined:
            loop.call_soon(self._begin_pipelined, loop)

    def make_room(self) -> None:
        """Close the connections with the longest partial heads until all of them together are within the limit."""
        while self.partial_bytes > MAX_PARTIAL_BYTES:
            victim = max(self.awaiting_head, key=lambda connection: connection.partial_bytes)
            self.count_cut(reason="memory_limit", bytes=self.partial_bytes)
            victim.cut(reason="memory_limit")

    def count_cut(self, *, reason: str, **fields: object) -> None:
        """Count a connection that was cut or refused, and log it unless the same reason was logged just before."""
        self._metrics.connections_cut.labels(self._listener, reason).inc()
        now = asyncio.get_running_loop().time()
        at, unlogged = self._logged.get(reason, (-LOG_INTERVAL_SECONDS, 0))
        if now - at < LOG_INTERVAL_SECONDS:
            self._logged[reason] = (at, unlogged + 1)
            return
        self._logged[reason] = (now, 0)
        log.warning("connection.cut", listener=self._listener, reason=reason, not_logged=unlogged, **fields)

    def _longest_waiting(self, new: ManagedConnection) -> ManagedConnection:
        for group in (self.awaiting_head, self.idle, self.stalled, self.awaiting_body):
            for connection in group:
                if connection is not new:
                    return connection
        return new

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for connection in list(self._open):
            connection.check(now)
        self._ticking = bool(self._open)
        if self._ticking:
            loop.call_later(self._tick_seconds, self._tick, loop)
