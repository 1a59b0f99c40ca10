"""Jobs: enqueue, watch, find, list, cancel. Claims and the results of requests are in `store.job_leases`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, delete, insert, or_, select, update

from receiver.errors import ReceiverError
from receiver.model.budget import Budget, day_of, refusal
from receiver.model.json_body import same_json
from receiver.model.metadata import Pair
from receiver.store import usage
from receiver.store.completion import complete_job, find_terminal_event
from receiver.store.dialect import DIALECTS
from receiver.store.expressions import CheckedOnly
from receiver.store.schema import job_metadata, jobs
from receiver.store.states import OPEN_JOBS, JobKind, JobState

Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A job to submit.

    Attributes:
        request: the requested speech or task, as JSON values; `kind` says which.
        submit_key: the idempotency key that is sent to the provider.
        client_key: the idempotency key of our client's request; None if it had none.
        now: unix seconds; so is `deadline_at`.
        indexed: the pairs of its metadata by which lists find it.
        characters: of its text.
        budget: the source's; None for none.
    """

    id: str
    source: str
    request: Mapping[str, Any]
    submit_key: str
    client_key: str | None
    now: float
    deadline_at: float
    kind: JobKind = JobKind.SPEECH
    indexed: tuple[Pair, ...] = ()
    characters: int = 0
    budget: Budget | None = None


class ClientKeyReused(ReceiverError):
    """A client sent an idempotency key again with another request."""

    reason = "idempotency_key_reused"


# create


def enqueue(connection: Connection, new: NewJob, stored_now: Callable[[], None] = lambda: None) -> tuple[Row, bool]:
    """Store a job to submit.

    Args:
        stored_now: called if this transaction stores it; not if an earlier one has, whose answer was lost.

    Returns:
        Its row, and whether it is new: the same client key with the same request is the same job. A job that is stored
        again under its id is new.

    Raises:
        ClientKeyReused: the client key belongs to another request.
        BudgetExceeded: nothing is stored.
    """
    reservation = None
    if new.budget is not None:
        reservation = usage.reserve(connection, new.source, new.budget, new.characters, new.now)
    statement = DIALECTS[connection.dialect.name].insert(jobs).on_conflict_do_nothing()
    values = {
        "id": new.id,
        "source": new.source,
        "state": JobState.SUBMITTING,
        "created_at": new.now,
        "due_at": new.now,
        "deadline_at": new.deadline_at,
        "request": dict(new.request),
        "kind": new.kind,
        "submit_key": new.submit_key,
        "client_key": new.client_key,
        "characters": new.characters,
        **({"usage_pending": 1} if reservation is None else {"counted": reservation.counted}),
    }
    known: Row | None = None
    while known is None:  # again, if the other job was deleted before it was read
        stored = connection.execute(statement.returning(*jobs.c), values).first()
        if stored is not None:
            if reservation is not None:
                reservation.write(connection)
            if new.indexed:
                rows = [(new.id, *pair) for pair in new.indexed]
                DIALECTS[connection.dialect.name].events.insert_metadata(connection, job_metadata.name, rows)
            stored_now()
            return dict(stored._mapping), True
        known = find_one(connection, jobs.c.id == new.id)
        if known is not None:
            return known, True  # the answer to its commit was lost
        known = find_one(connection, jobs.c.client_key == new.client_key)
    if known["source"] != new.source or not same_json(known["request"], dict(new.request)):
        raise ClientKeyReused(
            f"This idempotency key belongs to another request, that of job {known['id']}. Use a new one."
        )
    return known, False


def watch(
    connection: Connection,
    id: str,
    source: str,
    job_id: str,
    now: float,
    first_at: float,
    deadline_at: float,
    kind: JobKind | None = None,
) -> tuple[Row, bool]:
    """Watch a job that was submitted elsewhere; watch a cancelled or expired one again.

    Args:
        id: our id for the job, if it is new.
        now: unix seconds; so are `first_at` and `deadline_at`.
        kind: what it is, if that is known. It is stored for a job that is watched already, too.

    Returns:
        Its row, and whether this call started to watch it. It may have ended already, if its event is stored.
    """
    hold_job_id(connection, job_id)
    known = find_held(connection, CheckedOnly(jobs.c.source) == source, jobs.c.job_id == job_id)
    again = known is not None and known["state"] in (JobState.CANCELLED, JobState.EXPIRED)
    values = {"state": JobState.WATCHING, **due_columns(first_at, now), "deadline_at": deadline_at}
    if known is None:
        row = {"id": id, "source": source, "job_id": job_id, "created_at": now, "usage_pending": 1, "kind": kind}
        connection.execute(insert(jobs).values(**row, **values))
    elif again:
        fresh = {"misses": 0, "ended_at": None, "event_id": None, "error": None, "error_code": None}
        connection.execute(update(jobs).where(jobs.c.id == known["id"]).values(**values, **fresh))
        id = known["id"]
    if known is not None and kind is not None and known["submit_key"] is None:
        connection.execute(update(jobs).where(jobs.c.id == known["id"]).values(kind=kind))
        known["kind"] = kind
    if known is not None and not again:
        return known, False
    complete_if_event_exists(connection, id, source, job_id)
    return get_existing(connection, id), True


def adopt(connection: Connection, id: str, job_id: str, now: float, deadline_at: float) -> Row | None:
    """Give an `unknown` job the provider's id that an operator has found, and watch it; None if that is not possible.

    A job that is already watched under this id is merged into this one.
    """
    hold_job_id(connection, job_id)
    row = find_held(connection, jobs.c.id == id, jobs.c.state == str(JobState.UNKNOWN))
    if row is None:
        return None
    other = find_held(connection, CheckedOnly(jobs.c.source) == row["source"], jobs.c.job_id == job_id)
    if other is not None and other["request"] is not None:
        return None
    if other is not None:
        usage.forget(connection, other)
        connection.execute(delete(jobs).where(jobs.c.id == other["id"]))
    fresh = {"state": JobState.WATCHING, "job_id": job_id, **due_columns(now, now), "deadline_at": deadline_at}
    cleared = {"ended_at": None, "error": None, "error_code": None}
    connection.execute(update(jobs).where(jobs.c.id == id).values(**fresh, **cleared))
    complete_if_event_exists(connection, id, row["source"], job_id)
    return get_existing(connection, id)


def hold_job_id(connection: Connection, job_id: str) -> None:
    """Let nobody else store an event of the job with this id of the provider, or watch it, until the transaction ends.

    Otherwise an event could be stored while the job is not yet watched, and the job be watched while the event is not
    yet stored: it would be watched for ever. Call it before anything that locks a row.
    """
    DIALECTS[connection.dialect.name].events.hold_keys(connection, [job_id])


def complete_if_event_exists(connection: Connection, id: str, source: str, job_id: str) -> None:
    """Complete a job if its terminal event is stored already. Its id must be held (`hold_job_id`)."""
    event = find_terminal_event(connection, source, job_id)
    if event is not None:
        complete_job(connection, id, event)


def require_budget(connection: Connection, new: NewJob) -> None:
    """Refuse what `enqueue` would refuse, as far as a reader can tell.

    A write that is refused is undone, and those that share its transaction are repeated: refusals must be rare there.

    Raises:
        BudgetExceeded: as `enqueue`.
    """
    if new.budget is None:
        return
    used = usage.read_day(connection, day_of(new.now), new.source)
    refused = refusal(new.budget, used, new.source, new.characters, new.now)
    if refused is None:
        return
    if new.client_key is None or find_one(connection, jobs.c.client_key == new.client_key) is None:
        raise refused


# operations


def poll_now(connection: Connection, id: str, now: float) -> bool:
    """Make an open job due now; False if it is not open."""
    statement = update(jobs).where(jobs.c.id == id, jobs.c.state.in_(OPEN_JOBS))
    return bool(connection.execute(statement.values(due_columns(now, now))).rowcount == 1)


def cancel(connection: Connection, id: str, now: float) -> bool:
    """Stop watching a job, or do not submit it; False if it is too late. The provider's job is not cancelled.

    A job whose submit may have reached the provider cannot be cancelled until the outcome is known. An operator who
    has checked that the provider has no such job can cancel an `unknown` one.
    """
    waiting = (jobs.c.state == "submitting") & jobs.c.lease_until.is_(None) & (jobs.c.submits == 0)
    statement = update(jobs).where(jobs.c.id == id, or_(jobs.c.state.in_(["watching", "unknown"]), waiting))
    values = {
        "state": JobState.CANCELLED,
        "lease_until": None,
        "lease_owner": None,
        "ended_at": now,
        "usage_pending": 1,
    }
    return bool(connection.execute(statement.values(values)).rowcount == 1)


def is_task(connection: Connection, source: str, job_id: str) -> bool:
    """Whether the provider's job with this id was submitted as a task."""
    named = select(jobs.c.kind).where(CheckedOnly(jobs.c.source) == source, jobs.c.job_id == job_id)
    return connection.execute(named).scalar() == JobKind.TASK


def get(connection: Connection, id: str) -> Row | None:
    """The row of a job by our id."""
    return find_one(connection, jobs.c.id == id)


def find(connection: Connection, reference: str, source: str | None = None) -> list[Row]:
    """Jobs by our id or the provider's: several if more than one source has this id."""
    found = {}
    for named in (jobs.c.id == reference, jobs.c.job_id == reference):
        for row in connection.execute(select(jobs).where(named)):
            if source is None or row.source == source:
                found[row.id] = dict(row._mapping)
    return sorted(found.values(), key=itemgetter("source"))


def due_columns(at: float, now: float) -> Row:
    """The columns of a job that is due at `at`, unix seconds as `now`. A due time further ahead than `wait_seconds` was
    set by another clock (`store.clocks`)."""
    return {"due_at": at, "wait_seconds": max(0.0, at - now)}


def kind_of(row: Mapping[str, Any]) -> JobKind | None:
    """What a job is, by its columns; None for one that was submitted elsewhere, unless its watcher knows it."""
    if row["kind"] is None:
        return None if row["submit_key"] is None else JobKind.SPEECH
    return JobKind(row["kind"])


def find_one(connection: Connection, *conditions: Any) -> Row | None:
    """The first row that meets the conditions; None if there is none."""
    row = connection.execute(select(jobs).where(*conditions)).first()
    return None if row is None else dict(row._mapping)


def find_held(connection: Connection, *conditions: Any) -> Row | None:
    """`find_one`, whose row no other transaction changes until the end of this one."""
    row = connection.execute(select(jobs).where(*conditions).with_for_update()).first()
    return None if row is None else dict(row._mapping)


def get_existing(connection: Connection, id: str) -> Row:
    """The row of a job that must exist."""
    row = find_one(connection, jobs.c.id == id)
    if row is None:
        raise LookupError(id)
    return row
