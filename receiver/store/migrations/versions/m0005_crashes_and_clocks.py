"""Columns that tell a crash and a clock that stepped back from ordinary waiting.

`runs.crashes` counts the crashes in a row that a run was at work in; runs with two have an index of their own.
`lease_owner` names who holds a job, as a run has it already. `wait_seconds` and its like are the wait that set a time:
one further ahead than that comes from another clock. What an earlier release made wait may wait as long as the longest
`Retry-After` that it believed. `waits_for` marks runs that wait for something of ours to come back.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_LONGEST_WAIT = 86_400.0


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
    op.execute(runs.update().where(retried).values(wait_seconds=_LONGEST_WAIT))
    op.execute(jobs.update().where(jobs.c.state.in_(["submitting", "watching"])).values(wait_seconds=_LONGEST_WAIT))
    paused = _table("source_state", "pause_seconds", "poll_pause_seconds")
    op.execute(paused.update().values(pause_seconds=_LONGEST_WAIT, poll_pause_seconds=_LONGEST_WAIT))


def _wait(name: str) -> sa.Column[float]:
    return sa.Column(name, sa.Double, nullable=False, server_default=sa.text("0"))


def _table(name: str, *columns: str) -> sa.TableClause:
    return sa.table(name, *(sa.column(column) for column in columns))
