"""The sources, types, and kinds and reasons of errors in the store, for filters.

Small tables and indexes answer: no query reads history.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Connection, TextClause, select, union

from receiver.store.dialect import DIALECTS
from receiver.store.distinct import distinct
from receiver.store.event_pages import WITH_ERROR_KIND, WITH_REASON
from receiver.store.schema import events, jobs, runs, signing_keys, source_state
from receiver.store.searches import IndexSearch
from receiver.store.states import OPEN_JOBS, RunState

MAX_SOURCES = 1000
"""How many sources are searched for a type, and how many handlers for errors, at the most."""
MAX_ERRORS = 100
"""Kinds of errors, or reasons, at the most."""


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


def error_kinds(connection: Connection) -> list[str]:
    """The kinds of errors that runs have, up to `MAX_ERRORS`."""
    return _of_errors(connection, runs.c.error_kind, WITH_ERROR_KIND)


def reasons(connection: Connection) -> list[str]:
    """The reasons of errors that runs have, up to `MAX_ERRORS`."""
    return _of_errors(connection, runs.c.reason, WITH_REASON)


def _of_errors(connection: Connection, column: ColumnElement[Any], present: TextClause) -> list[str]:
    """Values of a column of runs with an error; an index has it by state and handler."""
    found: set[str] = set()
    for state in RunState:
        if state is RunState.SUCCEEDED:
            continue  # a run that succeeded has no error
        of_state = (present, runs.c.state == str(state))
        for handler in distinct(connection, runs.c.handler, *of_state, max_values=MAX_SOURCES):
            found.update(distinct(connection, column, *of_state, runs.c.handler == handler, max_values=MAX_ERRORS))
            if len(found) >= MAX_ERRORS:
                return sorted(found)[:MAX_ERRORS]
    return sorted(found)


def _any(connection: Connection, searches: list[IndexSearch]) -> bool:
    statement = DIALECTS[connection.dialect.name].searches.some(searches, 1)
    return connection.execute(statement).first() is not None
