"""Jobs store what was submitted: speech, or a task of any kind. Only adds."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
compatible_from = "0006"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("kind", sa.Text().with_variant(sa.Text(collation="C"), "postgresql")))
