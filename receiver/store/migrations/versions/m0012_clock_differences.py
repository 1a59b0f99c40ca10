"""Processes store by how much their clock differs from the database server's. Only adds."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
compatible_from = "0006"


def upgrade() -> None:
    op.add_column("processes", sa.Column("clock_difference", sa.Double()))
