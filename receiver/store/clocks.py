"""Corrects stored times that were set by a clock that was ahead.

No stored time may lie further ahead of now than the longest wait that could have set it. A time that does was set by
another clock, and is moved to now plus that wait. Every function can be called at any time and by any process: correct
times stay as they are. Unix seconds throughout; each statement finds its rows by an index of open rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Table, and_, case, func, literal, or_, select, tuple_, update

from receiver.clock import Clock
from receiver.model.ids import first_id_at
from receiver.store.job_leases import IS_OPEN
from receiver.store.leases import IS_RUNNING
from receiver.store.schema import events, jobs, rate_buckets, runs, signing_keys, source_state
from receiver.store.states import OPEN_JOBS

SLACK_SECONDS = 1.0
"""How far beyond its bound a time may lie before it is moved: two processes do not see a step at the same moment."""
BATCH = 2000
"""Rows that one transaction reads, so that the intake never waits long for the writer."""


class RequestTimes(NamedTuple):
    """How far ahead a source's next request time may lie, in seconds.

    Attributes:
        longest: with callers that wait for theirs; one beyond it was reserved by another clock.
        usual: without them, for the jobs alone; one beyond `longest` is moved to this. The times that callers have
            reserved still hold: for as long as they wait, processes together may exceed the rate, but none alone.
    """

    longest: float
    usual: float


@dataclass(frozen=True, slots=True)
class TimeBounds:
    """How far ahead times may lie whose wait is not stored with them, in seconds.

    Attributes:
        run_lease: the length of a run's lease.
        job_lease: the length of a job's lease.
        deadlines: by source, how long a job may take in all.
        request_times: by source, how far ahead its next request time may lie.
    """

    run_lease: float
    job_lease: float
    deadlines: Mapping[str, float]
    request_times: Mapping[str, RequestTimes]


class StepResult(NamedTuple):
    """The outcome of a step.

    Attributes:
        rows: how many rows it moved.
        after: where the next step begins; None after the last one.
    """

    rows: int
    after: Any | None = None


Step = Callable[[Connection, Any | None], StepResult]
"""Moves rows, in one transaction, from `after` on; None is the beginning. It reads about `BATCH` rows, and no later
step reads them again."""


def steps(bounds: TimeBounds, clock: Clock) -> Iterator[tuple[str, Step]]:
    """Every step that moves times back, each with the name of its rows. Leases are first: they free runs and jobs.

    Args:
        clock: asked in each transaction, in the writer's thread. An earlier time would be wrong: what other processes
            stored while this one waited for its transaction would lie ahead of it.
    """
    yield "leases", lambda connection, after: _leases(connection, bounds, clock.now())
    yield "runs", lambda connection, after: _runs(connection, clock.now(), after)
    yield "jobs", lambda connection, after: _jobs(connection, bounds, clock.now(), after)
    yield "sources", lambda connection, after: _sources(connection, bounds, clock.now())
    yield "keys", lambda connection, after: _keys(connection, clock.now())
    yield "events", lambda connection, after: _events(connection, clock.now(), after)


def compare_with_server(connection: Connection, clock: Clock) -> float:
    """By how many seconds `clock` is at least ahead of the database server's; negative if it is behind.

    The server's time was read at some moment between two times of `clock`: what that leaves open does not count.
    """
    before = clock.now()
    server = connection.execute(select(func.extract("epoch", func.clock_timestamp()))).scalar_one()
    after = clock.now()
    return max(before - float(server), 0.0) or min(after - float(server), 0.0)


def renew_leases(connection: Connection, bounds: TimeBounds, now: float) -> None:
    """Extend every lease to a full lease from now.

    For a clock that was set forward: by that clock all leases have expired, also those of living processes. The leases
    of a dead process then expire up to a lease later, unless they were already ended (`store.leases`).
    """
    for table, seconds, held in (
        (runs, bounds.run_lease, IS_RUNNING),
        (jobs, bounds.job_lease, jobs.c.lease_until.is_not(None)),
    ):
        until = now + seconds
        statement = update(table).where(held, table.c.lease_until > 0, table.c.lease_until < until)
        connection.execute(statement.values(lease_until=until))


def _leases(connection: Connection, bounds: TimeBounds, now: float) -> StepResult:
    held = [IS_RUNNING]
    moved = _move(connection, runs, held, {runs.c.lease_until: now + bounds.run_lease})
    held = [jobs.c.lease_until.is_not(None)]
    return StepResult(moved + _move(connection, jobs, held, {jobs.c.lease_until: now + bounds.job_lease}))


def _runs(connection: Connection, now: float, after: tuple[str, float, str] | None) -> StepResult:
    """Pending runs, one handler after the other, those furthest ahead first: in the order of their index."""
    pending = runs.c.state == "pending"
    handler, due_at, event_id = after or ("", 0.0, "")
    if not event_id:
        following = select(func.min(runs.c.handler)).where(pending, runs.c.handler > handler)
        found = connection.execute(following).scalar()
        if found is None:
            return StepResult(0)
        handler = found
    c = runs.c
    ahead = [c.handler == handler, pending, c.due_at > now + SLACK_SECONDS]
    if event_id:
        ahead.append(tuple_(c.due_at, c.event_id) < tuple_(literal(due_at), literal(event_id)))
    is_late = c.due_at > now + c.wait_seconds + SLACK_SECONDS
    page = select(c.event_id, c.due_at, is_late.label("late"))
    rows = connection.execute(page.where(*ahead).order_by(c.due_at.desc(), c.event_id.desc()).limit(BATCH)).all()
    late = [row.event_id for row in rows if row.late]
    if late:
        statement = update(runs).where(c.handler == handler, pending, is_late, c.event_id.in_(late))
        connection.execute(statement.values(due_at=now + c.wait_seconds))
    last = rows[-1] if len(rows) == BATCH else None
    return StepResult(len(late), (handler, 0.0, "") if last is None else (handler, last.due_at, last.event_id))


def _jobs(connection: Connection, bounds: TimeBounds, now: float, after: tuple[str, str, str] | None) -> StepResult:
    """Open jobs of one source and state after the other, by their ids."""
    source, state, id_ = after or ("", "", "")
    if not state:
        found = connection.execute(select(func.min(jobs.c.source)).where(IS_OPEN, jobs.c.source > source)).scalar()
        if found is None:
            return StepResult(0)
        source, state = found, OPEN_JOBS[0]
    conditions = [jobs.c.source == source, jobs.c.state == str(state), jobs.c.id > id_]
    ids = connection.execute(select(jobs.c.id).where(*conditions).order_by(jobs.c.id).limit(BATCH)).scalars().all()
    moved = 0
    if ids:
        conditions.append(jobs.c.id <= ids[-1])
        seen = (jobs.c.created_at, jobs.c.submitted_at, jobs.c.polled_at)
        ahead = {jobs.c.due_at: now + jobs.c.wait_seconds, **dict.fromkeys(seen, now)}
        moved = _move(connection, jobs, conditions, ahead)
        if source in bounds.deadlines:
            moved += _move(connection, jobs, conditions, {jobs.c.deadline_at: now + bounds.deadlines[source]})
    if len(ids) == BATCH:
        return StepResult(moved, (source, state, ids[-1]))
    following = OPEN_JOBS.index(state) + 1
    return StepResult(moved, (source, OPEN_JOBS[following] if following < len(OPEN_JOBS) else "", ""))


def _sources(connection: Connection, bounds: TimeBounds, now: float) -> StepResult:
    c = source_state.c
    ahead = {c.pause_until: now + c.pause_seconds, c.heard_at: now}
    moved = _move(connection, source_state, [], ahead)
    b = rate_buckets.c
    ahead = {b.reset_at: now + b.reset_seconds, b.pause_until: now + b.pause_seconds, b.updated_at: now}
    moved += _move(connection, rate_buckets, [], ahead)
    for source, times in bounds.request_times.items():
        late = [c.source == source, c.next_request_at > now + times.longest]
        moved += _move(connection, source_state, late, {c.next_request_at: now + times.usual})
    return StepResult(moved)


def _keys(connection: Connection, now: float) -> StepResult:
    c = signing_keys.c
    return StepResult(_move(connection, signing_keys, [], {c.first_used_at: now, c.last_used_at: now}))


def _events(connection: Connection, now: float, after: str | None) -> StepResult:
    """When events were received, the newest first. Their ids keep the time at which they were created."""
    before = [] if after is None else [events.c.id < after]
    newest = select(events.c.id).where(events.c.id >= first_id_at(now), *before).order_by(events.c.id.desc())
    ids = connection.execute(newest.limit(BATCH)).scalars().all()
    if not ids:
        return StepResult(0)
    moved = _move(connection, events, [events.c.id >= ids[-1], *before], {events.c.received_at: now})
    return StepResult(moved, ids[-1] if len(ids) == BATCH else None)


def _move(connection: Connection, table: Table, conditions: list[ColumnElement[bool]], ahead: Mapping[Any, Any]) -> int:
    """Move each column that lies beyond its bound to that bound; return how many rows. NULL stays."""
    late = or_(*(column > bound + SLACK_SECONDS for column, bound in ahead.items()))
    values = {column.name: case((column > bound, bound), else_=column) for column, bound in ahead.items()}
    return connection.execute(update(table).where(and_(late, *conditions)).values(values)).rowcount
