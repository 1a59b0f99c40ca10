"""The states of events, runs and jobs, shared by the store, the API and the command line."""

from __future__ import annotations

from enum import StrEnum


class EventStatus(StrEnum):
    """Whether an event is dispatched."""

    ACCEPTED = "accepted"
    QUARANTINED = "quarantined"


class RunState(StrEnum):
    """The state of a run."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    DEAD = "dead"
    CANCELLED = "cancelled"


class JobState(StrEnum):
    """The state of a job.

    `submitting`: to be submitted, or being submitted. `unknown`: submitted, but it is unknown whether the provider
    accepted it; an operator decides.
    """

    SUBMITTING = "submitting"
    WATCHING = "watching"
    COMPLETED = "completed"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"


class JobKind(StrEnum):
    """What a job was submitted as."""

    SPEECH = "speech"
    TASK = "task"


EVENT_STATES = ("quarantined", "open", "dead", "done")
"""The state of an event as a whole: its own status, else that of its most severe run."""
OPEN_STATES = (RunState.PENDING, RunState.RUNNING)
ENDED_STATES = (RunState.DEAD, RunState.SUCCEEDED, RunState.CANCELLED)
OPEN_JOBS = (JobState.SUBMITTING, JobState.WATCHING)
