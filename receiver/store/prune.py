"""Delete what is finished and old. Audio files are never touched: they are the user's.

Readers look for it, a page at a time from where the last page ended; the writer deletes it by id, in small
transactions. Each deletion checks again: an event may have been replayed since it was found.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, and_, delete, exists, literal, or_, select, tuple_

from receiver.model.ids import first_id_at
from receiver.store.schema import events, jobs, runs
from receiver.store.states import OPEN_STATES, EventStatus, JobState, RunState


class Page(NamedTuple):
    """Rows that were looked at.

    Attributes:
        ids: of those that may be deleted.
        after: where the next page begins; None after the last one.
    """

    ids: list[str]
    after: Any | None


@dataclass(frozen=True, slots=True)
class Prunable:
    """Rows of one kind that are deleted once they are old.

    Attributes:
        kind: a word for them.
        find: `(connection, before, after, most)` looks at up to `most` rows older than `before` (unix seconds), from
            `after` on; None is the beginning.
        delete: `(connection, before, ids)` deletes those that still may be; how many.
    """

    kind: str
    find: Callable[[Connection, float, Any | None, int], Page]
    delete: Callable[[Connection, float, Sequence[str]], int]


def newest_received_at(connection: Connection) -> float | None:
    """When the newest event was received, unix seconds; None if there is none."""
    newest = select(events.c.received_at).where(events.c.id > "").order_by(events.c.id.desc()).limit(1)
    at: float | None = connection.execute(newest).scalar()
    return at


def find_events(connection: Connection, before: float, after: str | None, most: int) -> Page:
    """Finished events, the oldest first, as `Prunable.find`.

    Open events are none, nor are those with dead letters newer than `before`, nor those in quarantine.
    """
    old = select(events.c.id, _is_over(before).label("goes"))
    old = old.where(events.c.id > (after or ""), events.c.id < first_id_at(before))  # ids sort by time
    rows = connection.execute(old.order_by(events.c.id).limit(most)).all()
    return Page([row.id for row in rows if row.goes], rows[-1].id if len(rows) == most else None)


def delete_events(connection: Connection, before: float, ids: Sequence[str]) -> int:
    """Delete those of these events that are over, with their runs, attempts and artifact rows; how many."""
    return connection.execute(delete(events).where(events.c.id.in_(ids), _is_over(before))).rowcount


def find_jobs(connection: Connection, before: float, after: tuple[float, str] | None, most: int) -> Page:
    """Ended jobs, the first ended first, as `Prunable.find`.

    One whose event is still here stays; so does one of which nobody knows what became of it: an operator has to look.
    """
    at = (jobs.c.ended_at, jobs.c.id)
    old = select(jobs.c.id, jobs.c.ended_at, _is_forgotten().label("goes")).where(jobs.c.ended_at < before)
    if after is not None:
        old = old.where(tuple_(*at) > tuple_(*(literal(value) for value in after)))
    rows = connection.execute(old.order_by(*at).limit(most)).all()
    last = rows[-1] if len(rows) == most else None
    return Page([row.id for row in rows if row.goes], None if last is None else (last.ended_at, last.id))


def delete_jobs(connection: Connection, before: float, ids: Sequence[str]) -> int:
    """Delete those of these jobs that still ended before `before` and have no event; how many."""
    which = (jobs.c.id.in_(ids), jobs.c.ended_at < before, _is_forgotten())
    return connection.execute(delete(jobs).where(*which)).rowcount


def _is_over(before: float) -> ColumnElement[bool]:
    recently_dead = and_(runs.c.state == RunState.DEAD, runs.c.finished_at >= before)
    stays = exists().where(runs.c.event_id == events.c.id, or_(runs.c.state.in_(OPEN_STATES), recently_dead))
    return and_(events.c.status == EventStatus.ACCEPTED, events.c.received_at < before, ~stays)


def _is_forgotten() -> ColumnElement[bool]:
    return and_(jobs.c.state != JobState.UNKNOWN, ~exists().where(events.c.id == jobs.c.event_id))


EVENTS = Prunable("events", find_events, delete_events)
JOBS = Prunable("jobs", find_jobs, delete_jobs)
