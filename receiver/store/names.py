"""The sources and types in the store, for filters. Small tables and indexes answer: no query reads history."""

from __future__ import annotations

from sqlalchemy import Connection, select, union

from receiver.store.dialect import DIALECTS
from receiver.store.distinct import distinct
from receiver.store.schema import events, jobs, signing_keys, source_state
from receiver.store.searches import IndexSearch
from receiver.store.states import OPEN_JOBS

MAX_SOURCES = 1000
"""How many sources are searched for a type, at the most."""


def sources(connection: Connection) -> list[str]:
    """Sources with a verified delivery or a request about a job, including sources that are no longer configured."""
    return list(connection.execute(union(select(signing_keys.c.source), select(source_state.c.source))).scalars())


def has_open_jobs(connection: Connection, source: str) -> bool:
    """Whether a source has an open job."""
    kinds = [((jobs.c.source, source), (jobs.c.state, str(state))) for state in OPEN_JOBS]
    return _any(connection, [IndexSearch(jobs.c.id, kind) for kind in kinds])


def is_type(connection: Connection, type_: str) -> bool:
    """Whether there is an event of this type."""
    for source in distinct(connection, events.c.source, max_values=MAX_SOURCES):
        if _any(connection, [IndexSearch(events.c.id, ((events.c.source, source), (events.c.type, type_)))]):
            return True
    return False


def _any(connection: Connection, searches: list[IndexSearch]) -> bool:
    statement = DIALECTS[connection.dialect.name].searches.some(searches, 1)
    return connection.execute(statement).first() is not None
