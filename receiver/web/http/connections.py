"""All connections of one listener: their number, which to close when there are too many, and their time limits."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Protocol

import structlog

from receiver.metrics import Metrics
from receiver.web.http.limits import LINGER_SECONDS, MAX_UNFINISHED_BYTES, Limits

log = structlog.get_logger("receiver.listener")

AHEAD_PER_ROUND = 8
"""Requests sent ahead of their answers that are begun in one of the loop's rounds, of all connections together."""
LOG_INTERVAL_SECONDS = 60.0
"""A cause is logged at most once in this time; the metric counts every connection."""


class Member(Protocol):
    """A connection, as the table of all of them sees it.

    Attributes:
        unfinished: bytes of a head that has not ended.
    """

    @property
    def unfinished(self) -> int:
        """How much of a head has come, in bytes."""

    @property
    def awaits_request(self) -> bool:
        """Whether its next request, or the rest of that request's head, has still to come."""

    def end_with_answer(self) -> None:
        """Announce its end in the answer to the current request, if that answer has not begun."""

    def close_if_idle(self) -> None:
        """Close it unless a request is there already, or is being answered."""

    def check(self, now: float) -> None:
        """Close it if it took too long; `now` is the loop's time."""

    def cut(self, *, reason: str) -> None:
        """Close it at once, for this reason."""

    def read_held(self) -> None:
        """Begin the next of the requests that were sent ahead."""


class ConnectionTable:
    """The connections of one listener.

    Each is in one of the groups of those that wait for their sender, or in none while the application works on its
    request. Whose sender does not read its answers is in `unread`, too. Each group has the longest waiting first. A
    dictionary is a set that keeps its order.

    Attributes:
        unfinished: bytes of heads that have not ended.
        held: bytes of requests that were sent ahead of their answers.
        draining: whether each connection ends with its next answer.
        linger_until: the loop's time until which a listener that stops keeps idle connections open.

    Args:
        listener: the metric's label and the log's field.
    """

    def __init__(self, listener: str, limits: Limits, metrics: Metrics) -> None:
        self.limits = limits
        self.unfinished = 0
        self.held = 0
        self.draining = False
        self.linger_until = 0.0
        self._listener = listener
        self._metrics = metrics
        self._open: dict[Member, None] = {}
        self.without_head: dict[Member, None] = {}
        self.idle: dict[Member, None] = {}
        self.unread: dict[Member, None] = {}
        self.without_body: dict[Member, None] = {}
        self._ahead: deque[Member] = deque()
        self._noted: dict[str, tuple[float, int]] = {}
        self._ticking = False
        self._tick_seconds = min(1.0, limits.head_seconds / 4, limits.idle_seconds / 4)
        metrics.connections.labels(listener).set(0)

    def add(self, member: Member, loop: asyncio.AbstractEventLoop) -> None:
        """Add a connection. If there are too many now, close the one that waits longest for its sender.

        The order: connections that never sent a whole head, those that wait for their next request, those whose
        answers are not read, those that wait for a body; last the new one itself.
        """
        self._open[member] = None
        self.without_head[member] = None
        self._metrics.connections.labels(self._listener).set(len(self._open))
        if len(self._open) > self.limits.connections:
            victim = self._longest_waiting(member)
            self.note(reason="connection_limit", open=len(self._open), hint="see server.max_connections")
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
        for member in self._open:
            member.end_with_answer()

    def close_idle(self) -> None:
        """Close the connections that are without a request."""
        for member in list(self.idle):
            member.close_if_idle()

    @property
    def awaits_requests(self) -> bool:
        """Whether there is a connection whose first request, or the rest of one's head, has still to come."""
        return any(member.awaits_request for member in self.without_head)

    def remove(self, member: Member) -> None:
        """A connection has ended."""
        self.leave_groups(member)
        if member in self._open:
            del self._open[member]
            self._metrics.connections.labels(self._listener).set(len(self._open))

    def leave_groups(self, member: Member) -> None:
        """The connection no longer waits for its sender."""
        self.without_head.pop(member, None)
        self.idle.pop(member, None)
        self.without_body.pop(member, None)
        self.unread.pop(member, None)

    def queue(self, member: Member, loop: asyncio.AbstractEventLoop) -> None:
        """Queue a connection whose next request was sent ahead.

        A few begin in each of the loop's rounds: connections are accepted one a round, and a client that sends one
        request at a time must not wait for thousands of those.
        """
        if not self._ahead:
            loop.call_soon(self._begin_ahead, loop)
        self._ahead.append(member)

    def _begin_ahead(self, loop: asyncio.AbstractEventLoop) -> None:
        for _ in range(min(AHEAD_PER_ROUND, len(self._ahead))):
            self._ahead.popleft().read_held()
        if self._ahead:
            loop.call_soon(self._begin_ahead, loop)

    def make_room(self) -> None:
        """Close the connections with the longest unfinished heads until all of them together fit again."""
        while self.unfinished > MAX_UNFINISHED_BYTES:
            victim = max(self.without_head, key=lambda member: member.unfinished)
            self.note(reason="memory_limit", bytes=self.unfinished)
            victim.cut(reason="memory_limit")

    def note(self, *, reason: str, **fields: object) -> None:
        """Count a connection that was cut or refused, and log it unless the same was logged a moment ago."""
        self._metrics.connections_cut.labels(self._listener, reason).inc()
        now = asyncio.get_running_loop().time()
        at, unlogged = self._noted.get(reason, (-LOG_INTERVAL_SECONDS, 0))
        if now - at < LOG_INTERVAL_SECONDS:
            self._noted[reason] = (at, unlogged + 1)
            return
        self._noted[reason] = (now, 0)
        log.warning("connection.cut", listener=self._listener, reason=reason, not_logged=unlogged, **fields)

    def _longest_waiting(self, other: Member) -> Member:
        for group in (self.without_head, self.idle, self.unread, self.without_body):
            for member in group:
                if member is not other:
                    return member
        return other

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for member in list(self._open):
            member.check(now)
        self._ticking = bool(self._open)
        if self._ticking:
            loop.call_later(self._tick_seconds, self._tick, loop)
