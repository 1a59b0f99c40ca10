"""The clock and the waiting of the background work, as arguments: a test passes its own and nothing sleeps.

Two times: `now` is the world's, for what is stored or compared with others' times, and may be set back or forward;
`monotonic` is for how long something takes in this process, and never is.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Protocol


class Clock(Protocol):
    """Time, for the background work."""

    def now(self) -> float:
        """Unix seconds."""

    def monotonic(self) -> float:
        """Seconds from some moment, that go on evenly whatever becomes of `now`."""

    async def wait(self, wake: asyncio.Event, seconds: float) -> None:
        """Return when `wake` is set or after `seconds`, whichever is first."""


class SystemClock:
    """The machine's, as it is."""

    def now(self) -> float:
        """Unix seconds."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds from some moment, that go on evenly whatever becomes of `now`."""
        return time.monotonic()

    async def wait(self, wake: asyncio.Event, seconds: float) -> None:
        """Return when `wake` is set or after `seconds`, whichever is first."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await wake.wait()


class SteadyClock(SystemClock):
    """The machine's, without its steps until they are adopted.

    For a process that owns leases: a clock that is set forward would end all of them between two lines of code. Here
    that happens at one moment, when what is stored is put right too (`engine.clock_watch`).

    Args:
        wall: the machine's clock, unix seconds.
        monotonic: seconds that go on evenly.
    """

    def __init__(self, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._offset = wall() - monotonic()

    def now(self) -> float:
        """Unix seconds, by the machine's clock as it was when it was last adopted."""
        return self._monotonic() + self._offset

    def monotonic(self) -> float:
        """Seconds from some moment, that go on evenly whatever becomes of `now`."""
        return self._monotonic()

    def step(self) -> float:
        """How many seconds the machine's clock has been set forward (back: negative) since it was last adopted."""
        return self._wall() - self.now()

    def adopt(self) -> None:
        """Go by the machine's clock as it is now."""
        self._offset = self._wall() - self._monotonic()
