"""Corrects stored times that were set by a clock that was ahead.

No stored time may lie further ahead of now than the longest wait that could have set it. One that does was set by
another clock: it is moved to now plus that wait. Every function can be called at any time and by any process: what is
in order stays as it is. Unix seconds throughout; each statement finds its rows by an index of what is open.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, and_, case, func, or_, select, update

from receiver.model.ids import first_id_at
from receiver.store.holding import IS_OPEN
from receiver.store.schema import events, jobs, runs, signing_keys, source_state

SLACK_SECONDS = 1.0
"""How far off a time may be before it is moved: two processes do not see a step at the same moment."""
BATCH = 2000
"""Rows moved in one transaction, so that the intake never waits long for the writer."""


@dataclass(frozen=True, slots=True)
class LongestWaits:
    """What bounds the times whose wait is not beside them, in seconds.

    Attributes:
        run_lease: how long a run is held unless its lease is extended.
        job_lease: the same for a job.
        deadlines: by source, how long a job may take in all.
        turns: by source, how far ahead its next request may be.
    """

    run_lease: float
    job_lease: float
    deadlines: Mapping[str, float]
    turns: Mapping[str, float]


Step = Callable[[Connection], int]
"""Moves some rows, in one transaction; how many. To be called again until it is 0."""


def steps(waits: LongestWaits, now: float) -> Iterator[tuple[str, Step]]:
    """Everything that moves times back, with a word for what is moved. Leases first: they free what is held."""
    yield "leases", lambda connection: _leases(connection, waits, now)
    yield "runs", lambda connection: _runs(connection, now)
    yield "jobs", lambda connection: _jobs(connection, waits, now)
    yield "sources", lambda connection: _sources(connection, waits, now)
    yield "keys", lambda connection: _keys(connection, now)
    yield "events", lambda connection: _events(connection, now)


def renew_leases(connection: Connection, waits: LongestWaits, now: float) -> None:
    """Let every lease end a whole lease from now, at the earliest.

    For a clock that was set forward: by it all leases have expired, those of living processes too. One
    whose process is dead ends a lease later than it would have, unless it was ended for that (`store.leases`).
    """
    for table, seconds, held in (
        (runs, waits.run_lease, runs.c.state == "running"),
        (jobs, waits.job_lease, jobs.c.lease_until.is_not(None)),
    ):
        ends = now + seconds
        statement = update(table).where(held, table.c.lease_until > 0, table.c.lease_until < ends)
        connection.execute(statement.values(lease_until=ends))


def _leases(connection: Connection, waits: LongestWaits, now: float) -> int:
    return _move(connection, runs, [runs.c.state == "running"], {runs.c.lease_until: now + waits.run_lease}) + _move(
        connection, jobs, [jobs.c.lease_until.is_not(None)], {jobs.c.lease_until: now + waits.job_lease}
    )


def _runs(connection: Connection, now: float) -> int:
    """Pending runs, those furthest ahead first. Each handler's are looked up in the index of what is pending."""
    moved, handler = 0, ""
    pending = runs.c.state == "pending"
    while moved < BATCH:
        following = select(func.min(runs.c.handler)).where(pending, runs.c.handler > handler)
        found = connection.execute(following).scalar()
        if found is None:
            break
        handler = found
        mine = (runs.c.handler == handler, pending)
        ahead = (runs.c.due_at > now + SLACK_SECONDS, runs.c.due_at > now + runs.c.wait_seconds + SLACK_SECONDS)
        furthest = select(runs.c.event_id).where(*mine, *ahead).order_by(runs.c.due_at.desc()).limit(BATCH - moved)
        statement = update(runs).where(*mine, runs.c.event_id.in_(furthest.scalar_subquery()))
        moved += connection.execute(statement.values(due_at=now + runs.c.wait_seconds)).rowcount
    return moved


def _jobs(connection: Connection, waits: LongestWaits, now: float) -> int:
    ahead = {jobs.c.due_at: now + jobs.c.wait_seconds, jobs.c.created_at: now, jobs.c.submitted_at: now}
    moved = _move(connection, jobs, [IS_OPEN], ahead)
    for source, seconds in waits.deadlines.items():
        moved += _move(connection, jobs, [jobs.c.source == source, IS_OPEN], {jobs.c.deadline_at: now + seconds})
    return moved


def _sources(connection: Connection, waits: LongestWaits, now: float) -> int:
    c = source_state.c
    ahead = {
        c.pause_until: now + c.pause_seconds,
        c.poll_pause_until: now + c.poll_pause_seconds,
        c.heard_at: now,
    }
    moved = _move(connection, source_state, [], ahead)
    for source, seconds in waits.turns.items():
        moved += _move(connection, source_state, [c.source == source], {c.next_request_at: now + seconds})
    return moved


def _keys(connection: Connection, now: float) -> int:
    c = signing_keys.c
    return _move(connection, signing_keys, [], {c.first_used_at: now, c.last_used_at: now})


def _events(connection: Connection, now: float) -> int:
    """When events were received. Their ids keep the time that they were made with."""
    newest = events.c.id >= first_id_at(now)
    ahead = (newest, events.c.received_at > now + SLACK_SECONDS)
    found = select(events.c.id).where(*ahead).order_by(events.c.id.desc()).limit(BATCH)
    statement = update(events).where(events.c.id.in_(found.scalar_subquery())).values(received_at=now)
    return connection.execute(statement).rowcount


def _move(connection: Connection, table: Table, which: list[ColumnElement[bool]], ahead: Mapping[Any, Any]) -> int:
    """Move each column that lies further ahead than its bound to that bound; how many rows. NULL stays."""
    late = or_(*(column > bound + SLACK_SECONDS for column, bound in ahead.items()))
    values = {column.name: case((column > bound, bound), else_=column) for column, bound in ahead.items()}
    return connection.execute(update(table).where(and_(late, *which)).values(values)).rowcount
