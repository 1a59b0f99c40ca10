"""What failed runs failed of: the kind and the reason of an error, and the last traceback.

Only adds. Runs that failed before have an error without a kind.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
compatible_from = "0006"

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    for table in ("runs", "attempts"):
        op.add_column(table, sa.Column("error_kind", _TEXT))
        op.add_column(table, sa.Column("reason", _TEXT))
    _create_index(
        "ix_runs_errors",
        ["state", "handler", "error_kind", "event_id", "reason", "finished_at"],
        "error_kind IS NOT NULL OR state = 'dead'",
    )
    _create_index("ix_runs_reasons", ["state", "handler", "reason", "event_id", "error_kind"], "reason IS NOT NULL")
    op.create_table(
        "run_tracebacks",
        sa.Column("event_id", _TEXT, nullable=False),
        sa.Column("handler", _TEXT, nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("text", _TEXT, nullable=False),
        sa.ForeignKeyConstraint(
            ["event_id", "handler"],
            ["runs.event_id", "runs.handler"],
            name=op.f("fk_run_tracebacks_runs"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("event_id", "handler", name=op.f("pk_run_tracebacks")),
    )


def _create_index(name: str, columns: list[str], condition: str) -> None:
    where = sa.text(condition)
    op.create_index(name, "runs", columns, sqlite_where=where, postgresql_where=where)
