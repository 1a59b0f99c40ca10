"""The tables. Their constraints ensure integrity, not the code that uses them.

Times are unix seconds (double precision), from the clock that is passed in, never from the database.
"""

from __future__ import annotations

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
    or_,
    text,
)

from receiver.model.audit import AuditState
from receiver.store.constraints import NAMES, one_of, where
from receiver.store.states import EventStatus, JobState, RunState

HEAD = "0021"
"""The newest migration; a test compares it with the scripts."""

metadata = MetaData(naming_convention=NAMES)

_TEXT = Text().with_variant(Text(collation="C"), "postgresql")
"""Text that is compared by its bytes, everywhere: ids sort by time, and pages continue after a name. The order of a
database's locale is another one, changes with the system's library, and costs more."""

events = Table(
    "events",
    metadata,
    Column("id", _TEXT, primary_key=True),
    Column("source", _TEXT, nullable=False),
    Column("type", _TEXT, nullable=False),
    # With source and type, the identity: the job id for a terminal event, else the signed message id or the body's
    # SHA-256. That of an edited event begins with a space, as none of these does.
    Column("key", _TEXT, nullable=False),
    Column("job_id", _TEXT),
    Column("origin", _TEXT, nullable=False),
    Column("status", _TEXT, nullable=False),
    Column("key_id", _TEXT),
    Column("skew", Double),
    Column("received_at", Double, nullable=False),
    Column("duplicates", Integer, nullable=False, server_default=text("0")),
    # Why an operator should look at it: "duplicate_differs" or "completed_and_failed".
    Column("conflict", _TEXT),
    # Large columns are last, because SQLite reads all columns before the one that it needs. A store of an earlier
    # release keeps its order (docs/adr/0062).
    Column("headers", JSON, nullable=False),
    Column("payload", JSON, nullable=False),
    Column("body", LargeBinary, nullable=False),
    # The event that an operator edited to make this one (docs/adr/0099); that one may be deleted earlier. Behind the
    # large columns, because it is read with them, and no list shows it.
    Column("edited_from", _TEXT),
    # `key` is first, so that the constraint's index also finds a job's events.
    UniqueConstraint("key", "source", "type"),
    CheckConstraint(one_of("status", EventStatus), name="status"),
)

# Lists by source and type, newest first, and which sources and types there are.
Index("ix_events_kind", events.c.source, events.c.type, events.c.id)
# The events of a job whose identity is not the job. All others are found by `key`.
Index("ix_events_job", events.c.job_id, events.c.id, **where(events.c.job_id != events.c.key))
Index(
    "ix_events_quarantined",
    events.c.source,
    events.c.id,
    events.c.received_at,
    **where(events.c.status == "quarantined"),
)

# Events that an operator made by editing: lists, and those that were made of one event.
Index("ix_events_edited", events.c.id, **where(events.c.origin == "edited"))
Index("ix_events_edited_from", events.c.edited_from, events.c.id, **where(events.c.edited_from.is_not(None)))

runs = Table(
    "runs",
    metadata,
    Column("event_id", _TEXT, ForeignKey("events.id", ondelete="CASCADE"), nullable=False),
    Column("handler", _TEXT, nullable=False),
    Column("state", _TEXT, nullable=False),
    # Incremented by each claim, never decremented: the fencing token.
    Column("attempt", Integer, nullable=False, server_default=text("0")),
    # Attempts that do not count: released at shutdown, or made before a replay.
    Column("forgiven", Integer, nullable=False, server_default=text("0")),
    Column("due_at", Double, nullable=False),
    Column("lease_until", Double),
    Column("lease_owner", _TEXT),
    # NULL while a run is claimed and its handler has not started.
    Column("started_at", Double),
    Column("finished_at", Double),
    Column("result", JSON),
    Column("error", _TEXT),
    # Consecutive crashes in which the run was running.
    Column("crashes", Integer, nullable=False, server_default=text("0")),
    # The wait that set `due_at`, seconds: a `due_at` further ahead than that was set by another clock.
    Column("wait_seconds", Double, nullable=False, server_default=text("0")),
    # What a pending run waits for besides its time: "audio_storage".
    Column("waits_for", _TEXT),
    # Of what `error` is: the exception's class or how the attempt ended, and the slug that the handler gave it
    # (docs/adr/0091). Without an `error` they mean nothing: code of schema 0006 leaves them as they are.
    Column("error_kind", _TEXT),
    Column("reason", _TEXT),
    PrimaryKeyConstraint("event_id", "handler"),
    CheckConstraint(one_of("state", RunState), name="state"),
    CheckConstraint("(state = 'running') = (lease_owner IS NOT NULL AND lease_until IS NOT NULL)", name="lease"),
    sqlite_with_rowid=False,
)
Index(
    "ix_runs_due",
    runs.c.handler,
    runs.c.due_at,
    **where(runs.c.state == "pending"),
)
Index("ix_runs_waiting", runs.c.due_at, **where(runs.c.waits_for.is_not(None)))
Index(
    "ix_runs_suspects",
    runs.c.state,
    runs.c.due_at,
    **where(text("crashes >= 2 AND state IN ('pending', 'running')")),
)
# Runs that have not succeeded, to count and list them without reading the others. The search for expired leases reads
# the running ones here: they are few, and that costs less than an index of leases, which every attempt would change.
Index(
    "ix_runs_unfinished",
    runs.c.state,
    runs.c.handler,
    runs.c.event_id,
    **where(runs.c.state != "succeeded"),
)

# Lists of runs that succeeded.
Index("ix_runs_succeeded", runs.c.handler, runs.c.event_id, **where(runs.c.state == "succeeded"))

# Failed runs, by the kind and by the reason of their error: lists, and groups that are counted from the index alone,
# which therefore has no condition on another column. Dead runs of an earlier schema have no kind.
Index(
    "ix_runs_errors",
    runs.c.state,
    runs.c.handler,
    runs.c.error_kind,
    runs.c.event_id,
    runs.c.reason,
    runs.c.finished_at,
    **where(or_(runs.c.error_kind.is_not(None), runs.c.state == "dead")),
)
Index(
    "ix_runs_reasons",
    runs.c.state,
    runs.c.handler,
    runs.c.reason,
    runs.c.event_id,
    runs.c.error_kind,
    **where(runs.c.reason.is_not(None)),
)

attempts = Table(
    "attempts",
    metadata,
    Column("event_id", _TEXT, nullable=False),
    Column("handler", _TEXT, nullable=False),
    Column("number", Integer, nullable=False),
    Column("started", Double, nullable=False),
    Column("ended", Double, nullable=False),
    # succeeded, failed, timeout, rejected, retry_later, crashed, released
    Column("outcome", _TEXT, nullable=False),
    Column("error", _TEXT),
    # As in `runs`.
    Column("error_kind", _TEXT),
    Column("reason", _TEXT),
    PrimaryKeyConstraint("event_id", "handler", "number"),
    # Not in PostgreSQL: an attempt is inserted by the statement that changes its run (docs/adr/0106).
    ForeignKeyConstraint(["event_id", "handler"], ["runs.event_id", "runs.handler"], ondelete="CASCADE").ddl_if(
        dialect="sqlite"
    ),
    sqlite_with_rowid=False,
)

# The traceback of a run's last attempt that had one: a table of its own, so that runs stay small.
run_tracebacks = Table(
    "run_tracebacks",
    metadata,
    Column("event_id", _TEXT, nullable=False),
    Column("handler", _TEXT, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("text", _TEXT, nullable=False),
    PrimaryKeyConstraint("event_id", "handler"),
    ForeignKeyConstraint(["event_id", "handler"], ["runs.event_id", "runs.handler"], ondelete="CASCADE"),
)

artifacts = Table(
    "artifacts",
    metadata,
    Column("event_id", _TEXT, ForeignKey("events.id", ondelete="CASCADE"), nullable=False),
    Column("n", Integer, nullable=False),
    Column("address", _TEXT, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("sha256", _TEXT, nullable=False),
    Column("content_type", _TEXT, nullable=False),
    Column("format", _TEXT, nullable=False),
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
    Column("source", _TEXT, nullable=False),
    Column("key_id", _TEXT, nullable=False),
    Column("first_used_at", Double, nullable=False),
    Column("last_used_at", Double, nullable=False),
    PrimaryKeyConstraint("source", "key_id"),
)

jobs = Table(
    "jobs",
    metadata,
    # Our id: a job has it before the provider's.
    Column("id", _TEXT, primary_key=True),
    Column("source", _TEXT, nullable=False),
    # The provider's id.
    Column("job_id", _TEXT),
    Column("state", _TEXT, nullable=False),
    Column("created_at", Double, nullable=False),
    # When to submit or poll it next.
    Column("due_at", Double, nullable=False),
    Column("deadline_at", Double, nullable=False),
    # Incremented by each claim, never decremented: the fencing token.
    Column("claim", Integer, nullable=False, server_default=text("0")),
    Column("lease_until", Double),
    # The idempotency key that is sent to the provider.
    Column("submit_key", _TEXT),
    # The idempotency key of our client's request.
    Column("client_key", _TEXT),
    # Submit requests, without those that were certainly refused.
    Column("submits", Integer, nullable=False, server_default=text("0")),
    Column("submitted_at", Double),
    Column("polls", Integer, nullable=False, server_default=text("0")),
    # Consecutive polls to which the provider responded that it does not know the job.
    Column("misses", Integer, nullable=False, server_default=text("0")),
    Column("progress", Integer),
    Column("ended_at", Double),
    Column("event_id", _TEXT),
    # Why the last request failed, or why the job ended without success: a slug and a sentence.
    Column("error_code", _TEXT),
    Column("error", _TEXT),
    # The process that holds it, as in `runs`.
    Column("lease_owner", _TEXT),
    # The wait that set `due_at`, seconds: a `due_at` further ahead than that was set by another clock.
    Column("wait_seconds", Double, nullable=False, server_default=text("0")),
    # 1 if it was submitted as a stream, without the idempotency key; NULL or 0 otherwise.
    Column("streamed", Integer),
    # When a poll last found that it was running.
    Column("polled_at", Double),
    # The requested speech or task; NULL for a job that was submitted elsewhere. Behind what lists show.
    Column("request", JSON),
    # `speech` or `task`; NULL for a job that was submitted elsewhere and may be either, or by an older release: then it
    # is speech.
    Column("kind", _TEXT),
    # How many characters the requested text has; NULL for a job that was submitted elsewhere.
    Column("characters", BigInteger),
    # What the provider reported as charged; NULL if it has not. Credits are a decimal number as text, to be exact.
    Column("chars_charged", BigInteger),
    Column("credits_used", _TEXT),
    # What `usage` counts of this job; NULL for nothing.
    Column("counted", JSON(none_as_null=True)),
    # 1 while `counted` may differ from what the job has used.
    Column("usage_pending", Integer),
    # `job_id` is first, so that the constraint's index also finds the job of an event.
    UniqueConstraint("job_id", "source"),
    UniqueConstraint("client_key"),
    CheckConstraint(one_of("state", JobState), name="state"),
    CheckConstraint("job_id IS NOT NULL OR (request IS NOT NULL AND submit_key IS NOT NULL)", name="asked"),
    CheckConstraint("job_id IS NOT NULL OR state IN ('submitting', 'failed', 'cancelled', 'unknown')", name="named"),
)
_OPEN = jobs.c.state.in_(["submitting", "watching"])
Index("ix_jobs_due", jobs.c.source, jobs.c.state, jobs.c.due_at, **where(_OPEN))
# Lists by source and state, newest first, and counts of each.
Index("ix_jobs_kind", jobs.c.source, jobs.c.state, jobs.c.id)
# Jobs that may be deleted, oldest first.
Index("ix_jobs_ended", jobs.c.ended_at, **where(jobs.c.ended_at.is_not(None)))
Index("ix_jobs_lease", jobs.c.source, jobs.c.lease_until, **where(jobs.c.lease_until.is_not(None)))
# Those to be reconciled.
Index("ix_jobs_usage_pending", jobs.c.source, jobs.c.id, **where(jobs.c.usage_pending.is_not(None)))

# What the jobs of a source used in a day (docs/adr/0110). Jobs are deleted after a time, these rows are not.
usage = Table(
    "usage",
    metadata,
    # UTC, such as 2026-11-27.
    Column("day", _TEXT, nullable=False),
    Column("source", _TEXT, nullable=False),
    Column("jobs", BigInteger, nullable=False, server_default=text("0")),
    # Those of which the provider has not said that it charged them included.
    Column("characters", BigInteger, nullable=False, server_default=text("0")),
    Column("reserved", BigInteger, nullable=False, server_default=text("0")),
    # A decimal number as text, to be exact.
    Column("credits", _TEXT, nullable=False, server_default=text("'0'")),
    PrimaryKeyConstraint("day", "source"),
    sqlite_with_rowid=False,
)

# Pairs of the metadata of events and jobs, with keys that the configuration names (`search.metadata`). Tables of their
# own, because most stores need none, and an event or a job may have several.
event_metadata = Table(
    "event_metadata",
    metadata,
    Column("event_id", _TEXT, ForeignKey("events.id", ondelete="CASCADE"), nullable=False),
    Column("key", _TEXT, nullable=False),
    # As `model.metadata.indexed_text`.
    Column("value", _TEXT, nullable=False),
    PrimaryKeyConstraint("event_id", "key"),
    sqlite_with_rowid=False,
)
# Lists, in the order of the ids.
Index("ix_event_metadata_pair", event_metadata.c.key, event_metadata.c.value, event_metadata.c.event_id)

job_metadata = Table(
    "job_metadata",
    metadata,
    Column("job_id", _TEXT, ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False),
    Column("key", _TEXT, nullable=False),
    Column("value", _TEXT, nullable=False),
    PrimaryKeyConstraint("job_id", "key"),
    sqlite_with_rowid=False,
)
Index("ix_job_metadata_pair", job_metadata.c.key, job_metadata.c.value, job_metadata.c.job_id)

# A row for each key that the configuration names: lists use it once all that is stored is indexed.
metadata_keys = Table(
    "metadata_keys",
    metadata,
    Column("key", _TEXT, primary_key=True),
    # Processes that started before do not know the key, and index nothing by it.
    Column("since", Double, nullable=False),
    # How far what was stored before is indexed: the ids of an event and of a job.
    Column("event_id", _TEXT, nullable=False, server_default=text("''")),
    Column("job_id", _TEXT, nullable=False, server_default=text("''")),
    Column("completed_at", Double),
)

source_state = Table(
    "source_state",
    metadata,
    Column("source", _TEXT, primary_key=True),
    # No request is made before this: the source asked us to wait, or refused a request.
    Column("pause_until", Double, nullable=False),
    Column("reason", _TEXT, nullable=False),
    # Written by earlier releases, before there were `rate_buckets`.
    Column("poll_pause_until", Double, nullable=False, server_default=text("0")),
    # The next free request time, so that all processes together keep the source's rate.
    Column("next_request_at", Double, nullable=False, server_default=text("0")),
    # When it last responded about a job, accurate to half a minute.
    Column("heard_at", Double, nullable=False, server_default=text("0")),
    # The waits that set `pause_until` and `poll_pause_until`, seconds.
    Column("pause_seconds", Double, nullable=False, server_default=text("0")),
    Column("poll_pause_seconds", Double, nullable=False, server_default=text("0")),
)

# What services report of their rate limits (docs/adr/0111), less what was reserved since.
rate_buckets = Table(
    "rate_buckets",
    metadata,
    Column("source", _TEXT, nullable=False),
    # The service's name of it; empty if it names none.
    Column("bucket", _TEXT, nullable=False),
    Column("request_limit", BigInteger),
    Column("remaining", BigInteger),
    # When the window ends; 0 if unknown.
    Column("reset_at", Double, nullable=False, server_default=text("0")),
    Column("reset_seconds", Double, nullable=False, server_default=text("0")),
    # No request of the bucket is made before this.
    Column("pause_until", Double, nullable=False, server_default=text("0")),
    Column("pause_seconds", Double, nullable=False, server_default=text("0")),
    Column("reason", _TEXT, nullable=False, server_default=text("''")),
    # When a response last reported it.
    Column("updated_at", Double, nullable=False),
    PrimaryKeyConstraint("source", "bucket"),
)

# To which bucket the requests of a kind belong, as responses have named it.
rate_endpoints = Table(
    "rate_endpoints",
    metadata,
    Column("source", _TEXT, nullable=False),
    # As `model.rate_plan.RequestKind`. No constraint has these words: a later release knows more.
    Column("kind", _TEXT, nullable=False),
    Column("bucket", _TEXT, nullable=False),
    PrimaryKeyConstraint("source", "kind"),
)

# How long jobs take, as `model.job_durations`.
job_durations = Table(
    "job_durations",
    metadata,
    Column("source", _TEXT, primary_key=True),
    Column("weight", Double, nullable=False),
    Column("characters", Double, nullable=False),
    Column("seconds", Double, nullable=False),
    Column("squares", Double, nullable=False),
    Column("products", Double, nullable=False),
)

# Who changed what: operators' changes, not the receiver's own work (docs/adr/0093).
audit_entries = Table(
    "audit_entries",
    metadata,
    # Sorts by time.
    Column("id", _TEXT, primary_key=True),
    Column("at", Double, nullable=False),
    # A token's id, "local", or a user of a host.
    Column("actor", _TEXT, nullable=False),
    # "api", "cli" or "console".
    Column("via", _TEXT, nullable=False),
    # No constraint has these words: a later release knows more.
    Column("operation", _TEXT, nullable=False),
    # How many events, runs or jobs so far, written in the transactions that change them.
    Column("changed", Integer, nullable=False),
    Column("state", _TEXT, nullable=False),
    # When the last of its transactions wrote it.
    Column("updated_at", Double, nullable=False),
    Column("detail", _TEXT),
    Column("filter", JSON, nullable=False),
    CheckConstraint(one_of("state", AuditState), name="state"),
)
# Lists by operation, and by actor, newest first; and which operations an actor has used.
Index("ix_audit_entries_operation", audit_entries.c.operation, audit_entries.c.id)
Index("ix_audit_entries_actor", audit_entries.c.actor, audit_entries.c.operation, audit_entries.c.id)

# What was counted, by the minute and by the hour (docs/adr/0095).
rollups = Table(
    "rollups",
    metadata,
    # The length of the period that begins at `at`: 60 or 3600.
    Column("seconds", Integer, nullable=False),
    # As `store.rollups.Kind`. No constraint has these words: a later release counts more.
    Column("kind", _TEXT, nullable=False),
    Column("at", Double, nullable=False),
    # A source, or a handler.
    Column("name", _TEXT, nullable=False),
    # How it ended, an event's type, or the upper bound of a duration.
    Column("label", _TEXT, nullable=False),
    Column("count", BigInteger, nullable=False),
    PrimaryKeyConstraint("seconds", "kind", "at", "name", "label"),
    sqlite_with_rowid=False,
)

# Operators' changes of all that matches a filter, done in the background (docs/adr/0097).
operations = Table(
    "operations",
    metadata,
    # That of its entry in `audit_entries`.
    Column("id", _TEXT, primary_key=True),
    # When it was accepted: only runs that had ended by then are replayed.
    Column("at", Double, nullable=False),
    # As in `audit_entries`.
    Column("operation", _TEXT, nullable=False),
    Column("state", _TEXT, nullable=False),
    # How many matched when it was accepted: up to one more than are counted.
    Column("matching", Integer, nullable=False),
    # How many events or runs so far, and how many events were refused, written in the transactions that change them.
    Column("changed", Integer, nullable=False, server_default=text("0")),
    Column("refused", Integer, nullable=False, server_default=text("0")),
    # The last event that was examined.
    Column("reached", _TEXT),
    Column("updated_at", Double, nullable=False),
    # The process that does it, and until when no other may.
    Column("lease_owner", _TEXT),
    Column("lease_until", Double),
    Column("detail", _TEXT),
    # Who asked, by which way, and what the audit log says of the filter.
    Column("entry", JSON, nullable=False),
    # The filter itself, and names of handlers.
    Column("criteria", JSON, nullable=False),
    CheckConstraint(one_of("state", AuditState), name="state"),
)
# Those that are to be done, the oldest first.
Index("ix_operations_unfinished", operations.c.id, **where(operations.c.state == "unfinished"))

# Who is logged in to the console (docs/adr/0105). Nothing in it lets anybody in: the cookie's value is not stored.
console_sessions = Table(
    "console_sessions",
    metadata,
    # The SHA-256 of the cookie's value, in hex.
    Column("id", _TEXT, primary_key=True),
    # A user, or a token's id: the actor of the audit log.
    Column("actor", _TEXT, nullable=False),
    # "user" or "token".
    Column("kind", _TEXT, nullable=False),
    # A MAC of the password's hash, or of the token, by the cookie's value: the session ends when either changes.
    Column("credential", _TEXT, nullable=False),
    Column("created_at", Double, nullable=False),
    # When the actor last opened a page, accurate to a minute.
    Column("seen_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False),
    # The address from which it was begun.
    Column("client", _TEXT),
)
Index("ix_console_sessions_actor", console_sessions.c.actor, console_sessions.c.created_at, console_sessions.c.id)
# Those that may be deleted.
Index("ix_console_sessions_expires", console_sessions.c.expires_at, console_sessions.c.id)

# One row: which code may use this schema besides that which knows it, so that releases can run side by side.
schema_compatibility = Table(
    "schema_compatibility",
    metadata,
    # The oldest revision whose code can use the store: `compatible_from` of the migrations (docs/adr/0084).
    Column("compatible_from", _TEXT, primary_key=True),
)

# The processes that use the store now. Nothing of it is worth keeping: a copy of the store leaves it out.
processes = Table(
    "processes",
    metadata,
    # Its name in leases.
    Column("owner", _TEXT, primary_key=True),
    # What it does: "all", "intake", "worker" or "speech".
    Column("role", _TEXT, nullable=False),
    Column("host", _TEXT, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("version", _TEXT, nullable=False),
    Column("started_at", Double, nullable=False),
    # When it last wrote this row.
    Column("heartbeat_at", Double, nullable=False),
    # By how many seconds its clock was ahead of the database server's then; NULL if they were not compared.
    Column("clock_difference", Double),
    # By which keys it indexes metadata; NULL if its release does not say.
    Column("metadata_keys", JSON(none_as_null=True)),
)
