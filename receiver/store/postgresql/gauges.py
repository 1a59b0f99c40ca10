"""Statements of the gauges. Each contains the condition of a partial index."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from receiver.store.postgresql.engine import run_statement

_RUNS = """
    SELECT handler, state, count(*) FROM runs
    WHERE state != 'succeeded' AND state IN ('pending', 'running', 'dead') GROUP BY state, handler
"""
_OLDEST_DUE = """
    WITH RECURSIVE waiting (handler) AS (
        SELECT min(handler) FROM runs WHERE state = 'pending'
        UNION ALL
        SELECT (SELECT min(handler) FROM runs WHERE state = 'pending' AND handler > waiting.handler)
        FROM waiting WHERE handler IS NOT NULL
    )
    SELECT min((SELECT min(due_at) FROM runs WHERE state = 'pending' AND handler = waiting.handler))
    FROM waiting WHERE handler IS NOT NULL
"""
_JOBS = """
    SELECT source, state, count(*) FROM jobs WHERE state IN ('submitting', 'watching') GROUP BY source, state
    UNION ALL SELECT source, state, count(*) FROM jobs WHERE state = 'unknown' GROUP BY source, state
"""
_OLDEST_JOB = "SELECT created_at FROM jobs WHERE source = %s AND state = %s ORDER BY id LIMIT 1"


def count_runs(connection: Connection) -> list[Any]:
    """By the index of runs that have not succeeded."""
    return run_statement(connection, _RUNS)


def oldest_due(connection: Connection) -> float | None:
    """By the index of pending runs."""
    [(found,)] = run_statement(connection, _OLDEST_DUE)
    return None if found is None else float(found)


def count_jobs(connection: Connection) -> list[Any]:
    """By the index of kinds of jobs."""
    return run_statement(connection, _JOBS)


def oldest_job(connection: Connection, source: str, state: str) -> float | None:
    """By the index of kinds of jobs."""
    rows = run_statement(connection, _OLDEST_JOB, (source, state))
    return float(rows[0][0]) if rows else None
