"""Create, watch, cancel and resume jobs in the store. Functions of a connection."""

from __future__ import annotations

import random
from typing import Any

from sqlalchemy import Connection

from receiver.engine.audit import ChangeRecorder
from receiver.engine.jobs.requests import JobRequest, build_request, characters_of, kind_of, request_of
from receiver.engine.jobs.source import JobSource
from receiver.errors import Conflict, ReceiverError
from receiver.model.audit import AuditOperation
from receiver.model.ids import is_submit_key, new_job_id, new_submit_key
from receiver.model.metadata import indexed_pairs
from receiver.providers.base import usable_word
from receiver.providers.pass_through import check_options
from receiver.providers.tasks import Task
from receiver.providers.types import Speech
from receiver.store import jobs, throttle_state
from receiver.store.jobs import NewJob, Row
from receiver.store.states import JobKind, JobState


class NotWatchable(ReceiverError):
    """A job cannot be watched; the message says why and what to do."""

    reason = "not_watchable"


def submit_job(connection: Connection, recorder: ChangeRecorder, job: NewJob) -> tuple[Row, bool]:
    """Store a job to be submitted, as `jobs.enqueue`. A loop of its source, in any process, submits it."""
    return jobs.enqueue(connection, job, lambda: recorder.add(connection, 1, job.id))


def new_job(source: JobSource, request: JobRequest, client_key: str | None, now: float, rng: random.Random) -> NewJob:
    """A job for `submit_job`.

    Args:
        client_key: an idempotency key: the same key with the same request is the same job. None always makes a new job.
            One that is a UUID v4 is also the key that the provider gets; for any other a new UUID is stored.
        now: unix seconds.
    """
    sent_as_it_is = client_key is not None and is_submit_key(client_key)
    return NewJob(
        id=new_job_id(now, rng.getrandbits(74)),
        source=source.name,
        request=request_of(request),
        kind=kind_of(request),
        submit_key=client_key if client_key is not None and sent_as_it_is else new_submit_key(rng.getrandbits(122)),
        client_key=client_key,
        now=now,
        deadline_at=now + source.schedule.deadline_seconds,
        indexed=indexed_pairs(request.metadata, source.metadata_keys),
        characters=characters_of(request),
        budget=source.budget,
    )


def is_new(watched: tuple[Row, bool]) -> int:
    """1 if `watch_job` has begun to watch the job."""
    return int(watched[1])


def is_found(row: Row | None) -> int:
    """1 if there is such a job."""
    return int(row is not None)


def check_request(source: JobSource, request: JobRequest) -> None:
    """Refuse what the provider would refuse or silently ignore, before anything is stored or sent.

    Raises:
        Invalid: names the value and what is supported instead.
    """
    if isinstance(request, Speech):
        check_options(source.provider.name, request.options, source.capabilities)
    build_request(source, request, new_submit_key(0))


def audit_operation(request: JobRequest) -> AuditOperation:
    """The name in the audit log of the change that submits a request."""
    return AuditOperation.SUBMIT_TASK if isinstance(request, Task) else AuditOperation.SPEAK


def describe_request(source: str, request: JobRequest) -> dict[str, Any]:
    """What the audit log says of a request: not its text, nor its body."""
    if isinstance(request, Task):
        return {"source": source, "path": request.path}
    return describe_speech(source, request)


def describe_speech(source: str, speech: Speech) -> dict[str, Any]:
    """What the audit log says of a speech: not its text, and of its options only the names."""
    options = {"options": sorted(speech.options)} if speech.options else {}
    return {"source": source, "voice": speech.voice, "model": speech.model, "characters": len(speech.text), **options}


def watch_job(
    connection: Connection,
    source: JobSource,
    job_id: str,
    now: float,
    rng: random.Random,
    kind: JobKind | None = None,
) -> tuple[Row, bool]:
    """Watch a job that was submitted elsewhere.

    It is polled at once: its webhook may have been lost.

    Args:
        kind: what it is, if that is known: only a task may end with other files than audio.

    Returns:
        The job's row, and whether it was not watched before.

    Raises:
        NotWatchable: `job_id` cannot be a job id.
    """
    _check_job_id(job_id)
    deadline_at = now + source.schedule.deadline_seconds
    id = new_job_id(now, rng.getrandbits(74))
    return jobs.watch(connection, id, source.name, job_id, now, now, deadline_at, kind)


def adopt_job(connection: Connection, source: JobSource, id: str, job_id: str, now: float) -> Row:
    """Watch an `unknown` job under the provider's id that an operator has found for it.

    Args:
        id: the receiver's id of the job.
        job_id: the provider's id.

    Raises:
        NotWatchable: `job_id` cannot be a job id, the job is not `unknown`, or another job has this `job_id`.
    """
    _check_job_id(job_id)
    row = jobs.adopt(connection, id, job_id, now, now + source.schedule.deadline_seconds)
    if row is None:
        raise NotWatchable(f"{id} cannot be watched as {job_id}: its state is not unknown, or another job has this id.")
    return row


def _check_job_id(job_id: str) -> None:
    if usable_word(job_id) is None:
        raise NotWatchable(f"{job_id!r} is not a job id: it is empty, too long, or has white space around it.")


def cancel_job(connection: Connection, id: str, now: float) -> Row | None:
    """Stop watching a job, or do not submit it. The provider continues it.

    Returns:
        The job's row, cancelled; None if there is no such job.

    Raises:
        Conflict: its state does not allow it (`reason` `too_late`).
    """
    done = jobs.cancel(connection, id, now)
    row = jobs.get(connection, id)
    if row is not None and not done:
        submitting = row["state"] == JobState.SUBMITTING
        why = (
            "it is being submitted; wait until the outcome is known" if submitting else f"it is already {row['state']}"
        )
        raise Conflict(f"The job {id} cannot be cancelled: {why}.", reason="too_late")
    return row


def poll_now(connection: Connection, row: Row, now: float) -> Row:
    """Make an open job due now and end its source's pause. For an operator who has fixed the cause.

    Raises:
        Conflict: the job is not open (`reason` `not_watched`).
    """
    if not jobs.poll_now(connection, row["id"], now):
        raise Conflict(f"The job {row['id']} is not being watched: it is {row['state']}.", reason="not_watched")
    throttle_state.resume(connection, row["source"])
    return row
