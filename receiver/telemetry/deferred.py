"""Calls that nothing waits for, made while the processor would be idle otherwise: counters and log lines of runs.

All threads share the interpreter's lock, so whatever is counted or logged while runs could start delays them. While a
transaction is being committed, the writer's thread waits for the disk and nothing else is ready (docs/adr/0057).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import structlog

log = structlog.get_logger("receiver.dispatch")

MAX_SECONDS = 0.02
"""How long a call is deferred at most."""


class DeferredCalls:
    """Calls to be made by `run`, in the order in which they were added. For one event loop's thread."""

    def __init__(self) -> None:
        self._calls: list[Callable[[], None]] = []
        self._timer: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> bool:
        """Whether there are calls that have not been made."""
        return bool(self._calls)

    def add(self, function: Callable[..., None], *args: Any) -> None:
        """Call `function(*args)` at the next `run`, or after `MAX_SECONDS` without one."""
        self._calls.append(partial(function, *args))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(MAX_SECONDS, self.run)

    def run(self) -> None:
        """Make all calls. One that raises is logged, and the others are made."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        calls, self._calls = self._calls, []
        for call in calls:
            try:
                call()
            except Exception:
                log.exception("dispatch.broken")
