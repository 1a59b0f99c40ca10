"""Watched jobs in SQL: claimed like runs, with a lease and a fencing token; a source's pause is everybody's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, case, func, insert, or_, select, update

from receiver.store.schema import JobState, jobs, source_state


@dataclass(frozen=True, slots=True)
class JobClaim:
    """A job that nobody else polls until its lease ends.

    Attributes:
        claim: the fencing token.
        polls: polls before this one.
        misses: polls in a row, before this one, to which the provider said it does not know the job.
        watched_at: unix seconds; so is `deadline_at`.
    """

    source: str
    job_id: str
    claim: int
    polls: int
    misses: int
    watched_at: float
    deadline_at: float


def watch(connection: Connection, source: str, job_id: str, now: float, first_at: float, deadline_at: float) -> bool:
    """Begin to watch a job; False if it is known already. Times are unix seconds."""
    known = connection.execute(select(jobs.c.state).where(jobs.c.source == source, jobs.c.job_id == job_id)).first()
    if known is not None:
        return False
    connection.execute(
        insert(jobs).values(
            source=source,
            job_id=job_id,
            state=JobState.WATCHING,
            watched_at=now,
            next_poll_at=first_at,
            deadline_at=deadline_at,
        )
    )
    return True


def claim(connection: Connection, source: str, most: int, now: float, lease_until: float) -> list[JobClaim]:
    """Claim due jobs of a source that is not paused, the longest due first."""
    if pause_until(connection, source) > now:
        return []
    due = (
        select(jobs.c.job_id)
        .where(
            jobs.c.source == source,
            jobs.c.state == "watching",
            jobs.c.next_poll_at <= now,
            or_(jobs.c.lease_until.is_(None), jobs.c.lease_until < now),
        )
        .order_by(jobs.c.next_poll_at)
        .limit(most)
    )
    statement = (
        update(jobs)
        .where(jobs.c.source == source, jobs.c.job_id.in_(due.scalar_subquery()))
        .values(claim=jobs.c.claim + 1, lease_until=lease_until)
        .returning(
            jobs.c.source,
            jobs.c.job_id,
            jobs.c.claim,
            jobs.c.polls,
            jobs.c.misses,
            jobs.c.watched_at,
            jobs.c.deadline_at,
        )
    )
    return [JobClaim(*row) for row in connection.execute(statement)]


def next_due(connection: Connection, source: str) -> float | None:
    """When the source's next job can be claimed, unix seconds; None if none is watched."""
    free_at = case((jobs.c.lease_until > jobs.c.next_poll_at, jobs.c.lease_until), else_=jobs.c.next_poll_at)
    earliest: float | None = connection.execute(
        select(func.min(free_at)).where(jobs.c.source == source, jobs.c.state == "watching")
    ).scalar()
    return None if earliest is None else max(earliest, pause_until(connection, source))


def reschedule(
    connection: Connection,
    claimed: JobClaim,
    at: float,
    *,
    polled: bool,
    misses: int = 0,
    progress: int | None = None,
    error: str | None = None,
) -> bool:
    """Poll again at `at` (unix seconds); False if somebody else has claimed the job since.

    Args:
        polled: whether the provider was asked; not so where the source was paused before its turn.
    """
    values: dict[str, Any] = {"next_poll_at": at, "lease_until": None}
    if polled:
        values |= {"polls": jobs.c.polls + 1, "progress": progress, "error": error, "misses": misses}
    return _write(connection, claimed, values)


def end(connection: Connection, claimed: JobClaim, state: JobState, now: float, event_id: str, *, polled: bool) -> bool:
    """The job has ended, as `event_id` says; False if somebody else has claimed it since.

    Args:
        polled: whether the provider was asked; not so where its webhook was first, or at the deadline.
    """
    return _write(
        connection,
        claimed,
        {
            "state": state,
            "polls": jobs.c.polls + int(polled),
            "lease_until": None,
            "ended_at": now,
            "event_id": event_id,
            "error": None,
        },
    )


def _write(connection: Connection, claimed: JobClaim, values: dict[str, Any]) -> bool:
    statement = update(jobs).where(
        jobs.c.source == claimed.source,
        jobs.c.job_id == claimed.job_id,
        jobs.c.claim == claimed.claim,
        jobs.c.state == "watching",
    )
    return bool(connection.execute(statement.values(values)).rowcount == 1)


def point_to(connection: Connection, source: str, job_id: str, event_id: str) -> None:
    """The job's end was told by this event, which was there before."""
    connection.execute(update(jobs).where(jobs.c.source == source, jobs.c.job_id == job_id).values(event_id=event_id))


def poll_now(connection: Connection, source: str, job_id: str, now: float) -> bool:
    """Make a watched job due; False if it is not being watched."""
    statement = update(jobs).where(jobs.c.source == source, jobs.c.job_id == job_id, jobs.c.state == "watching")
    return bool(connection.execute(statement.values(next_poll_at=now)).rowcount == 1)


def cancel(connection: Connection, source: str, job_id: str, now: float) -> bool:
    """Watch the job no longer; False if it was not being watched. It goes on at the provider."""
    statement = (
        update(jobs)
        .where(jobs.c.source == source, jobs.c.job_id == job_id, jobs.c.state == "watching")
        .values(state=JobState.CANCELLED, lease_until=None, ended_at=now)
    )
    return bool(connection.execute(statement).rowcount == 1)


def pause(connection: Connection, source: str, until: float, reason: str) -> None:
    """Let nobody poll the source before `until`, unix seconds; a longer pause stays."""
    found = connection.execute(select(source_state.c.pause_until).where(source_state.c.source == source)).scalar()
    if found is None:
        connection.execute(insert(source_state).values(source=source, pause_until=until, reason=reason))
    elif until > found:
        statement = update(source_state).where(source_state.c.source == source)
        connection.execute(statement.values(pause_until=until, reason=reason))


def pause_until(connection: Connection, source: str) -> float:
    """Until when the source is paused, unix seconds; 0 if it is not."""
    return float(
        connection.execute(select(source_state.c.pause_until).where(source_state.c.source == source)).scalar() or 0.0
    )


def get(connection: Connection, source: str, job_id: str) -> dict[str, Any] | None:
    """The job's row."""
    row = connection.execute(select(jobs).where(jobs.c.source == source, jobs.c.job_id == job_id)).first()
    return None if row is None else dict(row._mapping)


def list_jobs(
    connection: Connection, source: str | None, states: Sequence[str] | None, limit: int
) -> list[dict[str, Any]]:
    """Jobs, the last watched first."""
    statement = select(jobs)
    if source is not None:
        statement = statement.where(jobs.c.source == source)
    if states is not None:
        statement = statement.where(jobs.c.state.in_(states))
    rows = connection.execute(statement.order_by(jobs.c.watched_at.desc()).limit(limit))
    return [dict(row._mapping) for row in rows]
