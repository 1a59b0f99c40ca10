"""What is outstanding, for monitoring: runs, open jobs, and silent sources."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, func, select

from receiver.store.holding import IS_OPEN
from receiver.store.schema import jobs, runs, signing_keys, source_state
from receiver.store.states import JobState


def counts(connection: Connection) -> dict[tuple[str, str], int]:
    """Jobs that are open, or that an operator has to look at, by source and state."""
    columns = (jobs.c.source, jobs.c.state)
    found: dict[tuple[str, str], int] = {}
    for which in (IS_OPEN, jobs.c.state == str(JobState.UNKNOWN)):
        statement = select(*columns, func.count()).where(which).group_by(*columns)
        found |= {(source, state): count for source, state, count in connection.execute(statement)}
    return found


def silent_seconds(connection: Connection, sources: Iterable[str], now: float) -> dict[str, float]:
    """How long nothing has been heard of each of these sources while it has open jobs; 0 where it has none.

    Heard is a delivery, or an answer about a job.
    """
    open_since = _times(connection, jobs, func.min(jobs.c.created_at), IS_OPEN)
    heard = [
        _times(connection, signing_keys, func.max(signing_keys.c.last_used_at)),
        _times(connection, source_state, func.max(source_state.c.heard_at)),
    ]
    silent = {}
    for source in sources:
        since = open_since.get(source)
        last = max(known.get(source, 0.0) for known in heard)
        silent[source] = 0.0 if since is None else max(0.0, now - max(since, last))
    return silent


def _times(connection: Connection, table: Table, which: ColumnElement[float], *where: Any) -> dict[str, float]:
    """One time a source, unix seconds."""
    rows = connection.execute(select(table.c.source, which).where(*where).group_by(table.c.source))
    return {source: at for source, at in rows if at is not None}


@dataclass(frozen=True, slots=True)
class Depth:
    """How much is open: per handler counts by state, and when the oldest due run became due."""

    by_handler: Mapping[tuple[str, str], int]
    oldest_due_at: float | None


def depth(connection: Connection, now: float) -> Depth:
    """What the gauges show."""
    counts = connection.execute(
        select(runs.c.handler, runs.c.state, func.count())
        .where(runs.c.state.in_(["pending", "running", "dead"]))
        .group_by(runs.c.handler, runs.c.state)
    ).all()
    oldest = connection.execute(
        select(func.min(runs.c.due_at)).where(runs.c.state == "pending", runs.c.due_at <= now)
    ).scalar()
    return Depth({(row.handler, row.state): row[2] for row in counts}, oldest)
