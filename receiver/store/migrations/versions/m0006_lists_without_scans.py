"""Indexes for lists, counts and pruning, so that they read no rows that they do not use; two more tables.

Lists by source, type and job, and lists of runs that have not succeeded, are read from an index in their order.
`ix_runs_unfinished` replaces `ix_runs_dead`, and begins with the state. The index of the quarantine is now in the order
of the ids. `ix_runs_unfinished` also finds expired leases: it has the running runs, which are few.
Processes have a table, and so has which code can use the schema.

An empty table of events is created again with its large columns last; so is that of jobs. Otherwise the order of the
columns stays, because to copy every row would cost far more than it saves (docs/adr/0062).
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.drop_index("ix_events_quarantined", table_name="events")
    if _is_empty("events"):
        op.drop_table("events")
        _create_events()
    if _is_empty("jobs"):
        op.drop_table("jobs")
        _create_jobs()
    op.create_index("ix_events_kind", "events", ["source", "type", "id"])
    op.create_index(
        "ix_events_quarantined",
        "events",
        ["source", "id", "received_at"],
        sqlite_where=sa.text("status = 'quarantined'"),
    )
    op.create_index("ix_events_job", "events", ["job_id", "id"], sqlite_where=sa.text("job_id != key"))
    op.create_index(
        "ix_runs_unfinished", "runs", ["state", "handler", "event_id"], sqlite_where=sa.text("state != 'succeeded'")
    )
    op.drop_index("ix_runs_dead", table_name="runs")
    op.drop_index("ix_runs_lease", table_name="runs")
    op.create_index("ix_runs_succeeded", "runs", ["handler", "event_id"], sqlite_where=sa.text("state = 'succeeded'"))
    op.create_index("ix_jobs_kind", "jobs", ["source", "state", "id"])
    op.create_index("ix_jobs_ended", "jobs", ["ended_at"], sqlite_where=sa.text("ended_at IS NOT NULL"))
    op.create_table(
        "processes",
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("heartbeat_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("owner", name=op.f("pk_processes")),
    )
    op.create_table(
        "schema_compatibility",
        sa.Column("compatible_from", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("compatible_from", name=op.f("pk_schema_compatibility")),
    )


def _is_empty(table: str) -> bool:
    return op.get_bind().execute(sa.select(sa.literal(1)).select_from(sa.table(table)).limit(1)).first() is None


def _create_events() -> None:
    op.create_table(
        "events",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=True),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=True),
        sa.Column("skew", sa.Double(), nullable=True),
        sa.Column("received_at", sa.Double(), nullable=False),
        sa.Column("duplicates", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("conflict", sa.Text(), nullable=True),
        sa.Column("headers", sa.JSON(), nullable=False),
        sa.Column("payload", sa.JSON(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("status IN ('accepted', 'quarantined')", name=op.f("ck_events_status")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_events")),
        sa.UniqueConstraint("key", "source", "type", name=op.f("uq_events_key_source_type")),
    )


def _create_jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("due_at", sa.Double(), nullable=False),
        sa.Column("deadline_at", sa.Double(), nullable=False),
        sa.Column("claim", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("lease_until", sa.Double(), nullable=True),
        sa.Column("submit_key", sa.Text(), nullable=True),
        sa.Column("client_key", sa.Text(), nullable=True),
        sa.Column("submits", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("submitted_at", sa.Double(), nullable=True),
        sa.Column("polls", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("misses", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("progress", sa.Integer(), nullable=True),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.Column("event_id", sa.Text(), nullable=True),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("lease_owner", sa.Text(), nullable=True),
        sa.Column("wait_seconds", sa.Double(), server_default=sa.text("0"), nullable=False),
        sa.Column("request", sa.JSON(), nullable=True),
        sa.CheckConstraint(
            "state IN ('submitting', 'watching', 'completed', 'failed', 'expired', 'cancelled', 'unknown')",
            name=op.f("ck_jobs_state"),
        ),
        sa.CheckConstraint(
            "job_id IS NOT NULL OR (request IS NOT NULL AND submit_key IS NOT NULL)", name=op.f("ck_jobs_asked")
        ),
        sa.CheckConstraint(
            "job_id IS NOT NULL OR state IN ('submitting', 'failed', 'cancelled', 'unknown')",
            name=op.f("ck_jobs_named"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
        sa.UniqueConstraint("client_key", name=op.f("uq_jobs_client_key")),
        sa.UniqueConstraint("job_id", "source", name=op.f("uq_jobs_job_id_source")),
    )
    op.create_index(
        "ix_jobs_due",
        "jobs",
        ["source", "state", "due_at"],
        sqlite_where=sa.text("state IN ('submitting', 'watching')"),
    )
    op.create_index("ix_jobs_lease", "jobs", ["source", "lease_until"], sqlite_where=sa.text("lease_until IS NOT NULL"))
