"""What the audit log says about a change: which operation, by whom, of what. API and commands have one vocabulary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from receiver.model.redact import Redactor

MAX_TEXT = 200
"""Characters of one text in a filter, or of an actor's name."""
MAX_ITEMS = 20
"""Items of one list in a filter."""
MAX_DETAIL = 500

LOCAL = "local"
"""The actor of an API without tokens: a user of this machine."""


class AuditOperation(StrEnum):
    """The operations that change something. Those of the API have the names of its operations."""

    SPEAK = "speak"
    SUBMIT_TASK = "submit_task"
    WATCH_JOB = "watch_job"
    ADOPT_JOB = "adopt_job"
    POLL_JOB = "poll_job"
    CANCEL_JOB = "cancel_job"
    REPLAY = "replay"
    RELEASE = "release"
    EDIT = "edit"
    REPLAY_RUNS = "replay_runs"
    CANCEL_RUNS = "cancel_runs"
    RETRY_RUNS = "retry_runs"
    STOP_OPERATION = "stop_operation"
    RESUME_OPERATION = "resume_operation"
    PRUNE = "prune"
    LOG_IN = "log_in"
    LOG_OUT = "log_out"
    REVOKE_SESSIONS = "revoke_sessions"


class Via(StrEnum):
    """By which way a change came."""

    API = "api"
    CLI = "cli"
    CONSOLE = "console"


class AuditState(StrEnum):
    """How far a change is.

    `unfinished`: in progress, or its process was killed; what it has done until then is counted.
    """

    UNFINISHED = "unfinished"
    COMPLETED = "completed"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One change, as it begins.

    Attributes:
        id: sorts by time.
        at: unix seconds, whole milliseconds.
        actor: a token's id, `local`, or a user of a host.
        filter: what it is about, as JSON values: bounded, and without secrets.
        state: `unfinished` for a change in several transactions.
    """

    id: str
    at: float
    actor: str
    via: Via
    operation: AuditOperation
    filter: Mapping[str, Any]
    state: AuditState


def bounded_filter(filter: Mapping[str, Any], redact: Redactor) -> dict[str, Any]:
    """The filter without secrets, None and empty lists, and with bounded texts and lists."""
    return {name: _bounded(value, redact) for name, value in filter.items() if value is not None and value != []}


def _bounded(value: Any, redact: Redactor) -> Any:
    if isinstance(value, str):
        return redact.bounded(value, MAX_TEXT)
    if isinstance(value, Sequence):
        more = [f"… and {len(value) - MAX_ITEMS:,} more"] if len(value) > MAX_ITEMS else []
        return [*(_bounded(item, redact) for item in value[:MAX_ITEMS]), *more]
    return value
