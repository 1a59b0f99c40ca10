"""The tables. Integrity is kept here, by constraints, not by the code above.

Times are unix seconds (double precision): they come from the clock that is passed in, never from the database.
"""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)

HEAD = "0002"
"""The newest migration; a test holds it against the scripts."""

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(referred_table_name)s",
    }
)


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
    """Where a job stands."""

    WATCHING = "watching"
    COMPLETED = "completed"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


OPEN_STATES = (RunState.PENDING, RunState.RUNNING)


def _one_of(column: str, words: type[StrEnum]) -> str:
    return f"{column} IN ({', '.join(repr(str(word)) for word in words)})"


events = Table(
    "events",
    metadata,
    Column("id", Text, primary_key=True),
    Column("source", Text, nullable=False),
    Column("type", Text, nullable=False),
    # The identity beside source and type: the job id for a terminal event, else delivery id or body digest.
    Column("key", Text, nullable=False),
    Column("job_id", Text),
    Column("origin", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("payload", JSON, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("headers", JSON, nullable=False),
    Column("key_id", Text),
    Column("skew", Double),
    Column("received_at", Double, nullable=False),
    Column("duplicates", Integer, nullable=False, server_default=text("0")),
    # Why a person should look: "duplicate_differs" or "completed_and_failed".
    Column("conflict", Text),
    # `key` leads, so that the constraint's index also finds a job's events.
    UniqueConstraint("key", "source", "type"),
    CheckConstraint(_one_of("status", EventStatus), name="status"),
)

runs = Table(
    "runs",
    metadata,
    Column("event_id", Text, ForeignKey("events.id", ondelete="CASCADE"), nullable=False),
    Column("handler", Text, nullable=False),
    Column("state", Text, nullable=False),
    # Raised by each claim and never lowered: the fencing token.
    Column("attempt", Integer, nullable=False, server_default=text("0")),
    # Attempts that do not count: given back at shutdown, or made before a replay.
    Column("forgiven", Integer, nullable=False, server_default=text("0")),
    Column("due_at", Double, nullable=False),
    Column("lease_until", Double),
    Column("lease_owner", Text),
    Column("started_at", Double),
    Column("finished_at", Double),
    Column("result", JSON),
    Column("error", Text),
    PrimaryKeyConstraint("event_id", "handler"),
    CheckConstraint(_one_of("state", RunState), name="state"),
    CheckConstraint("(state = 'running') = (lease_owner IS NOT NULL AND lease_until IS NOT NULL)", name="lease"),
    sqlite_with_rowid=False,
)
Index(
    "ix_runs_due",
    runs.c.handler,
    runs.c.due_at,
    sqlite_where=runs.c.state == "pending",
)
Index(
    "ix_runs_lease",
    runs.c.lease_until,
    sqlite_where=runs.c.state == "running",
)
Index(
    "ix_runs_dead",
    runs.c.finished_at,
    sqlite_where=runs.c.state == "dead",
)

attempts = Table(
    "attempts",
    metadata,
    Column("event_id", Text, nullable=False),
    Column("handler", Text, nullable=False),
    Column("number", Integer, nullable=False),
    Column("started", Double, nullable=False),
    Column("ended", Double, nullable=False),
    # succeeded, failed, timeout, rejected, retry_later, crashed, released
    Column("outcome", Text, nullable=False),
    Column("error", Text),
    PrimaryKeyConstraint("event_id", "handler", "number"),
    ForeignKeyConstraint(["event_id", "handler"], ["runs.event_id", "runs.handler"], ondelete="CASCADE"),
    sqlite_with_rowid=False,
)

artifacts = Table(
    "artifacts",
    metadata,
    Column("event_id", Text, ForeignKey("events.id", ondelete="CASCADE"), nullable=False),
    Column("n", Integer, nullable=False),
    Column("address", Text, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("content_type", Text, nullable=False),
    Column("format", Text, nullable=False),
    Column("duration", Double),
    Column("sample_rate", Integer),
    Column("channels", Integer),
    Column("fetched_at", Double, nullable=False),
    Column("fetch_seconds", Double, nullable=False),
    PrimaryKeyConstraint("event_id", "n"),
    CheckConstraint("bytes > 0", name="bytes"),
)

signing_keys = Table(
    "signing_keys",
    metadata,
    Column("source", Text, nullable=False),
    Column("key_id", Text, nullable=False),
    Column("first_used_at", Double, nullable=False),
    Column("last_used_at", Double, nullable=False),
    PrimaryKeyConstraint("source", "key_id"),
)

jobs = Table(
    "jobs",
    metadata,
    Column("source", Text, nullable=False),
    Column("job_id", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("watched_at", Double, nullable=False),
    Column("next_poll_at", Double, nullable=False),
    Column("deadline_at", Double, nullable=False),
    # Raised by each claim and never lowered: the fencing token.
    Column("claim", Integer, nullable=False, server_default=text("0")),
    Column("polls", Integer, nullable=False, server_default=text("0")),
    # Polls in a row to which the provider said that it does not know the job.
    Column("misses", Integer, nullable=False, server_default=text("0")),
    Column("lease_until", Double),
    Column("progress", Integer),
    Column("ended_at", Double),
    Column("event_id", Text),
    Column("error", Text),
    PrimaryKeyConstraint("source", "job_id"),
    CheckConstraint(_one_of("state", JobState), name="state"),
)
Index("ix_jobs_due", jobs.c.source, jobs.c.next_poll_at, sqlite_where=jobs.c.state == "watching")

source_state = Table(
    "source_state",
    metadata,
    Column("source", Text, primary_key=True),
    # Nobody polls the source before this: it told us to wait, or refused us.
    Column("pause_until", Double, nullable=False),
    Column("reason", Text, nullable=False),
)
