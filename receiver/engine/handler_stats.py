"""How often the attempts of each handler fail, and how long they take: for the status and `GET /v1/handlers/stats`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection

from receiver.store import rollups
from receiver.store.rollups import DURATION_BOUNDS, UNFINISHED, Kind, Series, Total


@dataclass(frozen=True, slots=True)
class HandlerStats:
    """The attempts of one handler in a time.

    Attributes:
        p50_seconds: half of them took at most as long: the upper bound of a bucket. Infinite beyond the last one; None
            without attempts. `p95_seconds` the same of 95 %.
    """

    name: str
    succeeded: int = 0
    failed: int = 0
    p50_seconds: float | None = None
    p95_seconds: float | None = None

    @property
    def failure_rate(self) -> float | None:
        """The share of attempts that failed, 0 to 1; None without attempts."""
        attempts = self.succeeded + self.failed
        return self.failed / attempts if attempts else None


def read_handler_stats(connection: Connection, seconds: int, since: float, until: float) -> list[HandlerStats]:
    """The handlers with attempts, by name. Arguments as for `rollups.totals`."""
    totals = rollups.totals(connection, seconds, [Kind.RUNS, Kind.RUN_SECONDS], since, until)
    found = []
    for handler in sorted({series.name for series in totals}):
        outcomes = _labels(totals, Kind.RUNS, handler)
        succeeded = outcomes.pop("succeeded", 0)
        failed = sum(count for outcome, count in outcomes.items() if outcome not in UNFINISHED)
        durations = {float(label): count for label, count in _labels(totals, Kind.RUN_SECONDS, handler).items()}
        p50, p95 = (quantile(durations, share) for share in (0.5, 0.95))
        found.append(HandlerStats(handler, succeeded, failed, p50, p95))
    return found


def _labels(totals: Mapping[Series, Total], kind: Kind, name: str) -> dict[str, int]:
    return {series.label: total.count for series, total in totals.items() if series[:2] == (kind, name)}


def quantile(counts: Mapping[float, int], share: float) -> float | None:
    """The upper bound of the bucket that this share of all durations does not exceed; None if there are none."""
    wanted, below = share * sum(counts.values()), 0
    for bound in DURATION_BOUNDS:
        below += counts.get(bound, 0)
        if below and below >= wanted:
            return bound
    return None
