"""Leases of jobs: claim a job to submit or poll it, then write what became of the request.

A claim increments the row's `claim`, which is the fencing token: every later write checks it, and has no effect if
another process has claimed the job since. A row with a lease is being submitted or polled.

A result may be written twice, if the answer to its first commit was lost: counts are those of the claim plus one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, or_, select, update

from receiver.model.charge import NO_CHARGE, Charge
from receiver.model.printable import storable
from receiver.store import usage
from receiver.store.completion import completion_values
from receiver.store.expressions import CheckedOnly
from receiver.store.jobs import (
    Row,
    complete_if_event_exists,
    due_columns,
    find_held,
    find_one,
    get_existing,
    hold_job_id,
    kind_of,
)
from receiver.store.leases import FREE, Lease
from receiver.store.schema import jobs
from receiver.store.states import OPEN_JOBS, JobKind, JobState

IS_OPEN = jobs.c.state.in_(bindparam("open", [str(state) for state in OPEN_JOBS], expanding=True, literal_execute=True))
"""Written out in the statement: SQLite uses the index of open jobs only if it contains the index's condition."""


@dataclass(frozen=True, slots=True)
class JobClaim:
    """A job that no other process submits or polls until its lease expires.

    Attributes:
        id: our id.
        job_id: the provider's id; None while the job is being submitted.
        claim: the fencing token.
        submits: earlier submit requests, without those that were certainly refused.
        polls: earlier polls.
        misses: consecutive polls, before this one, to which the provider responded that it does not know the job.
        created_at: unix seconds; so is `deadline_at`.
        submitted_at: when the provider returned its id, unix seconds; None for a job that was submitted elsewhere.
        error_code: the error of the last request; None if it succeeded.
        request: the speech or task to submit, as JSON values; None for a job that was submitted elsewhere.
        submit_key: the idempotency key to submit it with.
        streamed: whether it was submitted as a stream, without the key.
        polled_at: when a poll last found that it was running, unix seconds; None if none did.
        kind: what the request is; None for a job that was submitted elsewhere.
    """

    id: str
    source: str
    job_id: str | None
    state: JobState
    claim: int
    submits: int
    polls: int
    misses: int
    created_at: float
    deadline_at: float
    submitted_at: float | None = None
    error_code: str | None = None
    request: Mapping[str, Any] | None = None
    submit_key: str | None = None
    streamed: bool = False
    polled_at: float | None = None
    kind: JobKind | None = None

    @property
    def characters(self) -> int | None:
        """The length of the text; None if it is unknown."""
        text = (self.request or {}).get("text")
        return len(text) if isinstance(text, str) else None

    @property
    def allowed_seconds(self) -> float:
        """How many seconds the job may take in all."""
        return self.deadline_at - self.created_at


def claim(
    connection: Connection,
    source: str,
    limit: int,
    now: float,
    lease: Lease,
    states: Sequence[JobState] = OPEN_JOBS,
) -> list[JobClaim]:
    """Claim a source's due jobs: first those to submit, then those to poll, each in the order in which they are due."""
    found: list[Any] = []
    for state in states:
        if len(found) < limit:
            free = or_(jobs.c.lease_until.is_(None), jobs.c.lease_until < now)
            due = select(jobs).where(
                jobs.c.source == source, IS_OPEN, jobs.c.state == str(state), jobs.c.due_at <= now, free
            )  # fmt: skip
            due = due.order_by(jobs.c.due_at).limit(limit - len(found)).with_for_update(skip_locked=True)
            found += connection.execute(due).all()
    return _claimed(connection, found, lease)


def claim_new(connection: Connection, id: str, now: float, lease: Lease) -> JobClaim | None:
    """Claim a job that this process has just stored; None if another one was faster, or it was cancelled.

    A claim of this owner is the one of an earlier commit, whose answer was lost.
    """
    free = or_(jobs.c.lease_until.is_(None), jobs.c.lease_until < now, jobs.c.lease_owner == lease.owner)
    new = select(jobs).where(jobs.c.id == id, jobs.c.state == str(JobState.SUBMITTING), jobs.c.submits == 0, free)
    return next(iter(_claimed(connection, connection.execute(new.with_for_update()).all(), lease)), None)


def claim_named(
    connection: Connection, source: str, job_ids: Sequence[str], now: float, lease: Lease
) -> list[JobClaim]:
    """Claim the source's watched jobs that have these ids of the provider, whether or not they are due."""
    if not job_ids:
        return []
    free = or_(jobs.c.lease_until.is_(None), jobs.c.lease_until < now)
    named = select(jobs).where(jobs.c.source == source, jobs.c.job_id.in_(job_ids), jobs.c.state == "watching", free)
    return _claimed(connection, connection.execute(named.with_for_update(skip_locked=True)).all(), lease)


def _claimed(connection: Connection, found: Sequence[Any], lease: Lease) -> list[JobClaim]:
    if found:
        statement = update(jobs).where(jobs.c.id.in_([row.id for row in found]))
        connection.execute(statement.values(claim=jobs.c.claim + 1, lease_until=lease.until, lease_owner=lease.owner))
    return [
        JobClaim(
            id=row.id,
            source=row.source,
            job_id=row.job_id,
            state=JobState(row.state),
            claim=row.claim + 1,
            submits=row.submits,
            polls=row.polls,
            misses=row.misses,
            created_at=row.created_at,
            deadline_at=row.deadline_at,
            submitted_at=row.submitted_at,
            error_code=row.error_code,
            request=row.request,
            submit_key=row.submit_key,
            streamed=bool(row.streamed),
            polled_at=row.polled_at,
            kind=kind_of(row._mapping),
        )
        for row in found
    ]


def release_unknown(connection: Connection, source: str, known: Collection[str], owner: str) -> int:
    """Release the source's jobs that this owner holds without knowing it: the answer to a commit was lost.

    Args:
        known: our ids of the jobs that it works on.

    Returns:
        How many were released. They are due as before.
    """
    held = select(jobs.c.id).where(
        jobs.c.source == source, jobs.c.lease_until.is_not(None), jobs.c.lease_owner == owner
    )
    unknown = [id for (id,) in connection.execute(held.with_for_update()) if id not in known]
    if unknown:
        connection.execute(update(jobs).where(jobs.c.id.in_(unknown)).values(FREE))
    return len(unknown)


def next_due(connection: Connection, source: str, states: Sequence[JobState] = OPEN_JOBS) -> float | None:
    """When the source's next job in these states can be claimed, unix seconds, regardless of pauses; None for none."""
    times = [
        connection.execute(
            select(func.min(jobs.c.due_at)).where(
                jobs.c.source == source, IS_OPEN, jobs.c.state == str(state), jobs.c.lease_until.is_(None)
            )
        ).scalar()
        for state in states
    ]
    held = select(func.min(jobs.c.lease_until)).where(jobs.c.source == source, jobs.c.lease_until.is_not(None))
    times.append(connection.execute(held).scalar())
    return min((at for at in times if at is not None), default=None)


# results of requests


def release(connection: Connection, claimed: JobClaim, at: float, now: float) -> bool:
    """End a claim without a request; the job is due at `at`, unix seconds. False if another process has claimed it."""
    return _write(connection, claimed, due_columns(at, now) | FREE)


def reschedule(
    connection: Connection,
    claimed: JobClaim,
    at: float,
    now: float,
    *,
    misses: int = 0,
    progress: int | None = None,
    code: str | None = None,
    error: str | None = None,
) -> bool:
    """Record a poll of a job that has not ended; poll again at `at`, unix seconds. False as for `release`."""
    polled: Row = {
        "polls": claimed.polls + 1,
        "misses": misses,
        "progress": progress,
        "error_code": code,
        "error": None if error is None else storable(error),
    }
    if error is None:
        polled["polled_at"] = now
    return _write(connection, claimed, polled | due_columns(at, now) | FREE)


def begin_submit(connection: Connection, claimed: JobClaim, *, streamed: bool = False) -> bool:
    """Record that the submit request is about to be sent: it counts from this commit on. False as for `release`.

    Args:
        streamed: whether it is submitted as a stream: if the outcome is lost, nobody may repeat it.
    """
    values: Row = {"submits": claimed.submits + 1}
    return _write(connection, claimed, values | {"streamed": 1} if streamed else values)


def reschedule_submit(
    connection: Connection, claimed: JobClaim, at: float, now: float, code: str, error: str, *, refused: bool
) -> bool:
    """Submit again at `at`, unix seconds. False as for `release`.

    Args:
        refused: the provider has certainly not accepted the job, so the request does not count. Otherwise the same
            idempotency key ensures that there is only one job.
    """
    submits = claimed.submits + int(not refused)
    values: Row = {"submits": submits, "error_code": code, "error": storable(error)}
    if refused:
        values["streamed"] = int(claimed.streamed)
    return _write(connection, claimed, values | due_columns(at, now) | FREE)


def mark_submitted(
    connection: Connection,
    claimed: JobClaim,
    job_id: str,
    now: float,
    first_at: float,
    deadline_at: float,
    charge: Charge = NO_CHARGE,
) -> Row | None:
    """Record that the provider accepted the job under this id, and watch it. None if another process has claimed it.

    A job that is already watched under this id is merged into this one. If that job was submitted here as well, two
    requests have one job of the provider: it stays, and this one fails. What was recorded at `now` already is not
    changed.
    """
    hold_job_id(connection, job_id)
    if find_held(connection, *_claim_conditions(claimed)) is None:
        return find_one(connection, jobs.c.id == claimed.id, jobs.c.submitted_at == now)
    values: Row = {"submitted_at": now, "error_code": None, "usage_pending": 1} | charge.columns() | FREE
    other = find_held(connection, CheckedOnly(jobs.c.source) == claimed.source, jobs.c.job_id == job_id)
    if other is not None and other["request"] is not None:
        message = f"The provider returned the id of another job that was submitted here, {other['id']}: {job_id}."
        values |= {"state": JobState.FAILED, "ended_at": now, "error_code": "same_job", "error": message}
    else:
        if other is not None:
            usage.forget(connection, other)
            connection.execute(delete(jobs).where(jobs.c.id == other["id"]))
        values |= {"state": JobState.WATCHING, "job_id": job_id, **due_columns(first_at, now), "error": None}
        values["deadline_at"] = deadline_at
    _write(connection, claimed, values)
    if other is None or other["request"] is None:
        complete_if_event_exists(connection, claimed.id, claimed.source, job_id)
    return get_existing(connection, claimed.id)


def mark_not_submitted(
    connection: Connection, claimed: JobClaim, state: JobState, now: float, code: str, error: str
) -> bool:
    """End a job that was not submitted (`failed`), or may have been (`unknown`). False as for `release`."""
    values = {"state": state, "ended_at": now, "error_code": code, "error": storable(error), "usage_pending": 1}
    return _write(connection, claimed, values | FREE)


def complete(
    connection: Connection,
    claimed: JobClaim,
    state: JobState,
    now: float,
    event_id: str,
    charge: Charge = NO_CHARGE,
    *,
    polls: int,
) -> bool:
    """Complete a watched job whose end `event_id` reports. False as for `release`.

    Args:
        polls: 1 if a poll reported the end, 0 at the deadline.
    """
    values = completion_values(state, now, event_id, charge) | {"polls": claimed.polls + polls}
    return _write(connection, claimed, values)


def was_completed_by_event(connection: Connection, claimed: JobClaim, event_id: str) -> bool:
    """Whether another event has completed the claimed job meanwhile, or this one in a commit without an answer."""
    row = find_one(connection, jobs.c.id == claimed.id, jobs.c.claim == claimed.claim)
    return row is not None and (row["event_id"] == event_id or row["state"] in (JobState.COMPLETED, JobState.FAILED))


def set_event(connection: Connection, id: str, event_id: str) -> None:
    """Set the event that reported a job's end."""
    connection.execute(update(jobs).where(jobs.c.id == id).values(event_id=event_id))


def _claim_conditions(claimed: JobClaim) -> tuple[Any, ...]:
    return jobs.c.id == claimed.id, jobs.c.claim == claimed.claim, jobs.c.state == str(claimed.state)


def _write(connection: Connection, claimed: JobClaim, values: Row) -> bool:
    return bool(connection.execute(update(jobs).where(*_claim_conditions(claimed)).values(values)).rowcount == 1)
