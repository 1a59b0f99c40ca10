"""${message}"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
${imports if imports else ""}

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
# If this only adds to the schema, the `compatible_from` of the migration before: the code of that revision can go on
# using the store. Without the line only code that knows this migration can. See CONTRIBUTING.md.
# compatible_from = ...


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}
