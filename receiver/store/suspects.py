"""Suspects: runs that were running in two consecutive crashes. Of all suspects in the store, one runs at a time.

They have a partial index of their own, so that a claim without suspects costs one search of an empty index.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection

from receiver.model.crashes import SUSPECT_CRASHES
from receiver.store.sqlite.engine import run_statement

_OPEN_SUSPECTS = f"crashes >= {SUSPECT_CRASHES} AND state IN ('pending', 'running')"
"""The condition of the index `ix_runs_suspects`, word for word: otherwise SQLite does not use the index."""
_SUSPECTS = f"runs INDEXED BY ix_runs_suspects WHERE {_OPEN_SUSPECTS}"
_NONE_RUNS = f"NOT EXISTS (SELECT 1 FROM {_SUSPECTS} AND state = 'running')"  # noqa: S608 - constants only


def claim_suspect(
    connection: Connection, handlers: Sequence[str], owner: str, now: float, lease_until: float
) -> list[Any]:
    """Claim the suspect of these handlers that has been due longest, unless a suspect is running in any process.

    Returns:
        No row or one: event_id, handler, attempt, forgiven, due_at, crashes.
    """
    if not handlers:
        return []
    values = (owner, lease_until, now, now, *handlers)
    return run_statement(connection, _claim_statement(len(handlers)), values)


@lru_cache(maxsize=512)
def _claim_statement(handlers: int) -> str:
    return f"""
        UPDATE runs SET state = 'running', attempt = attempt + 1, lease_owner = ?, lease_until = ?, started_at = ?,
            waits_for = NULL
        WHERE (event_id, handler) = (
            SELECT event_id, handler FROM {_SUSPECTS} AND state = 'pending' AND due_at <= ?
            AND handler IN ({", ".join("?" * handlers)}) AND {_NONE_RUNS} ORDER BY due_at LIMIT 1
        )
        RETURNING event_id, handler, attempt, forgiven, due_at, crashes
    """  # noqa: S608 - constants and placeholders only


def next_suspect_due(connection: Connection, handlers: Sequence[str]) -> float | None:
    """When the next suspect of these handlers may start, unix seconds; None if one is running, or there is none."""
    if not handlers:
        return None
    [(found,)] = run_statement(connection, _next_statement(len(handlers)), handlers)
    return None if found is None else float(found)


@lru_cache(maxsize=512)
def _next_statement(handlers: int) -> str:
    return (
        f"SELECT min(due_at) FROM {_SUSPECTS} AND state = 'pending' "  # noqa: S608 - constants and placeholders only
        f"AND handler IN ({', '.join('?' * handlers)}) AND {_NONE_RUNS}"
    )
