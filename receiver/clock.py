"""The clock: every part that needs the time or waits gets it as an argument, so that tests do not sleep.

`now` is wall-clock time, for times that are stored or compared with those of other machines; the clock may be set back
or forward. `monotonic` measures durations in this process; it never steps.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Protocol


class Clock(Protocol):
    """Tells the time and waits."""

    def now(self) -> float:
        """Unix seconds."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary moment; never steps, even if `now` does."""

    async def wait(self, wake: asyncio.Event, seconds: float) -> None:
        """Return when `wake` is set or after `seconds`, whichever is first."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        """Unix seconds."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds since an arbitrary moment; never steps, even if `now` does."""
        return time.monotonic()

    async def wait(self, wake: asyncio.Event, seconds: float) -> None:
        """Return when `wake` is set or after `seconds`, whichever is first."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await wake.wait()


class SteadyClock(SystemClock):
    """The machine's clock, whose steps take effect only when they are adopted.

    For a process that owns leases: a clock that is set forward would expire them all between two lines of code. A step
    takes effect when stored times are corrected too (`engine.clock_watch`).

    Args:
        wall: the machine's clock, unix seconds.
        monotonic: seconds that never step.
    """

    def __init__(self, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._offset = wall() - monotonic()

    def now(self) -> float:
        """Unix seconds, by the machine's clock as last adopted."""
        return self._monotonic() + self._offset

    def monotonic(self) -> float:
        """Seconds since an arbitrary moment; never steps, even if `now` does."""
        return self._monotonic()

    def step(self) -> float:
        """By how many seconds the machine's clock was set since it was last adopted; negative if it was set back."""
        return self._wall() - self.now()

    def adopt(self) -> None:
        """Adopt the current time of the machine's clock."""
        self._offset = self._wall() - self._monotonic()
