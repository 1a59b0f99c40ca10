"""A clock that a test sets, and chance that always says the same."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable

from receiver.clock import Clock


class SetClock:
    """Stands at `time` until the test changes that. Waits end at once, and are kept.

    Attributes:
        time: unix seconds, and monotonic ones.
        waited: how long each wait was to be, in seconds.
    """

    def __init__(self, time: float = 0.0) -> None:
        self.time = time
        self.waited: list[float] = []

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time

    async def wait(self, wake: asyncio.Event, seconds: float) -> None:
        self.waited.append(seconds)
        await asyncio.sleep(0)


class FixedRandom(random.Random):
    """`random()` is always the same number."""

    def __new__(cls, value: float) -> FixedRandom:
        return super().__new__(cls)

    def __init__(self, value: float) -> None:
        super().__init__(0)
        self._value = value

    def random(self) -> float:
        return self._value


class CallbackClock:
    """A clock whose parts a test gives; the others are the machine's."""

    def __init__(
        self,
        *,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._now, self._monotonic, self._sleep = now, monotonic, sleep

    def now(self) -> float:
        return self._now()

    def monotonic(self) -> float:
        return self._monotonic()

    async def wait(self, wake: asyncio.Event, seconds: float) -> None:
        await self._sleep(seconds)


class AgreedClock:
    """A clock with which the database server's agrees."""

    paused: str | None = None

    def __init__(self, clock: Clock) -> None:
        self.now = self.server_now = clock.now
        self.monotonic, self.wait = clock.monotonic, clock.wait
