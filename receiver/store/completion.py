"""Completes watched jobs: a job ends when an event that reports its end is dispatched.

Separate from events and jobs, because either can be stored first.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, select, update

from receiver.model.charge import NO_CHARGE, Charge, read_charge
from receiver.model.event import COMPLETED, TERMINAL
from receiver.store.schema import events, jobs
from receiver.store.states import EventStatus, JobState

_IS_WATCHED = jobs.c.state == str(JobState.WATCHING)


class TerminalEvent(NamedTuple):
    """A dispatched event that reports the end of a job.

    Attributes:
        at: when it was received, unix seconds.
        payload: the event's, or its JSON text.
    """

    source: str
    job_id: str
    type: str
    event_id: str
    at: float
    payload: Mapping[str, Any] | str


TERMINAL_COLUMNS = (
    events.c.source, events.c.key, events.c.type, events.c.id, events.c.received_at, events.c.payload,
)  # fmt: skip
"""The columns of an event for a `TerminalEvent`."""


class WatchedJob(NamedTuple):
    """A watched job: our id, its source, and the provider's id."""

    id: str
    source: str
    job_id: str


def final_state(type_: str) -> JobState:
    """The state of a job whose end an event of this type reports."""
    return JobState.COMPLETED if type_ == COMPLETED else JobState.FAILED


def find_terminal_event(connection: Connection, source: str, job_id: str) -> TerminalEvent | None:
    """The first dispatched event that reported the job's end; None if there is none.

    An event in quarantine does not count; a poll that reports the same end releases it.
    """
    statement = select(*TERMINAL_COLUMNS).where(
        events.c.key == job_id,
        events.c.source == source,
        events.c.type.in_(sorted(TERMINAL)),
        events.c.status == EventStatus.ACCEPTED,
    )
    row = connection.execute(statement.order_by(events.c.id).limit(1)).first()
    return None if row is None else TerminalEvent(*row)


def complete_jobs(connection: Connection, outcomes: Sequence[TerminalEvent]) -> None:
    """Complete the watched jobs whose end these events report."""
    if not outcomes:
        return
    ids = [event.job_id for event in outcomes]
    watched = select(jobs.c.id, jobs.c.source, jobs.c.job_id).where(jobs.c.job_id.in_(ids), _IS_WATCHED)
    rows = connection.execute(watched).all()
    if rows:
        complete_watched(connection, [WatchedJob(*row) for row in rows], outcomes)


def complete_watched(connection: Connection, watched: Iterable[WatchedJob], outcomes: Sequence[TerminalEvent]) -> None:
    """Complete the jobs among these whose end the events report."""
    # Of two events for one job in a batch, the first counts.
    by_job = {(event.source, event.job_id): event for event in reversed(outcomes)}
    for job in watched:
        event = by_job.get((job.source, job.job_id))
        if event is not None:
            complete_job(connection, job.id, event)


def complete_job(connection: Connection, id: str, event: TerminalEvent) -> None:
    """Complete the watched job with this id (ours) as the event reports."""
    payload = json.loads(event.payload) if isinstance(event.payload, str) else event.payload
    values = completion_values(final_state(event.type), event.at, event.event_id, read_charge(payload))
    connection.execute(update(jobs).where(jobs.c.id == id, _IS_WATCHED).values(**values))


def completion_values(
    state: JobState, ended_at: float, event_id: str, charge: Charge = NO_CHARGE
) -> dict[str, Any]:  # fmt: skip
    """The columns of a job that has ended; `ended_at` in unix seconds."""
    return {
        **charge.columns(),
        "usage_pending": 1,
        "state": state,
        "ended_at": ended_at,
        "event_id": event_id,
        "lease_until": None,
        "lease_owner": None,
        "error_code": None,
        "error": None,
    }
