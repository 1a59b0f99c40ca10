"""Indexes for lists, counts and pruning, so that none of them reads what it does not show.

Lists by source, type and job, and those of what has not succeeded, are read from an index in the order in which they
are shown. `ix_runs_unfinished` takes the place of `ix_runs_dead`: it leads with the state. The index of the quarantine
is now in the order of the ids.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_index("ix_events_kind", "events", ["source", "type", "id"])
    op.drop_index("ix_events_quarantined", table_name="events")
    op.create_index(
        "ix_events_quarantined",
        "events",
        ["source", "id", "received_at"],
        sqlite_where=sa.text("status = 'quarantined'"),
    )
    op.create_index("ix_events_job", "events", ["job_id", "id"], sqlite_where=sa.text("job_id != key"))
    op.create_index(
        "ix_runs_unfinished", "runs", ["state", "handler", "event_id"], sqlite_where=sa.text("state != 'succeeded'")
    )
    op.drop_index("ix_runs_dead", table_name="runs")
    op.create_index("ix_runs_succeeded", "runs", ["handler", "event_id"], sqlite_where=sa.text("state = 'succeeded'"))
    op.create_index("ix_jobs_kind", "jobs", ["source", "state", "id"])
    op.create_index("ix_jobs_ended", "jobs", ["ended_at"], sqlite_where=sa.text("ended_at IS NOT NULL"))
