"""Read requests' bodies while they stream, under limits: the size and the time of each, and the bytes of all."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from starlette.types import Receive, Scope

from receiver.web.http.exchange import WHOLE_REQUEST, WholeRequest

SMALL_BYTES = 64 * 1024
"""A delivery is smaller; bodies up to this size have a budget of their own."""
ALL_SMALL_BYTES = 16 * 1024 * 1024
"""What all unfinished small bodies together may hold."""
ALL_LARGE_BYTES = 32 * 1024 * 1024
"""What all other unfinished bodies together may hold, or four of the largest that is allowed."""

_NONE: Mapping[str, Any] = {}


class BodyRefused(Exception):
    """The body was not taken.

    Attributes:
        status: the HTTP status to answer; None when the sender is gone and nobody reads an answer.
        outcome: the metric's label.
    """

    def __init__(self, status: int | None, outcome: str) -> None:
        super().__init__(outcome)
        self.status = status
        self.outcome = outcome


class _Budget:
    """What bodies of one kind may hold together, and what they hold now, in bytes."""

    __slots__ = ("held", "max_bytes")

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.held = 0


class _Unfinished:
    """A body that is being read: since when (the loop's time), its bytes so far, and why it was cut off."""

    __slots__ = ("began", "budget", "bytes", "cut")

    def __init__(self, began: float, budget: _Budget) -> None:
        self.began = began
        self.bytes = 0
        self.budget = budget
        self.cut: BodyRefused | None = None

    def resize(self, size: int, budget: _Budget) -> None:
        """Set its bytes so far, counted in this budget."""
        self.budget.held -= self.bytes
        budget.held += size
        self.bytes, self.budget = size, budget


class Bodies:
    """All unfinished bodies of one application: the time limit of each, and the memory limit of all.

    They are not verified yet, so anybody can send them. Bodies of up to `SMALL_BYTES`, as deliveries are, have a budget
    of their own: larger ones cannot use it. When a budget is exceeded the largest and slowest body is cut off, by its
    bytes times its age: an honest delivery comes within moments.

    One timer serves all: a timer for each would cost more than reading the body.

    Args:
        seconds: how long a sender may take; enforced to within a quarter of it.
        max_bytes: how large one body may be; four of these have room in any case.
    """

    def __init__(self, seconds: float, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._seconds = seconds
        self._small = _Budget(ALL_SMALL_BYTES)
        self._large = _Budget(max(ALL_LARGE_BYTES, 4 * max_bytes))
        self._loop: asyncio.AbstractEventLoop | None = None
        self._unfinished: dict[asyncio.Task[object], _Unfinished] = {}
        self._ticking = False

    @property
    def held(self) -> int:
        """Bytes of all unfinished bodies."""
        return self._small.held + self._large.held

    def enter(self) -> asyncio.Task[object]:
        """The running task begins to read."""
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        if task is None:
            raise RuntimeError("A body is read in a task.")
        self._unfinished[task] = _Unfinished(loop.time(), self._small)
        if not self._ticking:
            self._ticking = True
            loop.call_later(self._seconds / 4, self._tick, loop)
        return task

    def grow(self, task: asyncio.Task[object], size: int) -> None:
        """The running task's body is not whole, and has so many bytes now; others may be cut off for it.

        Raises:
            BodyRefused: it is cut off for others.
        """
        budget = self._small if size <= SMALL_BYTES else self._large
        self._unfinished[task].resize(size, budget)
        while budget.held > budget.max_bytes:
            victim = self._heaviest(budget)
            if victim is task:  # a task that cancels itself stops only at its next wait: after this body
                raise BodyRefused(503, "no_room")
            self._cut(victim, BodyRefused(503, "no_room"))

    def leave(self, task: asyncio.Task[object]) -> BodyRefused | None:
        """The task has ended reading; why it was cut off, if it was."""
        body = self._unfinished.pop(task)
        body.budget.held -= body.bytes
        if body.cut is not None:
            task.uncancel()
        return body.cut

    def _heaviest(self, budget: _Budget) -> asyncio.Task[object]:
        now = self._loop.time() if self._loop is not None else 0.0
        alike = [(task, body) for task, body in self._unfinished.items() if body.budget is budget and body.cut is None]
        return max(alike, key=lambda pair: pair[1].bytes * (now - pair[1].began + 0.001))[0]

    def _cut(self, task: asyncio.Task[object], why: BodyRefused) -> None:
        body = self._unfinished[task]
        body.resize(0, body.budget)
        body.cut = why
        task.cancel()

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        limit = loop.time() - self._seconds
        for task, body in self._unfinished.items():
            if body.began <= limit and body.cut is None:
                self._cut(task, BodyRefused(408, "too_slow"))
        self._ticking = bool(self._unfinished)
        if self._ticking:
            loop.call_later(self._seconds / 4, self._tick, loop)


def whole_request(scope: Scope) -> WholeRequest | None:
    """The short way to a request that has come to its end, where the server has one."""
    found: WholeRequest | None = scope.get("extensions", _NONE).get(WHOLE_REQUEST)
    return found


async def read_body(scope: Scope, receive: Receive, bodies: Bodies) -> bytes:
    """The whole body.

    A body of more than `bodies.max_bytes` is refused, by the announced length or as soon as it has come.

    Raises:
        BodyRefused: 413, 408, 503 where there is no room for all unfinished bodies, or the sender went away.
    """
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and int(value[:20]) > bodies.max_bytes:
            raise BodyRefused(413, "too_large")
    whole = whole_request(scope)
    if whole is not None:  # never unfinished: it needs no time limit, and no room among those
        body = whole.take_body()
        if body is None:
            raise BodyRefused(None, "sender_gone")
        if len(body) > bodies.max_bytes:
            raise BodyRefused(413, "too_large")
        return body
    task = bodies.enter()
    cancelled = False
    try:
        return await _read(receive, bodies, task)
    except asyncio.CancelledError:
        cancelled = True
        raise
    finally:
        cut = bodies.leave(task)
        try:
            if cut is not None and cancelled:
                raise cut from None
        finally:
            del cut  # an error and a frame that hold each other would keep the body until the collector comes


async def _read(receive: Receive, bodies: Bodies, task: asyncio.Task[object]) -> bytes:
    pieces: list[bytes] = []
    size = 0
    try:
        while True:
            message = await receive()
            if message["type"] != "http.request":
                raise BodyRefused(None, "sender_gone")
            piece: bytes = message.get("body", b"")
            size += len(piece)
            if size > bodies.max_bytes:
                raise BodyRefused(413, "too_large")
            if not message.get("more_body", False):
                return b"".join((*pieces, piece)) if pieces else piece
            pieces.append(piece)
            bodies.grow(task, size)
    finally:
        pieces.clear()  # a refusal's traceback holds this frame
