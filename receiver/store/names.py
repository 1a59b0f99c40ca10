"""Names that the store knows, for filters. Looked up in small tables and by indexes: nothing here reads history."""

from __future__ import annotations

from sqlalchemy import Connection, exists, select, union

from receiver.store.holding import IS_OPEN
from receiver.store.schema import events, jobs, signing_keys, source_state

RECENT_EVENTS = 1000
"""How many of the newest events are searched for a type."""


def sources(connection: Connection) -> list[str]:
    """Sources that a verified delivery came from or that were asked about a job, former ones among them."""
    return list(connection.execute(union(select(signing_keys.c.source), select(source_state.c.source))).scalars())


def has_open_jobs(connection: Connection, source: str) -> bool:
    """Whether a source has an open job."""
    return bool(connection.execute(select(exists().where(jobs.c.source == source, IS_OPEN))).scalar())


def is_recent_type(connection: Connection, type_: str) -> bool:
    """Whether one of the newest events is of this type."""
    newest = select(events.c.type).order_by(events.c.id.desc()).limit(RECENT_EVENTS).subquery()
    return bool(connection.execute(select(exists().where(newest.c.type == type_))).scalar())
