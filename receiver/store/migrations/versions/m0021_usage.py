"""What jobs were charged, and what the jobs of each day have used. Only adds."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
compatible_from = "0006"

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.add_column("jobs", sa.Column("characters", sa.BigInteger()))
    op.add_column("jobs", sa.Column("chars_charged", sa.BigInteger()))
    op.add_column("jobs", sa.Column("credits_used", _TEXT))
    op.add_column("jobs", sa.Column("counted", sa.JSON()))
    op.add_column("jobs", sa.Column("usage_pending", sa.Integer()))
    marked = sa.text("usage_pending IS NOT NULL")
    op.create_index("ix_jobs_usage_pending", "jobs", ["source", "id"], sqlite_where=marked, postgresql_where=marked)
    op.create_table(
        "usage",
        sa.Column("day", _TEXT, nullable=False),
        sa.Column("source", _TEXT, nullable=False),
        sa.Column("jobs", sa.BigInteger(), nullable=False, server_default=sa.text("0")),
        sa.Column("characters", sa.BigInteger(), nullable=False, server_default=sa.text("0")),
        sa.Column("reserved", sa.BigInteger(), nullable=False, server_default=sa.text("0")),
        sa.Column("credits", _TEXT, nullable=False, server_default=sa.text("'0'")),
        sa.PrimaryKeyConstraint("day", "source", name=op.f("pk_usage")),
        sqlite_with_rowid=False,
    )
