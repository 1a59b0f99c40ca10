"""Periodic maintenance: removes old events and abandoned downloads."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from receiver.engine.clock import Clock, SystemClock
from receiver.engine.clock_trust import ClockTrust
from receiver.errors import AudioError, StoreUnavailable
from receiver.settings.tables import Store
from receiver.store import quarantine
from receiver.store.database import Database
from receiver.store.prune import prune, prune_jobs

log = structlog.get_logger("receiver.maintenance")

EVERY_SECONDS = 3600.0
DAY_SECONDS = 86_400.0
ABANDONED_SECONDS = 3 * DAY_SECONDS
"""A partial download that was not touched for this long is abandoned: its run is dead, or was done elsewhere."""

Sweep = Callable[[float], Awaitable[int]]
"""Remove partial downloads not touched for so many seconds; how many."""


async def prune_now(database: Database, before: float) -> int:
    """Remove every finished event received before `before`, and then its job, a batch a transaction; how many events.

    Raises:
        StoreUnavailable: the store did not commit; what was removed until then stays removed.
    """
    removed = 0
    while batch := await database.write(prune, before):
        removed += batch
    while await database.write(prune_jobs, before):
        pass
    return removed


async def prune_quarantine(database: Database, before: float) -> int:
    """Remove every event in quarantine received before `before`, a batch a transaction; how many.

    Raises:
        StoreUnavailable: as for `prune_now`.
    """
    removed = 0
    while batch := await database.write(quarantine.prune, before):
        removed += batch
    return removed


class Maintenance:
    """Deletes what is old once an hour, first soon after the start, but nothing before the clock is trusted."""

    def __init__(
        self,
        database: Database,
        retention: Store,
        sweep: Sweep,
        clock: Clock | None = None,
        trust: ClockTrust | None = None,
    ) -> None:
        self._database = database
        self._retention = retention
        self._sweep = sweep
        self._clock = clock or SystemClock()
        self._trust = trust or ClockTrust(self._clock)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            while not self._trust.trusted:
                await self._clock.wait(self._trust.wake, EVERY_SECONDS)
            for task in (self._prune, self._remove_abandoned):
                try:
                    await task()
                except Exception:
                    log.exception("maintenance.broken")
            await self._clock.wait(asyncio.Event(), EVERY_SECONDS)

    async def _prune(self) -> None:
        now = self._clock.now()
        try:
            removed = await prune_now(self._database, now - self._retention.retention_days * DAY_SECONDS)
            if removed:
                log.info("events.pruned", events=removed)
            before = now - self._retention.quarantine_days * DAY_SECONDS
            if removed := await prune_quarantine(self._database, before):
                log.info("quarantine.pruned", events=removed)
        except StoreUnavailable as error:
            log.error("events.not_pruned", detail=str(error))

    async def _remove_abandoned(self) -> None:
        try:
            swept = await self._sweep(ABANDONED_SECONDS)
            if swept:
                log.info("audio.swept", files=swept)
        except AudioError as error:
            log.error("audio.not_swept", detail=str(error))
