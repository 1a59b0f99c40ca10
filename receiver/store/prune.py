"""Forget what is finished and old. Audio files are never touched: they are the user's."""

from __future__ import annotations

from sqlalchemy import Connection, Select, delete, exists, func, select

from receiver.model.ids import first_id_at
from receiver.store.schema import events, jobs, runs
from receiver.store.states import OPEN_STATES, EventStatus, JobState, RunState

BATCH = 500
"""Rows removed in one transaction, so that the intake never waits long for the writer."""


def newest_received_at(connection: Connection) -> float | None:
    """When the newest event was received, unix seconds; None if there is none."""
    at: float | None = connection.execute(select(events.c.received_at).order_by(events.c.id.desc()).limit(1)).scalar()
    return at


def count_prunable(connection: Connection, before: float) -> int:
    """How many events `prune` would remove."""
    return int(connection.execute(select(func.count()).select_from(_prunable(before).subquery())).scalar_one())


def prune(connection: Connection, before: float) -> int:
    """Remove finished events received before `before` (unix seconds), with their runs, attempts and artifact rows.

    Open events stay, and so do those with dead letters newer than `before`. Those in quarantine are left to
    `quarantine.prune`.

    Returns:
        How many were removed; at most `BATCH`: call again until it is 0.
    """
    ids = list(connection.execute(_prunable(before).limit(BATCH)).scalars())
    if ids:
        connection.execute(delete(events).where(events.c.id.in_(ids)))
    return len(ids)


def prune_jobs(connection: Connection, before: float) -> int:
    """Remove jobs that ended before `before` (unix seconds) and whose event is no longer here.

    One of which nobody knows what became of it stays: a person has to look.

    Returns:
        How many were removed; at most `BATCH`: call again until it is 0.
    """
    told = exists().where(events.c.id == jobs.c.event_id)
    old = select(jobs.c.id).where(jobs.c.ended_at < before, jobs.c.state != JobState.UNKNOWN, ~told).limit(BATCH)
    ids = list(connection.execute(old).scalars())
    if ids:
        connection.execute(delete(jobs).where(jobs.c.id.in_(ids)))
    return len(ids)


def _prunable(before: float) -> Select[tuple[str]]:
    of_event = runs.c.event_id == events.c.id
    is_open = exists().where(of_event, runs.c.state.in_(OPEN_STATES))
    recently_dead = exists().where(of_event, runs.c.state == RunState.DEAD, runs.c.finished_at >= before)
    return select(events.c.id).where(
        events.c.id < first_id_at(before),  # ids sort by time: the index finds the old ones
        events.c.received_at < before,
        events.c.status == EventStatus.ACCEPTED,
        ~is_open,
        ~recently_dead,
    )
