"""Waiting inside the simulator: for the next recorded change, and for a time that ends when the simulator closes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from receiver.clock import Clock


class Changes:
    """A condition that many tasks can wait for, repeatedly.

    `notify` is a plain function, so that a change made by synchronous code (`jobs.complete`) wakes the waiters like
    one made while a request is handled. Everything runs in one event loop.
    """

    def __init__(self) -> None:
        self._next = asyncio.Event()

    def notify(self) -> None:
        """Wake all waiters; each checks its own condition again."""
        current, self._next = self._next, asyncio.Event()
        current.set()

    @property
    def next(self) -> asyncio.Event:
        """The event that the next change sets."""
        return self._next

    async def wait_until(self, predicate: Callable[[], object]) -> None:
        """Return as soon as `predicate()` is true; checked now and after every change."""
        while not predicate():
            await self._next.wait()


class Shutdown:
    """Pauses that end when the simulator closes, so that a slow response never delays the shutdown."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._started = asyncio.Event()

    def start(self) -> None:
        """End every pause at once, also those that begin later."""
        self._started.set()

    @property
    def started(self) -> bool:
        """Whether the simulator is shutting down."""
        return self._started.is_set()

    async def pause(self, seconds: float) -> None:
        """Wait `seconds`, or until the simulator closes."""
        await self._clock.wait(self._started, max(seconds, 0.0))
