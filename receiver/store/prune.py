"""Delete finished rows older than the retention period. Audio files stay: they belong to the user.

Readers find the rows, one page after the other; the writer deletes them by id, in small transactions. Each deletion
checks the conditions again, because an event may have been replayed since it was found.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, and_, delete, func, literal, or_, select, tuple_

from receiver.model.ids import first_id_at
from receiver.store import usage
from receiver.store.dialect import DIALECTS
from receiver.store.expressions import exists_for_row
from receiver.store.schema import events, jobs, runs
from receiver.store.states import OPEN_STATES, EventStatus, JobState, RunState


class Page(NamedTuple):
    """The result of reading a page of rows.

    Attributes:
        ids: the rows that may be deleted.
        after: where the next page begins; None after the last one.
    """

    ids: list[str]
    after: Any | None


@dataclass(frozen=True, slots=True)
class Prunable:
    """A kind of rows that are deleted once they are old.

    Attributes:
        kind: its name.
        find: `(connection, before, after, limit)` reads up to `limit` rows older than `before` (unix seconds), from
            `after` on; None is the beginning.
        delete: `(connection, before, ids)` deletes the rows that may still be deleted; returns how many.
    """

    kind: str
    find: Callable[[Connection, float, Any | None, int], Page]
    delete: Callable[[Connection, float, Sequence[str]], int]


def newest_received_at(connection: Connection) -> float | None:
    """When the newest event was received, unix seconds; None if there is none."""
    newest = select(events.c.received_at).where(events.c.id > "").order_by(events.c.id.desc()).limit(1)
    at: float | None = connection.execute(newest).scalar()
    return at


def find_events(connection: Connection, before: float, after: str | None, limit: int) -> Page:
    """Finished events, the oldest first, as `Prunable.find`.

    Not open events, nor events with dead letters newer than `before`, nor events in quarantine.
    """
    old = select(events.c.id, _is_finished(before).label("prunable"))
    old = old.where(events.c.id > (after or ""), events.c.id < first_id_at(before))  # ids sort by time
    rows = connection.execute(old.order_by(events.c.id).limit(limit)).all()
    return Page([row.id for row in rows if row.prunable], rows[-1].id if len(rows) == limit else None)


def delete_events(connection: Connection, before: float, ids: Sequence[str]) -> int:
    """Delete the finished ones of these events, with their runs, attempts and artifact rows; return how many."""
    DIALECTS[connection.dialect.name].events.hold_events(connection, ids)  # a replay would make a run due meanwhile
    return connection.execute(delete(events).where(events.c.id.in_(ids), _is_finished(before))).rowcount


def find_jobs(connection: Connection, before: float, after: tuple[float, str] | None, limit: int) -> Page:
    """Ended jobs, the first ended first, as `Prunable.find`.

    A job whose event is still stored stays. So does an `unknown` job: an operator has to decide about it.
    """
    at = (jobs.c.ended_at, jobs.c.id)
    old = select(jobs.c.id, jobs.c.ended_at, _has_no_event().label("prunable")).where(jobs.c.ended_at < before)
    if after is not None:
        old = old.where(tuple_(*at) > tuple_(*(literal(value) for value in after)))
    rows = connection.execute(old.order_by(*at).limit(limit)).all()
    last = rows[-1] if len(rows) == limit else None
    return Page([row.id for row in rows if row.prunable], None if last is None else (last.ended_at, last.id))


def delete_jobs(connection: Connection, before: float, ids: Sequence[str]) -> int:
    """Delete the jobs among these that ended before `before` and have no event; return how many.

    What they have used stays in the ledger. A job that another transaction holds, and that is not counted, stays, too.
    """
    usage.reconcile_jobs(connection, ids)
    ended_at = func.coalesce(jobs.c.ended_at, before)  # not the column: no index is to be searched for it
    conditions = (jobs.c.id.in_(ids), ended_at < before, _has_no_event(), jobs.c.usage_pending.is_(None))
    return connection.execute(delete(jobs).where(*conditions)).rowcount


def _is_finished(before: float) -> ColumnElement[bool]:
    recently_dead = and_(runs.c.state == RunState.DEAD, runs.c.finished_at >= before)
    stays = exists_for_row(runs.c.event_id == events.c.id, or_(runs.c.state.in_(OPEN_STATES), recently_dead))
    return and_(events.c.status == EventStatus.ACCEPTED, events.c.received_at < before, ~stays)


def _has_no_event() -> ColumnElement[bool]:
    return and_(jobs.c.state != JobState.UNKNOWN, ~exists_for_row(events.c.id == jobs.c.event_id))


EVENTS = Prunable("events", find_events, delete_events)
JOBS = Prunable("jobs", find_jobs, delete_jobs)
