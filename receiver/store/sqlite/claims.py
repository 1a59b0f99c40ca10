"""Statements of claims: due runs, runs that are held, expired leases, suspects.

Each names its index, or contains the condition of a partial index word for word: otherwise SQLite does not use it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection

from receiver.model.crashes import SUSPECT_CRASHES
from receiver.store.sqlite.engine import run_statement

_DUE = f"handler = ? AND state = 'pending' AND crashes < {SUSPECT_CRASHES}"
_CLAIM = f"""
    UPDATE runs SET state = 'running', attempt = attempt + 1, lease_owner = ?, lease_until = ?, started_at = ?,
        waits_for = NULL
    WHERE handler = ? AND state = 'pending' AND event_id IN (
        SELECT event_id FROM runs WHERE {_DUE} AND due_at <= ? ORDER BY due_at LIMIT ?
    )
    RETURNING event_id, handler, attempt, forgiven, due_at, crashes
"""  # noqa: S608 - constants only
_NEXT_DUE = f"SELECT due_at FROM runs WHERE {_DUE} ORDER BY due_at LIMIT 1"  # noqa: S608 - constants only
_START = "started_at = ?"
_EXTEND = "lease_until = ?"
_PENDING_AGAIN = "state = 'pending', forgiven = forgiven + 1, lease_owner = NULL, lease_until = NULL"
_RUNNING = "runs INDEXED BY ix_runs_unfinished"
_EXPIRED_LEASE = "state = 'running' AND state != 'succeeded' AND lease_until < ?"
_RELEASE_EXPIRED = f"""
    UPDATE {_RUNNING} SET {_PENDING_AGAIN} WHERE {_EXPIRED_LEASE} AND started_at IS NULL
    RETURNING event_id
"""  # noqa: S608 - constants only
_ANY_EXPIRED = f"SELECT 1 FROM {_RUNNING} WHERE {_EXPIRED_LEASE} LIMIT 1"  # noqa: S608 - constants only
_EXPIRED = f"""
    SELECT event_id, handler, attempt, forgiven, due_at, crashes, started_at, lease_owner FROM {_RUNNING}
    WHERE {_EXPIRED_LEASE} AND started_at IS NOT NULL
"""  # noqa: S608 - constants only
_COUNT_STARTED = f"""
    SELECT count(*) FROM {_RUNNING}
    WHERE state = 'running' AND state != 'succeeded' AND handler = ? AND started_at IS NOT NULL
"""  # noqa: S608 - constants only
_OPEN_SUSPECTS = f"crashes >= {SUSPECT_CRASHES} AND state IN ('pending', 'running')"
_SUSPECTS = f"runs INDEXED BY ix_runs_suspects WHERE {_OPEN_SUSPECTS}"
_NONE_RUNS = f"NOT EXISTS (SELECT 1 FROM {_SUSPECTS} AND state = 'running')"  # noqa: S608 - constants only


def claim_due(
    connection: Connection, handler: str, limit: int, now: float, owner: str, until: float, started: float | None
) -> list[Any]:
    """In no order."""
    return run_statement(connection, _CLAIM, (owner, until, started, handler, handler, now, limit))


def next_due(connection: Connection, handler: str, now: float) -> float | None:
    """One search of the index of pending runs."""
    rows = run_statement(connection, _NEXT_DUE, (handler,))
    return float(rows[0][0]) if rows else None


def count_started(connection: Connection, handler: str) -> int | None:
    """Reads the running ones among the handler's runs that have not succeeded."""
    [(found,)] = run_statement(connection, _COUNT_STARTED, (handler,))
    return int(found)


def claim_suspect(connection: Connection, handlers: Sequence[str], now: float, owner: str, until: float) -> list[Any]:
    """Without suspects one search of an empty index."""
    return run_statement(connection, _suspect_claim(len(handlers)), (owner, until, now, now, *handlers))


@lru_cache(maxsize=512)
def _suspect_claim(handlers: int) -> str:
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
    """As `claim_suspect`."""
    [(found,)] = run_statement(connection, _next_suspect(len(handlers)), handlers)
    return None if found is None else float(found)


@lru_cache(maxsize=512)
def _next_suspect(handlers: int) -> str:
    return (
        f"SELECT min(due_at) FROM {_SUSPECTS} AND state = 'pending' "  # noqa: S608 - constants and placeholders only
        f"AND handler IN ({', '.join('?' * handlers)}) AND {_NONE_RUNS}"
    )


def start_held(connection: Connection, keys: Sequence[tuple[str, str, int]], owner: str, at: float) -> list[Any]:
    """One statement for all runs."""
    return _change_held(connection, _START, (at,), keys, owner)


def extend_held(connection: Connection, keys: Sequence[tuple[str, str, int]], owner: str, until: float) -> list[Any]:
    """One statement for all runs."""
    return _change_held(connection, _EXTEND, (until,), keys, owner)


def release_held(connection: Connection, keys: Sequence[tuple[str, str, int]], owner: str) -> list[Any]:
    """One statement for all runs."""
    return _change_held(connection, _PENDING_AGAIN, (), keys, owner)


def _change_held(
    connection: Connection, change: str, values: tuple[Any, ...], keys: Sequence[tuple[str, str, int]], owner: str
) -> list[Any]:
    parameters = [value for key in keys for value in key]
    return run_statement(connection, _change_statement(change, len(keys)), (*parameters, *values, owner))


@lru_cache(maxsize=1024)
def _change_statement(change: str, rows: int) -> str:
    """One statement for all runs: one for each would be most of the dispatcher's work."""
    return f"""
        WITH held (event_id, handler, attempt) AS (VALUES {", ".join(["(?, ?, ?)"] * rows)})
        UPDATE runs SET {change} FROM held
        WHERE runs.event_id = held.event_id AND runs.handler = held.handler AND runs.attempt = held.attempt
            AND runs.lease_owner = ? AND runs.state = 'running'
        RETURNING event_id, handler, attempt
    """  # noqa: S608 - constants and placeholders only


def event_facts(connection: Connection, ids: Collection[str]) -> list[Any]:
    """One statement for all events."""
    return run_statement(connection, _facts_statement(len(ids)), list(ids))


@lru_cache(maxsize=512)
def _facts_statement(rows: int) -> str:
    columns = "id, source, type, job_id, origin, received_at, payload, body, edited_from"
    return f"SELECT {columns} FROM events WHERE id IN ({', '.join('?' * rows)})"  # noqa: S608 - placeholders only


def has_expired(connection: Connection, now: float) -> bool:
    """Reads the running ones among the runs that have not succeeded."""
    return bool(run_statement(connection, _ANY_EXPIRED, (now,)))


def release_expired(connection: Connection, now: float) -> int:
    """As `has_expired`."""
    return len(run_statement(connection, _RELEASE_EXPIRED, (now,)))


def expired(connection: Connection, now: float) -> list[Any]:
    """As `has_expired`."""
    return run_statement(connection, _EXPIRED, (now,))
