"""The gauges of `/metrics` that are read from the store when they are requested."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from receiver import logs
from receiver.clock import Clock
from receiver.errors import StoreUnavailable
from receiver.metrics import Metrics
from receiver.store import gauges
from receiver.store.database import Database

OUTAGE_SECONDS = 0.5
"""How long a scrape waits for the store while commits fail. Often it can still be read, as when its disk is full."""


class StoreGauges:
    """Sets the gauges of the store's contents, of what waits to be written, and of lost log lines.

    Args:
        sources: names of the polled sources.
    """

    def __init__(self, database: Database, metrics: Metrics, sources: Sequence[str], clock: Clock) -> None:
        self._database = database
        self._metrics = metrics
        self._sources = sources
        self._clock = clock
        self._reading: asyncio.Task[None] | None = None

    async def refresh(self) -> None:
        """Set the gauges from one snapshot. Concurrent calls share it, so many scrapers cost no more than one.

        Raises:
            ListingTimeout: counting took too long.
            StoreUnavailable: the store cannot be read.
        """
        if self._reading is None:
            self._reading = asyncio.create_task(self._read())
            self._reading.add_done_callback(self._read_done)
        outage = self._database.health.outage()
        try:
            async with asyncio.timeout(None if outage is None else OUTAGE_SECONDS):
                await asyncio.shield(self._reading)
        except TimeoutError:
            raise outage or StoreUnavailable("The store cannot be read.") from None

    def _read_done(self, task: asyncio.Task[None]) -> None:
        self._reading = None
        if not task.cancelled():
            task.exception()  # retrieved, or asyncio would log it; callers that still wait raise it

    async def _read(self) -> None:
        now = self._clock.now()
        self._metrics.set_dropped_lines(logs.dropped_lines())
        self._metrics.waiting.set(self._database.waiting)
        found = await self._database.read_list(gauges.read, self._sources, now)
        metrics = self._metrics
        metrics.set_depth(found.runs, now)
        metrics.set_jobs(found.jobs, found.silent)
        metrics.set_quarantined(found.quarantined)
        metrics.feed_delay.set(found.feed_delay)
        metrics.set_rate_limits(found.rate_limits, now)
