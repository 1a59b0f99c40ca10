"""Jobs have an id of ours, so that they can be stored before they are submitted."""

from __future__ import annotations

import secrets

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

KEPT = "source, job_id, state, deadline_at, claim, polls, misses, lease_until, progress, ended_at, event_id, error"


def upgrade() -> None:
    op.drop_index("ix_jobs_due", table_name="jobs")
    op.rename_table("jobs", "watched_jobs")
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
        sa.Column("request", sa.JSON(), nullable=True),
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
    _copy(op.get_bind())
    op.drop_table("watched_jobs")
    op.create_index(
        "ix_jobs_due",
        "jobs",
        ["source", "state", "due_at"],
        unique=False,
        sqlite_where=sa.text("state IN ('submitting', 'watching')"),
    )
    op.create_index(
        "ix_jobs_lease",
        "jobs",
        ["source", "lease_until"],
        unique=False,
        sqlite_where=sa.text("lease_until IS NOT NULL"),
    )
    for name in ("poll_pause_until", "next_request_at", "heard_at"):
        op.add_column("source_state", sa.Column(name, sa.Double(), server_default=sa.text("0"), nullable=False))


def _copy(connection: sa.Connection) -> None:
    """Give each job an id: a UUIDv7 with the time at which its watch began."""
    rows = connection.execute(sa.text("SELECT source, job_id, watched_at FROM watched_jobs")).all()
    copy = sa.text(  # constants only
        f"INSERT INTO jobs (id, created_at, due_at, {KEPT}) "  # noqa: S608
        f"SELECT :id, watched_at, next_poll_at, {KEPT} FROM watched_jobs WHERE source = :source AND job_id = :job_id"
    )
    for source, job_id, watched_at in rows:
        own = f"job_{int(watched_at * 1000):012x}7{secrets.randbits(12):03x}{1 << 63 | secrets.randbits(62):016x}"
        connection.execute(copy, {"id": own, "source": source, "job_id": job_id})
