"""Sentences about a job: how it ended, why it does not proceed, and how to resume it."""

from __future__ import annotations

import re

from receiver.engine.jobs.submitting import NOT_SENT
from receiver.model.event import Event, JobFailed
from receiver.model.timestamps import utc_text
from receiver.store.jobs import Row
from receiver.store.rate_buckets import LIMIT_USED_UP
from receiver.store.states import OPEN_JOBS, JobKind, JobState
from receiver.store.throttle_state import ThrottleState

ACCOUNT_ERRORS = frozenset({"provider_unauthorized", "provider_credits"})
"""Refusals that concern the account: every further submit would be refused too."""


def failure_reason(row: Row, event: Event | None) -> str:
    """The reason why a job that has ended has no audio.

    Args:
        event: the event of its end; None if there is none.
    """
    source, id, state = row["source"], row["id"], row["state"]
    if state == JobState.CANCELLED:
        return f"The job {id} was cancelled: it is no longer watched."
    if isinstance(event, JobFailed):
        message = ": ".join(filter(None, (event.code, event.message))) or "no reason given"
        if state == JobState.EXPIRED:
            return (
                f"The job {id} was given up ({message}). If {source} still completes it: "
                f"`tts-receiver jobs watch --source {source} {row['job_id']}`, then `tts-receiver speech --job {id}`."
            )
        what = "do the task" if row["kind"] == JobKind.TASK else "make the audio"
        return f"{source} failed to {what} ({message}). The job is {id}, its id at {source} {row['job_id']}."
    message = row["error"] or f"The job {id} is {state}."
    if state == JobState.UNKNOWN:
        return f"The job {id} is unknown: {message}"
    of_voice = row["kind"] != JobKind.TASK and re.search(r"\bvoice", message, re.IGNORECASE)
    if row["error_code"] == "provider_invalid" and of_voice and "tts-receiver voices" not in message:
        return f"{message} `tts-receiver voices --source {source}` lists them."
    return str(message)


def stall_reason(row: Row, pause: ThrottleState | None) -> str | None:
    """The reason why an open job does not proceed now; None if none is known."""
    if row["state"] not in OPEN_JOBS:
        return None
    until = utc_text(row["deadline_at"])
    if row["error"] is not None and row["state"] == JobState.SUBMITTING:
        if row["error_code"] in NOT_SENT:
            return f"No connection: {row['error']} Nothing was sent yet; retries continue until {until}."
        return f"{row['error']} Retries continue until {until}."
    if pause is not None and pause.why == LIMIT_USED_UP:
        return f"The rate limit of the source {row['source']} is used up until {utc_text(pause.pause_until)}."
    if pause is not None:
        return (
            f"The source {row['source']} is paused until {utc_text(pause.pause_until)} ({pause.why}). Once the cause "
            f"is fixed, `tts-receiver jobs poll {row['id']}` ends the pause."
        )
    if row["error"] is not None:
        return f"{row['error']} Polling continues until {until}."
    return None


def resume_hint(row: Row) -> str:
    """The state of a job whose result is no longer awaited, and the commands to resume, inspect and cancel it."""
    id, state = row["id"], row["state"]
    if state == JobState.SUBMITTING and not row["submits"]:
        status = "is stored but not submitted yet; a running receiver submits it, or the next `speech`"
    elif state == JobState.SUBMITTING:
        status = "may have been submitted; a running receiver finds out, or the next `speech`"
    elif state == JobState.COMPLETED:
        status = f"is completed, and its {'files' if row['kind'] == JobKind.TASK else 'audio'} can be fetched"
    else:
        status = f"continues at {row['source']}"
    return (
        f"The job {id} {status}. To wait for it and save it: `tts-receiver speech --job {id}`; "
        f"to inspect it: `tts-receiver jobs show {id}`; to stop watching it: `tts-receiver jobs cancel {id}`."
    )
