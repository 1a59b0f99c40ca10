"""The sources and types in the store, for filters. Small tables and indexes answer: no query reads history."""

from __future__ import annotations

from sqlalchemy import Connection, exists, select, union

from receiver.store.distinct import distinct
from receiver.store.job_leases import IS_OPEN
from receiver.store.schema import events, jobs, signing_keys, source_state

MAX_SOURCES = 1000
"""How many sources are searched for a type, at the most."""


def sources(connection: Connection) -> list[str]:
    """Sources with a verified delivery or a request about a job, including sources that are no longer configured."""
    return list(connection.execute(union(select(signing_keys.c.source), select(source_state.c.source))).scalars())


def has_open_jobs(connection: Connection, source: str) -> bool:
    """Whether a source has an open job."""
    return bool(connection.execute(select(exists().where(jobs.c.source == source, IS_OPEN))).scalar())


def is_type(connection: Connection, type_: str) -> bool:
    """Whether there is an event of this type."""
    for source in distinct(connection, events.c.source, max_values=MAX_SOURCES):
        if connection.execute(select(exists().where(events.c.source == source, events.c.type == type_))).scalar():
            return True
    return False
