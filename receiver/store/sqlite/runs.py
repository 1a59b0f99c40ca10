"""Statements of runs: results, attempts, replay and cancel, and runs that wait for something."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection

from receiver.store.sqlite.engine import run_statement
from receiver.store.states import RunState

if TYPE_CHECKING:
    from receiver.store.runs import RunResult

_OF_ERROR = ("error", "error_kind", "reason")
"""Columns of runs and attempts. They are left out of a batch in which no attempt failed."""
_TRACEBACK = """
    INSERT INTO run_tracebacks (event_id, handler, attempt, text) VALUES (?, ?, ?, ?)
    ON CONFLICT (event_id, handler) DO UPDATE SET attempt = excluded.attempt, text = excluded.text
"""
_WAITING = "runs INDEXED BY ix_runs_waiting WHERE waits_for IS NOT NULL"


def finish_held(connection: Connection, results: Sequence[RunResult]) -> list[Any]:
    """One statement for all results, and one for all attempts. Where no attempt failed, both are shorter."""
    of_error = _OF_ERROR if any(item.error is not None for item in results) else ()
    values: list[Any] = []
    for item in results:
        values += (
            *item.claim.key,
            item.owner,
            item.state.value,
            item.claim.due_at if item.due_at is None else item.due_at,
            0.0 if item.due_at is None else max(0.0, item.due_at - item.ended),
            None if item.state is RunState.PENDING else item.ended,
            item.forgiven,
            None if item.result is None else json.dumps(item.result),
            item.crashes,
        )
        if of_error:
            values += item.error, item.error_kind, item.reason
    keys = run_statement(connection, _finish_statement(len(results), of_error), values)
    held = set(keys)
    if done := [item for item in results if item.outcome != "postponed" and item.claim.key in held]:
        _insert_attempts(connection, done, of_error)
    return keys


@lru_cache(maxsize=512)
def _finish_statement(rows: int, of_error: tuple[str, ...]) -> str:
    """One statement for all results: one for each would be most of the dispatcher's work."""
    row = f"({', '.join('?' * (11 + len(of_error)))})"
    errors = ", ".join(f"{column} = {f'done.{column}' if of_error else 'NULL'}" for column in _OF_ERROR)
    return f"""
        WITH done (
            event_id, handler, attempt, owner, state, due_at, wait_seconds, finished_at, forgiven, result, crashes
            {"".join(f", {column}" for column in of_error)}
        )
        AS (VALUES {", ".join([row] * rows)})
        UPDATE runs SET state = done.state, due_at = done.due_at, wait_seconds = done.wait_seconds,
            finished_at = done.finished_at,
            forgiven = runs.forgiven + done.forgiven, result = done.result, crashes = done.crashes,
            {errors}, lease_owner = NULL, lease_until = NULL
        FROM done
        WHERE runs.event_id = done.event_id AND runs.handler = done.handler AND runs.attempt = done.attempt
            AND runs.lease_owner = done.owner AND runs.state = 'running'
        RETURNING event_id, handler, attempt
    """  # noqa: S608 - placeholders only


def _insert_attempts(connection: Connection, results: Sequence[RunResult], of_error: tuple[str, ...]) -> None:
    values: list[Any] = []
    for item in results:
        claim = item.claim
        values += (
            claim.event_id, claim.handler, claim.attempt, claim.started, item.ended, item.outcome,
        )  # fmt: skip
        if of_error:
            values += item.error, item.error_kind, item.reason
    run_statement(connection, _attempts_statement(len(results), of_error), values)


@lru_cache(maxsize=512)
def _attempts_statement(rows: int, of_error: tuple[str, ...]) -> str:
    columns = ("event_id", "handler", "number", "started", "ended", "outcome", *of_error)
    row = f"({', '.join('?' * len(columns))})"
    return f"INSERT INTO attempts ({', '.join(columns)}) VALUES {', '.join([row] * rows)}"  # noqa: S608


def put_tracebacks(connection: Connection, results: Sequence[RunResult]) -> None:
    """One statement for each: few attempts fail."""
    for item in results:
        values = (item.claim.event_id, item.claim.handler, item.claim.attempt, item.traceback)
        connection.exec_driver_sql(_TRACEBACK, values)


def replay_ended(connection: Connection, keys: Sequence[tuple[str, str]], now: float) -> list[Any]:
    """One statement for all runs."""
    return run_statement(connection, _replay_statement(len(keys)), [*_flat(keys), now])


def insert_missing(connection: Connection, keys: Sequence[tuple[str, str]], now: float) -> list[Any]:
    """One statement for all runs."""
    return run_statement(connection, _insert_runs_statement(len(keys)), [*_flat(keys), now])


def cancel_open(connection: Connection, keys: Sequence[tuple[str, str]], now: float) -> list[Any]:
    """One statement for all runs."""
    return run_statement(connection, _cancel_statement(len(keys)), [*_flat(keys), now])


def retry_now(connection: Connection, keys: Sequence[tuple[str, str]], now: float) -> list[Any]:
    """One statement for all runs."""
    return run_statement(connection, _retry_statement(len(keys)), [*_flat(keys), now, now])


@lru_cache(maxsize=512)
def _replay_statement(rows: int) -> str:
    return f"""
        {_with_named(rows)}
        UPDATE runs SET state = 'pending', due_at = ?, wait_seconds = 0, forgiven = attempt, finished_at = NULL,
            result = NULL, error = NULL, error_kind = NULL, reason = NULL
        FROM named
        WHERE runs.event_id = named.event_id AND runs.handler = named.handler
            AND runs.state IN ('succeeded', 'dead', 'cancelled')
        RETURNING event_id, handler
    """  # noqa: S608 - placeholders only


@lru_cache(maxsize=512)
def _insert_runs_statement(rows: int) -> str:
    return f"""
        {_with_named(rows)}
        INSERT INTO runs (event_id, handler, state, due_at)
        SELECT event_id, handler, 'pending', ? FROM named
        WHERE EXISTS (SELECT 1 FROM events WHERE events.id = named.event_id)
        ON CONFLICT (event_id, handler) DO NOTHING
        RETURNING event_id, handler
    """  # noqa: S608 - placeholders only


@lru_cache(maxsize=512)
def _cancel_statement(rows: int) -> str:
    return f"""
        {_with_named(rows)}
        UPDATE runs SET state = 'cancelled', lease_owner = NULL, lease_until = NULL, waits_for = NULL, finished_at = ?,
            error = 'cancelled by an operator', error_kind = 'cancelled', reason = NULL,
            forgiven = forgiven + (state = 'running' AND started_at IS NULL)
        FROM named
        WHERE runs.event_id = named.event_id AND runs.handler = named.handler
            AND runs.state IN ('pending', 'running')
        RETURNING event_id, handler
    """  # noqa: S608 - placeholders only


@lru_cache(maxsize=512)
def _retry_statement(rows: int) -> str:
    return f"""
        {_with_named(rows)}
        UPDATE runs SET due_at = ?, wait_seconds = 0
        FROM named
        WHERE runs.event_id = named.event_id AND runs.handler = named.handler
            AND runs.state = 'pending' AND runs.waits_for IS NULL AND runs.due_at > ?
        RETURNING event_id, handler
    """  # noqa: S608 - placeholders only


def _with_named(rows: int) -> str:
    return f"WITH named (event_id, handler) AS (VALUES {', '.join(['(?, ?)'] * rows)})"


def _flat(keys: Sequence[tuple[str, str]]) -> list[str]:
    return [value for key in keys for value in key]


def mark_waiting(connection: Connection, event_id: str, handler: str, waits_for: str) -> None:
    """For the few runs that are postponed."""
    statement = "UPDATE runs SET waits_for = ? WHERE event_id = ? AND handler = ?"
    connection.exec_driver_sql(statement, (waits_for, event_id, handler))


def release_waiting(connection: Connection, limit: int, now: float) -> int:
    """By the index of waiting runs."""
    chosen = f"SELECT event_id, handler FROM {_WAITING} ORDER BY due_at LIMIT ?"  # noqa: S608 - constants only
    return connection.exec_driver_sql(
        f"UPDATE runs SET due_at = ?, wait_seconds = 0, waits_for = NULL WHERE (event_id, handler) IN ({chosen})",  # noqa: S608
        (now, limit),
    ).rowcount


def count_waiting(connection: Connection) -> int:
    """As `release_waiting`."""
    found: int = connection.exec_driver_sql(f"SELECT count(*) FROM {_WAITING}").scalar_one()  # noqa: S608
    return found
