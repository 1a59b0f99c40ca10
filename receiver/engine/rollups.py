"""Writes what this process has counted to the rollups in the store, once a minute (docs/adr/0095)."""

from __future__ import annotations

import asyncio
import random
from collections import Counter, deque

import structlog

from receiver.clock import Clock
from receiver.errors import StoreUnavailable
from receiver.store import rollups
from receiver.store.database import Database
from receiver.store.rollups import MINUTE, Counts
from receiver.telemetry.rollups import RollupTelemetry

log = structlog.get_logger("receiver.rollups")

SPREAD_SECONDS = 5.0
"""Within this time after the end of a minute processes write its counts, so that they do not wait for each other."""
MAX_WAITING = 60
"""Minutes that wait for the store; the counts of further ones are added to the oldest."""


class RollupWriter:
    """Writes one process's counts. A minute in which nothing was counted is not written.

    Args:
        counted: has what was counted; its hooks run on the loop that `start` runs on.
    """

    def __init__(self, database: Database, counted: RollupTelemetry, clock: Clock, rng: random.Random) -> None:
        self._database = database
        self._counted = counted
        self._clock = clock
        self._rng = rng
        self._waiting: deque[tuple[float, Counts]] = deque()
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start the task."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Write what is left, and stop. The store is still open."""
        if self._task is not None:
            self._stopping.set()
            task, self._task = self._task, None
            await task

    async def _run(self) -> None:
        while not self._stopping.is_set():
            began = self._clock.now() // MINUTE * MINUTE
            await self._clock.wait(self._stopping, began + MINUTE - self._clock.now())
            self._take(began)
            if self._waiting:
                await self._clock.wait(self._stopping, self._rng.uniform(0.0, SPREAD_SECONDS))
                await self._write()
        self._take(self._clock.now() // MINUTE * MINUTE)
        await self._write()

    def _take(self, at: float) -> None:
        counts = self._counted.take()
        if not counts:
            return
        if len(self._waiting) == MAX_WAITING:
            oldest, first = self._waiting[0]
            self._waiting[0] = oldest, Counter(first) + Counter(counts)
        else:
            self._waiting.append((at, counts))

    async def _write(self) -> None:
        counted = list(self._waiting)
        if not counted:
            return
        try:
            await self._database.write(rollups.add, counted)
        except StoreUnavailable as error:
            log.warning("rollups.not_written", minutes=len(counted), detail=str(error))
        except Exception:
            log.exception("rollups.broken")
            self._waiting.clear()
        else:
            self._waiting.clear()
