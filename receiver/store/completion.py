"""Where events and jobs meet: a job that we know has ended once an event that says so is dispatched.

Apart from both, because either can be first: the event of a job that nobody watched, or the job that is watched.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import Connection, select, update

from receiver.model.event import COMPLETED, TERMINAL
from receiver.store.schema import events, jobs
from receiver.store.states import EventStatus, JobState


class TerminalEvent(NamedTuple):
    """A dispatched event that says that a job has ended.

    Attributes:
        at: when it was received, unix seconds.
    """

    source: str
    job_id: str
    type: str
    event_id: str
    at: float


class WatchedJob(NamedTuple):
    """A job that is watched: its own id, and the provider's."""

    id: str
    source: str
    job_id: str


def final_state(type_: str) -> JobState:
    """The state of a job that an event of this type word ends."""
    return JobState.COMPLETED if type_ == COMPLETED else JobState.FAILED


def find_terminal_event(connection: Connection, source: str, job_id: str) -> TerminalEvent | None:
    """The first dispatched event that reported the job's end; None if none has yet.

    One in quarantine does not count: a poll that says the same takes it out.
    """
    statement = select(events.c.source, events.c.key, events.c.type, events.c.id, events.c.received_at).where(
        events.c.key == job_id,
        events.c.source == source,
        events.c.type.in_(sorted(TERMINAL)),
        events.c.status == EventStatus.ACCEPTED,
    )
    row = connection.execute(statement.order_by(events.c.id).limit(1)).first()
    return None if row is None else TerminalEvent(*row)


def complete_jobs(connection: Connection, ends: Sequence[TerminalEvent]) -> None:
    """End the watched jobs whose end these events report."""
    if not ends:
        return
    rows = connection.exec_driver_sql(_watched(len(ends)), tuple(end.job_id for end in ends)).all()
    if rows:
        complete_watched(connection, [WatchedJob(*row) for row in rows], ends)


def complete_watched(connection: Connection, watched: Iterable[WatchedJob], ends: Sequence[TerminalEvent]) -> None:
    """End those of these jobs whose end the events report."""
    told = {(end.source, end.job_id): end for end in reversed(ends)}  # of two in one batch the first counts
    for job in watched:
        end = told.get((job.source, job.job_id))
        if end is not None:
            connection.execute(update(jobs).where(jobs.c.id == job.id).values(**completion_values(end)))


def completion_values(end: TerminalEvent) -> dict[str, Any]:
    """What a job's row says once this event has reported its end."""
    return {
        "state": final_state(end.type),
        "ended_at": end.at,
        "event_id": end.event_id,
        "lease_until": None,
        "lease_owner": None,
        "error_code": None,
        "error": None,
    }


@lru_cache(maxsize=1024)
def _watched(ids: int) -> str:
    marks = ", ".join("?" * ids)
    return f"SELECT id, source, job_id FROM jobs WHERE job_id IN ({marks}) AND state = 'watching'"  # noqa: S608
