"""How a test waits for the simulator: every recorded change wakes all waiters. No polling."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Changes:
    """A signal that many can wait for and that is raised repeatedly.

    ``notify`` is a plain function, so that a change made from synchronous code (``jobs.complete``)
    wakes the waiters as well as one made while answering a request. All within one event loop.
    """

    def __init__(self) -> None:
        self._next = asyncio.Event()

    def notify(self) -> None:
        """Wake all waiters; each checks its own condition again."""
        current, self._next = self._next, asyncio.Event()
        current.set()

    async def wait_until(self, predicate: Callable[[], object], timeout: float) -> None:  # noqa: ASYNC109
        """Return as soon as `predicate()` is true; checked now and after every change.

        Raises TimeoutError after `timeout` seconds.
        """
        async with asyncio.timeout(timeout):
            while not predicate():
                await self._next.wait()


class Closing:
    """Pauses that end when the simulator does, so that a slow answer never delays the shutdown."""

    def __init__(self) -> None:
        self._closed = asyncio.Event()

    def close(self) -> None:
        """End every pause, now and in future."""
        self._closed.set()

    @property
    def closed(self) -> bool:
        """Whether the simulator is shutting down."""
        return self._closed.is_set()

    async def pause(self, seconds: float) -> None:
        """Wait `seconds`, less if the simulator closes."""
        try:
            async with asyncio.timeout(max(seconds, 0.0)):
                await self._closed.wait()
        except TimeoutError:
            return
