"""Columns to detect crashes, and times that were set by a clock that was ahead.

`runs.crashes` counts the consecutive crashes in which a run was running; runs with two have an index of their own.
`lease_owner` is the process that holds a job, as runs have it already. `wait_seconds` and the like are the wait that
set a time: one further ahead was set by another clock. For rows of an earlier release it is the longest `Retry-After`
that the release accepted. `waits_for` marks runs that wait until the audio storage is usable again.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_MAX_WAIT_SECONDS = 86_400.0


def upgrade() -> None:
    op.add_column("runs", sa.Column("crashes", sa.Integer, nullable=False, server_default=sa.text("0")))
    op.add_column("runs", _wait("wait_seconds"))
    op.add_column("runs", sa.Column("waits_for", sa.Text))
    op.create_index("ix_runs_waiting", "runs", ["due_at"], sqlite_where=sa.text("waits_for IS NOT NULL"))
    op.create_index(
        "ix_runs_suspects",
        "runs",
        ["state", "due_at"],
        sqlite_where=sa.text("crashes >= 2 AND state IN ('pending', 'running')"),
    )
    op.add_column("jobs", sa.Column("lease_owner", sa.Text))
    op.add_column("jobs", _wait("wait_seconds"))
    op.add_column("source_state", _wait("pause_seconds"))
    op.add_column("source_state", _wait("poll_pause_seconds"))
    runs, jobs = _table("runs", "state", "attempt", "wait_seconds"), _table("jobs", "state", "wait_seconds")
    retried = (runs.c.state == "pending") & (runs.c.attempt > 0)
    op.execute(runs.update().where(retried).values(wait_seconds=_MAX_WAIT_SECONDS))
    op.execute(jobs.update().where(jobs.c.state.in_(["submitting", "watching"])).values(wait_seconds=_MAX_WAIT_SECONDS))
    paused = _table("source_state", "pause_seconds", "poll_pause_seconds")
    op.execute(paused.update().values(pause_seconds=_MAX_WAIT_SECONDS, poll_pause_seconds=_MAX_WAIT_SECONDS))


def _wait(name: str) -> sa.Column[float]:
    return sa.Column(name, sa.Double, nullable=False, server_default=sa.text("0"))


def _table(name: str, *columns: str) -> sa.TableClause:
    return sa.table(name, *(sa.column(column) for column in columns))
