"""Columns that tell a crash and a clock that stepped back from ordinary waiting.

`runs.crashes` counts the crashes in a row that a run was at work in; runs with two have an index of their own.
`lease_owner` names who holds a job, as a run has it already. `wait_seconds` is the wait that set `due_at`: a time
further ahead than that comes from another clock.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("runs", sa.Column("crashes", sa.Integer, nullable=False, server_default=sa.text("0")))
    op.add_column("runs", sa.Column("wait_seconds", sa.Double))
    op.create_index(
        "ix_runs_suspects",
        "runs",
        ["state", "due_at"],
        sqlite_where=sa.text("crashes >= 2 AND state IN ('pending', 'running')"),
    )
    op.add_column("jobs", sa.Column("lease_owner", sa.Text))
    op.add_column("jobs", sa.Column("wait_seconds", sa.Double))
