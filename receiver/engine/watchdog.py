"""Detects a handler that blocks the handlers' event loop, and names it.

While handlers run, a thread schedules a callback on the loop. If the callback is not called in time, the current task
blocks the loop, and its stack shows where.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import structlog

from receiver.engine import runner
from receiver.engine.runner import TASK_PREFIX, HandlerLoop
from receiver.metrics import Metrics

log = structlog.get_logger("receiver.handlers")

PATIENCE_SECONDS = 0.5
"""A loop that does not call back for this long counts as blocked."""

_LOOPS_OWN = (str(Path(asyncio.__file__).parent), runner.__file__)
"""Files whose frames surround a handler's."""


class LoopWatchdog:
    """Watches one handler loop.

    Attributes:
        blocked: which handler blocks the loop, and where, in a sentence; None while it runs.

    Args:
        busy: whether any handler runs; the loop is checked only then.
    """

    def __init__(
        self, handlers: HandlerLoop, metrics: Metrics, busy: Callable[[], bool], patience: float = PATIENCE_SECONDS
    ) -> None:
        self._handlers = handlers
        self._metrics = metrics
        self._busy = busy
        self._patience = patience
        self.blocked: str | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="handlers-watchdog", daemon=True)

    def start(self) -> None:
        """Start watching."""
        self._thread.start()

    def stop(self) -> None:
        """Stop watching."""
        self._stopping.set()
        self._thread.join(self._patience * 2)

    def find_blocker(self) -> str | None:
        """The `run_key` of the run that blocks the loop; None while it runs, or if unknown."""
        return None if self.blocked is None else self._handlers.find_current_run()

    def _run(self) -> None:
        while not self._stopping.wait(self._patience / 2):
            if self._busy():
                self._check()

    def _check(self) -> None:
        alive = threading.Event()
        self._handlers.loop.call_soon_threadsafe(alive.set)
        if alive.wait(self._patience) or self._stopping.is_set():
            return
        name, where = self._locate_blocker()
        self.blocked = (
            f"The handler {name} blocks the handlers' event loop, at {where}: no run starts until it returns."
        )
        self._metrics.blocked.labels(name).inc()
        log.warning(
            "handler.blocks_loop",
            handler=name,
            where=where,
            blocked_seconds=self._patience,
            hint="await instead, or make it a plain function: those run in threads",
        )
        while not alive.wait(self._patience):  # one warning for each time it blocks
            if self._stopping.is_set():
                return
        self.blocked = None

    def _locate_blocker(self) -> tuple[str, str]:
        task = asyncio.current_task(self._handlers.loop)
        named = task.get_name() if task is not None else ""
        # The handler named the task itself: any text, which must not become a label of a metric.
        name = named.removeprefix(TASK_PREFIX) if named.startswith(TASK_PREFIX) else "unknown"
        thread = self._handlers.thread_id
        frame = sys._current_frames().get(thread) if thread is not None else None  # noqa: SLF001 - documented
        return name, _location(frame)


def _location(frame: FrameType | None) -> str:
    """The line of the handler's own code; the innermost frame may be deep in a library."""
    if frame is None:
        return "unknown"
    found, at = frame, frame.f_back
    while at is not None and not at.f_code.co_filename.startswith(_LOOPS_OWN):
        found, at = at, at.f_back
    return f"{found.f_code.co_filename}:{found.f_lineno} in {found.f_code.co_name}"
