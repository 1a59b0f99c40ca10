"""Reads the bodies of requests within limits: the size and the time of each, and the bytes of all together."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from starlette.types import Receive, Scope

from receiver.web.http.exchange import WHOLE_REQUEST, WholeRequest

MAX_SMALL_BODY_BYTES = 64 * 1024
"""Larger than any delivery; bodies up to this size have a budget of their own."""
MAX_SMALL_BODIES_BYTES = 16 * 1024 * 1024
"""Bytes of all unfinished small bodies together."""
MAX_LARGE_BODIES_BYTES = 32 * 1024 * 1024
"""Bytes of all other unfinished bodies together; at least four of the largest that is allowed."""

_NONE: Mapping[str, Any] = {}


class BodyRefused(Exception):
    """The body was not read.

    Attributes:
        status: the HTTP status to answer; None if the sender has disconnected.
        outcome: the metric's label.
    """

    def __init__(self, status: int | None, outcome: str) -> None:
        super().__init__(outcome)
        self.status = status
        self.outcome = outcome


class _Budget:
    """The bytes that bodies of one kind may hold together, and those that they hold now."""

    __slots__ = ("held", "max_bytes")

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.held = 0


class _UnfinishedBody:
    """A body that is being read: since when (the loop's time), its bytes so far, and why it was cut off if it was."""

    __slots__ = ("began", "budget", "bytes", "cut")

    def __init__(self, began: float, budget: _Budget) -> None:
        self.began = began
        self.bytes = 0
        self.budget = budget
        self.cut: BodyRefused | None = None

    def resize(self, size: int, budget: _Budget) -> None:
        """Set its bytes so far, and count them in this budget."""
        self.budget.held -= self.bytes
        budget.held += size
        self.bytes, self.budget = size, budget


class BodyLimits:
    """All unfinished bodies of one application: the time limit of each, and the memory limit of all.

    They are not verified yet, so anybody can send them. Bodies of up to `MAX_SMALL_BODY_BYTES`, such as deliveries,
    have a budget of their own, which larger ones cannot use. When a budget is exceeded the body with the largest
    product of bytes and age is cut off: an honest delivery is complete within moments.

    One timer serves all: a timer for each would cost more than reading the body.

    Args:
        seconds: how long a sender may take; enforced to within a quarter of it.
        max_bytes: how large one body may be; there is always room for four of these.
    """

    def __init__(self, seconds: float, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._seconds = seconds
        self._small = _Budget(MAX_SMALL_BODIES_BYTES)
        self._large = _Budget(max(MAX_LARGE_BODIES_BYTES, 4 * max_bytes))
        self._loop: asyncio.AbstractEventLoop | None = None
        self._unfinished: dict[asyncio.Task[object], _UnfinishedBody] = {}
        self._ticking = False

    @property
    def held(self) -> int:
        """Bytes of all unfinished bodies."""
        return self._small.held + self._large.held

    def enter(self) -> asyncio.Task[object]:
        """Register the running task, which begins to read."""
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        if task is None:
            raise RuntimeError("A body must be read in a task.")
        self._unfinished[task] = _UnfinishedBody(loop.time(), self._small)
        if not self._ticking:
            self._ticking = True
            loop.call_later(self._seconds / 4, self._tick, loop)
        return task

    def grow(self, task: asyncio.Task[object], size: int) -> None:
        """The running task's body has this many bytes now, and is not complete; others may be cut off for it.

        Raises:
            BodyRefused: this one is cut off.
        """
        budget = self._small if size <= MAX_SMALL_BODY_BYTES else self._large
        self._unfinished[task].resize(size, budget)
        while budget.held > budget.max_bytes:
            victim = self._heaviest(budget)
            if victim is task:  # a task that cancels itself stops only at its next wait, after this body
                raise BodyRefused(503, "no_room")
            self._cut(victim, BodyRefused(503, "no_room"))

    def leave(self, task: asyncio.Task[object]) -> BodyRefused | None:
        """Unregister the task; why its body was cut off, if it was."""
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
    """The shortcut to a request that was complete when the application was called, if the server offers it."""
    found: WholeRequest | None = scope.get("extensions", _NONE).get(WHOLE_REQUEST)
    return found


async def read_body(scope: Scope, receive: Receive, limits: BodyLimits) -> bytes:
    """The whole body.

    A body of more than `limits.max_bytes` is refused, by its announced length or once it has that many bytes.

    Raises:
        BodyRefused: 413, 408, 503 if there is no room for all unfinished bodies, or the sender disconnected.
    """
    whole = whole_request(scope)
    if whole is not None:  # never unfinished: no time limit, no budget, and no announced length that matters
        body = whole.take_body()
        if body is None:
            raise BodyRefused(None, "sender_gone")
        if len(body) > limits.max_bytes:
            raise BodyRefused(413, "too_large")
        return body
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and int(value[:20]) > limits.max_bytes:
            raise BodyRefused(413, "too_large")
    task = limits.enter()
    cancelled = False
    try:
        return await _read(receive, limits, task)
    except asyncio.CancelledError:
        cancelled = True
        raise
    finally:
        cut = limits.leave(task)
        try:
            if cut is not None and cancelled:
                raise cut from None
        finally:
            del cut  # a cycle of error and frame would keep the body in memory until the collector runs


async def _read(receive: Receive, limits: BodyLimits, task: asyncio.Task[object]) -> bytes:
    pieces: list[bytes] = []
    size = 0
    try:
        while True:
            message = await receive()
            if message["type"] != "http.request":
                raise BodyRefused(None, "sender_gone")
            piece: bytes = message.get("body", b"")
            size += len(piece)
            if size > limits.max_bytes:
                raise BodyRefused(413, "too_large")
            if not message.get("more_body", False):
                return b"".join((*pieces, piece)) if pieces else piece
            pieces.append(piece)
            limits.grow(task, size)
    finally:
        pieces.clear()  # a refusal's traceback holds this frame
