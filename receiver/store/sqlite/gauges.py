"""Statements of the gauges. SQL as text that names its index, which it contains the condition of, word for word."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

_RUNS = """
    SELECT handler, state, count(*) FROM runs INDEXED BY ix_runs_unfinished
    WHERE state != 'succeeded' AND state IN ('pending', 'running', 'dead') GROUP BY state, handler
"""
# Two searches for each handler, however many pending runs it has: the handler, and its earliest run.
_OLDEST_DUE = """
    WITH RECURSIVE waiting(handler) AS (
        SELECT min(handler) FROM runs INDEXED BY ix_runs_due WHERE state = 'pending'
        UNION ALL
        SELECT (SELECT min(handler) FROM runs INDEXED BY ix_runs_due
                WHERE state = 'pending' AND handler > waiting.handler)
        FROM waiting WHERE handler IS NOT NULL
    )
    SELECT min((SELECT min(due_at) FROM runs INDEXED BY ix_runs_due
                WHERE state = 'pending' AND handler = waiting.handler))
    FROM waiting WHERE handler IS NOT NULL
"""
_OPEN_JOBS = """
    SELECT source, state, count(*) FROM jobs INDEXED BY ix_jobs_due
    WHERE state IN ('submitting', 'watching') GROUP BY source, state
"""
# The index begins with the source: two searches for each source that has jobs.
_UNKNOWN_JOBS = """
    WITH RECURSIVE known(source) AS (
        SELECT min(source) FROM jobs INDEXED BY ix_jobs_kind
        UNION ALL
        SELECT (SELECT min(source) FROM jobs INDEXED BY ix_jobs_kind WHERE source > known.source)
        FROM known WHERE source IS NOT NULL
    )
    SELECT source, 'unknown', unknown FROM (
        SELECT source, (SELECT count(*) FROM jobs INDEXED BY ix_jobs_kind
                        WHERE source = known.source AND state = 'unknown') AS unknown
        FROM known WHERE source IS NOT NULL
    ) WHERE unknown > 0
"""
# Ids sort by the time of their creation.
_OLDEST_JOB = """
    SELECT created_at FROM jobs INDEXED BY ix_jobs_kind WHERE source = ? AND state = ? ORDER BY id LIMIT 1
"""


def count_runs(connection: Connection) -> list[Any]:
    """By the index of runs that have not succeeded."""
    return list(connection.exec_driver_sql(_RUNS))


def oldest_due(connection: Connection) -> float | None:
    """By the index of pending runs."""
    found: float | None = connection.exec_driver_sql(_OLDEST_DUE).scalar()
    return found


def count_jobs(connection: Connection) -> list[Any]:
    """By the indexes of open jobs and of kinds of jobs."""
    return [row for statement in (_OPEN_JOBS, _UNKNOWN_JOBS) for row in connection.exec_driver_sql(statement)]


def oldest_job(connection: Connection, source: str, state: str) -> float | None:
    """By the index of kinds of jobs."""
    found: float | None = connection.exec_driver_sql(_OLDEST_JOB, (source, state)).scalar()
    return found
