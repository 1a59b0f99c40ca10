"""Read a request's body under a size limit and a time limit, while it streams."""

from __future__ import annotations

import asyncio

from starlette.types import Receive, Scope


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


class Deadline:
    """One timer for all bodies on their way: a timer for each would cost more than reading the body.

    Args:
        seconds: how long a sender may take; enforced to within a quarter of it.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._loop: asyncio.AbstractEventLoop | None = None
        self._began: dict[asyncio.Task[object], float] = {}
        self._late: set[asyncio.Task[object]] = set()
        self._ticking = False

    def enter(self) -> asyncio.Task[object]:
        """The running task begins to read."""
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        if task is None:
            raise RuntimeError("A body is read in a task.")
        self._began[task] = loop.time()
        if not self._ticking:
            self._ticking = True
            loop.call_later(self._seconds / 4, self._tick, loop)
        return task

    def leave(self, task: asyncio.Task[object]) -> bool:
        """The task has ended reading; whether it was cancelled for being late."""
        del self._began[task]
        if task not in self._late:
            return False
        self._late.remove(task)
        task.uncancel()
        return True

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        limit = loop.time() - self._seconds
        for task, began in self._began.items():
            if began <= limit and task not in self._late:
                self._late.add(task)
                task.cancel()
        self._ticking = bool(self._began)
        if self._ticking:
            loop.call_later(self._seconds / 4, self._tick, loop)


async def read_body(scope: Scope, receive: Receive, max_bytes: int, deadline: Deadline) -> bytes:
    """The whole body.

    Args:
        max_bytes: more than this is refused, by the announced length or as soon as it has come.
        deadline: cuts off senders that take too long.

    Raises:
        BodyRefused: 413, 408, or the sender went away.
    """
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and int(value[:20]) > max_bytes:
            raise BodyRefused(413, "too_large")
    task = deadline.enter()
    late = False
    try:
        return await _read(receive, max_bytes)
    except asyncio.CancelledError:
        late = True
        raise
    finally:
        if deadline.leave(task) and late:
            raise BodyRefused(408, "too_slow") from None


async def _read(receive: Receive, max_bytes: int) -> bytes:
    pieces: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise BodyRefused(None, "sender_gone")
        piece: bytes = message.get("body", b"")
        size += len(piece)
        if size > max_bytes:
            raise BodyRefused(413, "too_large")
        if not message.get("more_body", False):
            return b"".join((*pieces, piece)) if pieces else piece
        pieces.append(piece)
