"""The values of the store's gauges: open runs and jobs, the quarantine, and silent sources.

Every value is exact, and no finished row is read: each statement reads an index of open rows only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sqlalchemy import Connection, func, select

from receiver.model.rate_plan import RatePlan
from receiver.store import feed, quarantine, rate_buckets
from receiver.store.dialect import DIALECTS
from receiver.store.schema import signing_keys, source_state
from receiver.store.states import OPEN_JOBS


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """The number of runs by handler and state, and since when the oldest due run has been due, unix seconds."""

    by_handler: Mapping[tuple[str, str], int]
    oldest_due_at: float | None


@dataclass(frozen=True, slots=True)
class GaugeValues:
    """The values of all gauges at one moment.

    Attributes:
        runs: open runs and dead letters.
        jobs: open and unknown jobs, by source and state.
        silent: by source, seconds since anything was received from it.
        quarantined: events in quarantine by source.
        feed_delay: for how many seconds stored events have been held up on their way to readers.
        rate_limits: what responses report, by source.
    """

    runs: QueueDepth
    jobs: Mapping[tuple[str, str], int]
    silent: Mapping[str, float]
    quarantined: Mapping[str, int]
    feed_delay: float = 0.0
    rate_limits: Mapping[str, RatePlan] = field(default_factory=dict)


def read(connection: Connection, sources: Iterable[str], now: float) -> GaugeValues:
    """Read all gauges.

    Args:
        sources: the names of the polled sources.
        now: unix seconds.
    """
    return GaugeValues(
        runs=depth(connection, now),
        jobs=counts(connection),
        silent=silent_seconds(connection, sources, now),
        quarantined=quarantine.counts(connection),
        feed_delay=feed.delay(connection, now),
        rate_limits=rate_buckets.get_all(connection),
    )


def depth(connection: Connection, now: float) -> QueueDepth:
    """The number of pending, running and dead runs, and the oldest one that is due at `now` (unix seconds)."""
    statements = DIALECTS[connection.dialect.name].gauges
    by_handler = {(handler, state): count for handler, state, count in statements.count_runs(connection)}
    oldest = statements.oldest_due(connection)
    return QueueDepth(by_handler, oldest if oldest is not None and oldest <= now else None)


def counts(connection: Connection) -> dict[tuple[str, str], int]:
    """The number of open and of unknown jobs, by source and state."""
    statements = DIALECTS[connection.dialect.name].gauges
    return {(source, state): count for source, state, count in statements.count_jobs(connection)}


def silent_seconds(connection: Connection, sources: Iterable[str], now: float) -> dict[str, float]:
    """Seconds since anything was received from each of these sources, while it has open jobs; 0 if it has none.

    A delivery counts, and a response about a job.
    """
    received = received_at(connection)
    silent = {}
    for source in sources:
        since = _open_since(connection, source)
        silent[source] = 0.0 if since is None else max(0.0, now - max(since, received.get(source, 0.0)))
    return silent


def received_at(connection: Connection) -> dict[str, float]:
    """When anything was last received from each source, a delivery or a response about a job, unix seconds."""
    by_key = select(signing_keys.c.source, func.max(signing_keys.c.last_used_at)).group_by(signing_keys.c.source)
    by_response = select(source_state.c.source, source_state.c.heard_at)
    found: dict[str, float] = {}
    for statement in (by_key, by_response):
        for source, at in connection.execute(statement):
            if at:
                found[source] = max(at, found.get(source, 0.0))
    return found


def _open_since(connection: Connection, source: str) -> float | None:
    """When the source's oldest open job was created, unix seconds; None if it has none."""
    statements = DIALECTS[connection.dialect.name].gauges
    found = (statements.oldest_job(connection, source, str(state)) for state in OPEN_JOBS)
    return min((at for at in found if at is not None), default=None)
