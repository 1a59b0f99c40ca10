"""Periodic maintenance: removes old events and abandoned downloads."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import structlog

from receiver.clock import Clock
from receiver.engine.clock_trust import ClockTrust
from receiver.engine.pacing import PacedWriter
from receiver.engine.pruning import Pruner
from receiver.errors import AudioError, ListingTimeout, StoreUnavailable
from receiver.settings.tables import Store
from receiver.store.database import Database
from receiver.store.prune import EVENTS, JOBS
from receiver.store.quarantine import QUARANTINE

log = structlog.get_logger("receiver.maintenance")

EVERY_SECONDS = 3600.0
DAY_SECONDS = 86_400.0
ABANDONED_SECONDS = 3 * DAY_SECONDS
"""A partial download that was not touched for this long is abandoned: its run is dead, or was done elsewhere."""

PROGRESS_SECONDS = 30.0
"""How often deleting says how far it is."""

Sweep = Callable[[float], Awaitable[int]]
"""Remove partial downloads not touched for so many seconds; how many."""


class Maintenance:
    """Deletes what is old once an hour, first soon after the start, but nothing before the clock is trusted."""

    def __init__(
        self,
        database: Database,
        retention: Store,
        sweep: Sweep,
        clock: Clock,
        trust: ClockTrust,
    ) -> None:
        self._database = database
        self._retention = retention
        self._sweep = sweep
        self._clock = clock
        self._trust = trust
        self._progress_at = 0.0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End; a deletion on its way is committed first, and no other begins."""
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
        finished = now - self._retention.retention_days * DAY_SECONDS
        quarantined = now - self._retention.quarantine_days * DAY_SECONDS
        self._progress_at = self._clock.monotonic() + PROGRESS_SECONDS
        pruner = Pruner(PacedWriter(self._database, self._clock), self._show_progress)
        try:
            if deleted := await pruner.prune(EVENTS, finished):
                log.info("events.pruned", events=deleted)
            if deleted := await pruner.prune(JOBS, finished):  # those of the events that are gone now
                log.info("jobs.pruned", jobs=deleted)
            if deleted := await pruner.prune(QUARANTINE, quarantined):
                log.info("quarantine.pruned", events=deleted)
        except (StoreUnavailable, ListingTimeout) as error:
            log.error("events.not_pruned", detail=str(error), **pruner.deleted)
        except asyncio.CancelledError:
            if any(pruner.deleted.values()):
                log.info("store.pruning_stopped", **pruner.deleted)
            raise

    def _show_progress(self, deleted: Mapping[str, int]) -> None:
        now = self._clock.monotonic()
        if now >= self._progress_at:
            self._progress_at = now + PROGRESS_SECONDS
            log.info("store.pruning", **deleted)

    async def _remove_abandoned(self) -> None:
        try:
            swept = await self._sweep(ABANDONED_SECONDS)
            if swept:
                log.info("audio.swept", files=swept)
        except AudioError as error:
            log.error("audio.not_swept", detail=str(error))
