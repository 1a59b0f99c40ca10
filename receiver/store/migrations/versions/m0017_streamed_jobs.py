"""Jobs say whether they were submitted as a stream, without an idempotency key. Only adds."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
compatible_from = "0006"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("streamed", sa.Integer()))
