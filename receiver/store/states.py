"""The states of events, runs and jobs: words that the store, the API and the command line share."""

from __future__ import annotations

from enum import StrEnum


class EventStatus(StrEnum):
    """Whether an event is dispatched."""

    ACCEPTED = "accepted"
    QUARANTINED = "quarantined"


class RunState(StrEnum):
    """Where a run stands."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    DEAD = "dead"
    CANCELLED = "cancelled"


class JobState(StrEnum):
    """Where a job stands.

    `submitting`: to be asked for, or being asked for. `unknown`: asked for, and nobody can say whether the provider
    took it on: an operator decides.
    """

    SUBMITTING = "submitting"
    WATCHING = "watching"
    COMPLETED = "completed"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"


EVENT_STATES = ("quarantined", "open", "dead", "done")
"""Where an event stands as a whole: its own status, else the worst of its runs."""
OPEN_STATES = (RunState.PENDING, RunState.RUNNING)
OPEN_JOBS = (JobState.SUBMITTING, JobState.WATCHING)
