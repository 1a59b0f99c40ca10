"""The clock and the waiting of the background work, as arguments: a test passes its own and nothing sleeps."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Protocol


class Clock(Protocol):
    """Time, for the background work."""

    def now(self) -> float:
        """Unix seconds."""

    async def wait(self, wake: asyncio.Event, seconds: float) -> None:
        """Return when `wake` is set or after `seconds`, whichever is first."""


class SystemClock:
    """The real one."""

    def now(self) -> float:
        """Unix seconds."""
        return time.time()

    async def wait(self, wake: asyncio.Event, seconds: float) -> None:
        """Return when `wake` is set or after `seconds`, whichever is first."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await wake.wait()
