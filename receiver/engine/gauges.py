"""What `/metrics` shows of the store, read when it is asked for."""

from __future__ import annotations

from collections.abc import Sequence

from receiver import logs
from receiver.metrics import Metrics
from receiver.store import outstanding, quarantine
from receiver.store.database import Database


async def refresh_gauges(database: Database, metrics: Metrics, sources: Sequence[str], now: float) -> None:
    """Set the gauges that count what is in the store, and what waits for it.

    Args:
        sources: names of those that are polled.
        now: unix seconds.

    Raises:
        StoreUnavailable: the store cannot be read.
    """
    metrics.show_dropped_lines(logs.dropped_lines())
    metrics.show_depth(await database.read(outstanding.depth, now), now)
    silent = await database.read(outstanding.silent_seconds, sources, now)
    metrics.show_jobs(await database.read(outstanding.counts), silent)
    metrics.show_quarantined(await database.read(quarantine.counts))
    metrics.waiting.set(database.waiting)
