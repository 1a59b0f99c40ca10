"""Periodic maintenance: removes old events and abandoned downloads."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import structlog

from receiver.clock import Clock
from receiver.engine.batch_writer import BatchWriter
from receiver.engine.clock_trust import ClockTrust
from receiver.engine.pruning import Pruner
from receiver.errors import AudioError, ListingTimeout, StoreUnavailable
from receiver.settings.tables import Store
from receiver.store import replicas
from receiver.store.audit import AUDIT_ENTRIES
from receiver.store.database import Database
from receiver.store.operations import OPERATIONS
from receiver.store.prune import EVENTS, JOBS
from receiver.store.quarantine import QUARANTINE
from receiver.store.rollups import RETENTION_SECONDS, ROLLUPS
from receiver.store.sessions import SESSIONS

log = structlog.get_logger("receiver.maintenance")

INTERVAL_SECONDS = 3600.0
DAY_SECONDS = 86_400.0
ABANDONED_SECONDS = 3 * DAY_SECONDS
"""A partial download that was not written for this long is abandoned: its run is dead, or succeeded elsewhere."""

PROGRESS_SECONDS = 30.0
"""How often a long deletion logs its progress."""

Sweep = Callable[[float], Awaitable[int]]
"""Removes partial downloads that were not written for so many seconds; returns how many."""


class Maintenance:
    """Deletes what is old, at the start and once an hour, but only while the clock is trusted.

    Of all processes that work on the store, the one that started first deletes from it. Each removes its abandoned
    downloads.

    Args:
        owner: this process's name in leases.
    """

    def __init__(
        self,
        database: Database,
        retention: Store,
        sweep: Sweep,
        clock: Clock,
        trust: ClockTrust,
        *,
        owner: str,
    ) -> None:
        self._database = database
        self._retention = retention
        self._sweep = sweep
        self._clock = clock
        self._trust = trust
        self._owner = owner
        self._progress_at = 0.0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start the task."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Stop. A batch in progress is committed first, and no other begins."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            while not self._trust.trusted:
                await self._clock.wait(self._trust.wake, INTERVAL_SECONDS)
            for task in (self._prune, self._remove_abandoned):
                try:
                    await task()
                except Exception:
                    log.exception("maintenance.broken")
            await self._clock.wait(asyncio.Event(), INTERVAL_SECONDS)

    async def _prune(self) -> None:
        now = self._clock.now()
        finished = now - self._retention.retention_days * DAY_SECONDS
        quarantined = now - self._retention.quarantine_days * DAY_SECONDS
        recorded = now - self._retention.audit_days * DAY_SECONDS
        self._progress_at = self._clock.monotonic() + PROGRESS_SECONDS
        batches = BatchWriter(self._database, self._clock)
        pruner = Pruner(batches, self._show_progress)
        try:
            working = await batches.read(replicas.working, now)
            if working and working[0].owner != self._owner:
                return
            if deleted := await pruner.prune(EVENTS, finished):
                log.info("events.pruned", events=deleted)
            if deleted := await pruner.prune(JOBS, finished):  # jobs of the deleted events
                log.info("jobs.pruned", jobs=deleted)
            if deleted := await pruner.prune(QUARANTINE, quarantined):
                log.info("quarantine.pruned", events=deleted)
            if deleted := await pruner.prune(AUDIT_ENTRIES, recorded):
                log.info("changes.pruned", changes=deleted)
            await pruner.prune(OPERATIONS, recorded)
            await pruner.prune(SESSIONS, now)
            for length, rows in ROLLUPS.items():
                await pruner.prune(rows, now - RETENTION_SECONDS[length])
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
                log.info("audio.partials_removed", files=swept)
        except AudioError as error:
            log.error("audio.partials_not_removed", detail=str(error))
