"""Begin jobs: write down that one is to be submitted, or that one is to be watched. Functions of a connection."""

from __future__ import annotations

import random
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection

from receiver.engine.jobs.source import JobSource
from receiver.errors import Conflict, ReceiverError
from receiver.model.ids import new_job_id, new_submit_key
from receiver.providers.base import usable_word
from receiver.providers.protocols import require_submitting
from receiver.providers.types import Speech
from receiver.store import jobs, throttle_state
from receiver.store.jobs import NewJob, Row
from receiver.store.states import JobState


class NotWatchable(ReceiverError):
    """A job cannot be watched; the message says why and what to do."""

    reason = "not_watchable"


def submit_job(
    connection: Connection, source: JobSource, speech: Speech, client_key: str | None, now: float, rng: random.Random
) -> tuple[Row, bool]:
    """Write down that a speech is to be submitted; a loop of this source, in whatever process, does it.

    Args:
        client_key: the same key with the same speech is the same job; None for a job of its own.
        now: unix seconds.

    Returns:
        The job's row, and whether it is new.

    Raises:
        ClientKeyReused: the key came with another speech before.
    """
    new = NewJob(
        id=new_job_id(now, rng.getrandbits(74)),
        source=source.name,
        request=request_of(speech),
        submit_key=new_submit_key(rng.getrandbits(122)),
        client_key=client_key,
        now=now,
        deadline_at=now + source.schedule.deadline_seconds,
    )
    return jobs.enqueue(connection, new)


def check_speech(source: JobSource, speech: Speech) -> None:
    """Refuse what the provider would refuse, or pass over in silence, before anything is written down or sent.

    Raises:
        Invalid: says what, and what there is instead.
    """
    require_submitting(source.provider).submit_request(source.account, speech, new_submit_key(0))


def request_of(speech: Speech) -> dict[str, Any]:
    """The speech as JSON values, without what is left to the service."""
    return {name: value for name, value in asdict(speech).items() if value is not None}


def watch_job(
    connection: Connection, source: JobSource, job_id: str, now: float, rng: random.Random
) -> tuple[Row, bool]:
    """Watch a job that was submitted elsewhere.

    Named by somebody means "tell me now": it is polled at once; a webhook that may have been lost is not waited for.

    Returns:
        The job's row, and whether it was not watched before.

    Raises:
        NotWatchable: the id is none.
    """
    if usable_word(job_id) is None:
        raise NotWatchable(f"{job_id!r} is no job id: it is empty, too long, or has white space around it.")
    deadline_at = now + source.schedule.deadline_seconds
    return jobs.watch(connection, new_job_id(now, rng.getrandbits(74)), source.name, job_id, now, now, deadline_at)


def adopt_job(connection: Connection, source: JobSource, id: str, job_id: str, now: float) -> Row:
    """Watch the job that a person has found for one of which nobody could say whether it was submitted.

    Args:
        id: ours, of the job that is `unknown`.
        job_id: the provider's.

    Raises:
        NotWatchable: the id is none, the job is not `unknown`, or the provider's id is that of another one.
    """
    if usable_word(job_id) is None:
        raise NotWatchable(f"{job_id!r} is no job id: it is empty, too long, or has white space around it.")
    row = jobs.adopt(connection, id, job_id, now, now + source.schedule.deadline_seconds)
    if row is None:
        raise NotWatchable(f"{id} cannot be watched as {job_id}: it is not unknown, or that is another job's id.")
    return row


def cancel_job(connection: Connection, id: str, now: float) -> Row | None:
    """Watch a job no longer, or do not submit it. It goes on at the provider.

    Returns:
        The job's row, cancelled; None if there is no such job.

    Raises:
        Conflict: its state does not allow it (`reason` `too_late`).
    """
    done = jobs.cancel(connection, id, now)
    row = jobs.get(connection, id)
    if row is not None and not done:
        being = row["state"] == JobState.SUBMITTING
        why = "it is being submitted; wait until the outcome is known" if being else f"it is {row['state']}"
        raise Conflict(f"The job {id} cannot be cancelled: {why}.", reason="too_late")
    return row


def poll_now(connection: Connection, row: Row, now: float) -> None:
    """Make an open job due, and lift its source's pause: the caller has fixed what was wrong.

    Raises:
        Conflict: it is not open (`reason` `not_watched`).
    """
    if not jobs.poll_now(connection, row["id"], now):
        raise Conflict(f"The job {row['id']} is not being watched: it is {row['state']}.", reason="not_watched")
    throttle_state.resume(connection, row["source"])
