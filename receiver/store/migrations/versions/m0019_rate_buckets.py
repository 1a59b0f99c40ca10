"""Rate limits by bucket, and how long jobs take. Only adds."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
compatible_from = "0006"

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "rate_buckets",
        sa.Column("source", _TEXT, nullable=False),
        sa.Column("bucket", _TEXT, nullable=False),
        sa.Column("request_limit", sa.BigInteger()),
        sa.Column("remaining", sa.BigInteger()),
        _double("reset_at"),
        _double("reset_seconds"),
        _double("pause_until"),
        _double("pause_seconds"),
        sa.Column("reason", _TEXT, nullable=False, server_default=sa.text("''")),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("source", "bucket", name=op.f("pk_rate_buckets")),
    )
    op.create_table(
        "rate_endpoints",
        sa.Column("source", _TEXT, nullable=False),
        sa.Column("kind", _TEXT, nullable=False),
        sa.Column("bucket", _TEXT, nullable=False),
        sa.PrimaryKeyConstraint("source", "kind", name=op.f("pk_rate_endpoints")),
    )
    op.add_column("jobs", sa.Column("polled_at", sa.Double()))
    op.create_table(
        "job_durations",
        sa.Column("source", _TEXT, nullable=False),
        *(
            sa.Column(name, sa.Double(), nullable=False)
            for name in ("weight", "characters", "seconds", "squares", "products")
        ),
        sa.PrimaryKeyConstraint("source", name=op.f("pk_job_durations")),
    )


def _double(name: str) -> sa.Column[float]:
    return sa.Column(name, sa.Double(), nullable=False, server_default=sa.text("0"))
