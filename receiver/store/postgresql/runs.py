"""Statements of runs: results, attempts, replay and cancel, and runs that wait for something."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection

from receiver.store.postgresql.arrays import numbers, texts
from receiver.store.postgresql.engine import run_statement
from receiver.store.postgresql.row_locks import BY_KEY, locked_runs
from receiver.store.states import RunState

if TYPE_CHECKING:
    from receiver.store.runs import RunResult

# One statement, because each costs a round trip while the runs are locked. The runs are updated, and so locked, in the
# order of the batch. All conditions name the batch: otherwise the server would begin with the running runs, which it
# believes to be few (`row_locks`).
_FINISH = f"""
    WITH done AS MATERIALIZED (
        SELECT *, 'running' AS held FROM unnest(%s::text[], %s::text[], %s::int[], %s::text[], %s::text[], %s::float8[],
            %s::float8[], %s::float8[], %s::int[], %s::json[], %s::text[], %s::int[], %s::float8[], %s::float8[],
            %s::text[], %s::text[], %s::text[]) AS named (event_id, handler, attempt, owner, state, due_at,
            wait_seconds, finished_at, forgiven, result, error, crashes, started, ended, outcome, error_kind, reason)
        {BY_KEY}
    ), finished AS (
        UPDATE runs SET state = done.state, due_at = done.due_at, wait_seconds = done.wait_seconds,
            finished_at = done.finished_at, forgiven = runs.forgiven + done.forgiven, result = done.result,
            error = done.error, error_kind = done.error_kind, reason = done.reason, crashes = done.crashes,
            lease_owner = NULL, lease_until = NULL
        FROM done
        WHERE runs.event_id = done.event_id AND runs.handler = done.handler AND runs.attempt = done.attempt
            AND runs.lease_owner = done.owner AND runs.state = done.held
        RETURNING runs.event_id, runs.handler, runs.attempt, done.started, done.ended, done.outcome, done.error,
            done.error_kind, done.reason
    ), recorded AS (
        INSERT INTO attempts (event_id, handler, number, started, ended, outcome, error, error_kind, reason)
        SELECT * FROM finished WHERE outcome != 'postponed'
    )
    SELECT event_id, handler, attempt FROM finished
"""  # noqa: S608 - constants only
# Nearly all results. What is the same in all of them is not in a column of the batch.
_SUCCEED = f"""
    WITH done AS MATERIALIZED (
        SELECT *, %s AS owner, 'running' AS held FROM unnest(%s::text[], %s::text[], %s::int[], %s::json[],
            %s::float8[], %s::float8[]) AS named (event_id, handler, attempt, result, started, ended)
        {BY_KEY}
    ), finished AS (
        UPDATE runs SET state = 'succeeded', wait_seconds = 0, finished_at = done.ended, result = done.result,
            error = NULL, error_kind = NULL, reason = NULL, crashes = 0, lease_owner = NULL, lease_until = NULL
        FROM done
        WHERE runs.event_id = done.event_id AND runs.handler = done.handler AND runs.attempt = done.attempt
            AND runs.lease_owner = done.owner AND runs.state = done.held
        RETURNING runs.event_id, runs.handler, runs.attempt, done.started, done.ended
    ), recorded AS (
        INSERT INTO attempts (event_id, handler, number, started, ended, outcome)
        SELECT *, 'succeeded' FROM finished
    )
    SELECT count(*) FROM finished
"""  # noqa: S608 - constants only
# For a batch of which not all runs were held, which is rare.
_SUCCEEDED = """
    SELECT event_id, handler, number FROM attempts
    JOIN unnest(%s::text[], %s::text[], %s::int[], %s::float8[]) AS named (event_id, handler, number, ended)
        USING (event_id, handler, number, ended)
    WHERE outcome = 'succeeded'
"""
_PUT_TRACEBACKS = """
    INSERT INTO run_tracebacks (event_id, handler, attempt, text)
    SELECT * FROM unnest(%s::text[], %s::text[], %s::int[], %s::text[])
    ON CONFLICT (event_id, handler) DO UPDATE SET attempt = excluded.attempt, text = excluded.text
"""
_NAMED = f"""
    WITH named AS MATERIALIZED (
        SELECT given.* FROM (
            SELECT * FROM unnest(%s::text[], %s::text[]) AS named (event_id, handler) {BY_KEY}
        ) AS given, {{locked}}
    )
    UPDATE runs SET {{change}} FROM named WHERE runs.event_id = named.event_id AND runs.handler = named.handler
    RETURNING runs.event_id, runs.handler
"""  # noqa: S608 - constants only
_REPLAY = _NAMED.format(
    locked=locked_runs("runs.state IN ('succeeded', 'dead', 'cancelled')"),
    change="state = 'pending', due_at = %s, wait_seconds = 0, forgiven = attempt, finished_at = NULL, result = NULL, "
    "error = NULL, error_kind = NULL, reason = NULL",
)
_CANCEL = _NAMED.format(
    locked=locked_runs("runs.state IN ('pending', 'running')"),
    change="state = 'cancelled', lease_owner = NULL, lease_until = NULL, waits_for = NULL, finished_at = %s, "
    "error = 'cancelled by an operator', error_kind = 'cancelled', reason = NULL, "
    "forgiven = forgiven + (state = 'running' AND started_at IS NULL)::int",
)
_RETRY_NOW = _NAMED.format(
    locked=locked_runs("runs.state = 'pending' AND runs.waits_for IS NULL AND runs.due_at > %s"),
    change="due_at = %s, wait_seconds = 0",
)
_INSERT_MISSING = """
    INSERT INTO runs (event_id, handler, state, due_at)
    SELECT event_id, handler, 'pending', %s FROM unnest(%s::text[], %s::text[]) AS named (event_id, handler)
    WHERE EXISTS (SELECT 1 FROM events WHERE events.id = named.event_id)
    ON CONFLICT (event_id, handler) DO NOTHING
    RETURNING event_id, handler
"""
_RELEASE_WAITING = """
    WITH chosen AS MATERIALIZED (
        SELECT event_id, handler FROM runs WHERE waits_for IS NOT NULL ORDER BY due_at LIMIT %s FOR UPDATE SKIP LOCKED
    )
    UPDATE runs SET due_at = %s, wait_seconds = 0, waits_for = NULL FROM chosen
    WHERE runs.event_id = chosen.event_id AND runs.handler = chosen.handler RETURNING runs.event_id
"""


def finish_held(connection: Connection, results: Sequence[RunResult]) -> list[Any]:
    """Rows are locked in the order of their keys, those of all that succeeded first."""
    owner = results[0].owner
    succeeded = [item for item in results if item.outcome == "succeeded" and item.owner == owner]
    others = [item for item in results if item.outcome != "succeeded" or item.owner != owner]
    keys = _succeed(connection, owner, succeeded) if succeeded else []
    return keys + _finish(connection, others) if others else keys


def _succeed(connection: Connection, owner: str, results: Sequence[RunResult]) -> list[Any]:
    claims = [item.claim for item in results]
    keys = (
        texts([claim.event_id for claim in claims]),
        texts([claim.handler for claim in claims]),
        numbers([claim.attempt for claim in claims]),
    )
    values = texts([None if item.result is None else json.dumps(item.result) for item in results])
    ended = numbers([item.ended for item in results])
    started = numbers([claim.started for claim in claims])
    [(held,)] = run_statement(connection, _SUCCEED, (owner, *keys, values, started, ended))
    if held == len(results):
        return [claim.key for claim in claims]
    return run_statement(connection, _SUCCEEDED, (*keys, ended))


def _finish(connection: Connection, results: Sequence[RunResult]) -> list[Any]:
    claims = [item.claim for item in results]
    columns = (
        texts([claim.event_id for claim in claims]),
        texts([claim.handler for claim in claims]),
        numbers([claim.attempt for claim in claims]),
        texts([item.owner for item in results]),
        texts([item.state.value for item in results]),
        numbers([item.claim.due_at if item.due_at is None else item.due_at for item in results]),
        numbers([0.0 if item.due_at is None else max(0.0, item.due_at - item.ended) for item in results]),
        numbers([None if item.state is RunState.PENDING else item.ended for item in results]),
        numbers([item.forgiven for item in results]),
        texts([None if item.result is None else json.dumps(item.result) for item in results]),
        texts([item.error for item in results]),
        numbers([item.crashes for item in results]),
        numbers([claim.started for claim in claims]),
        numbers([item.ended for item in results]),
        texts([item.outcome for item in results]),
        texts([item.error_kind for item in results]),
        texts([item.reason for item in results]),
    )
    return run_statement(connection, _FINISH, columns)


def put_tracebacks(connection: Connection, results: Sequence[RunResult]) -> None:
    """One statement for all. Their runs are locked."""
    claims = [item.claim for item in results]
    columns = (
        texts([claim.event_id for claim in claims]),
        texts([claim.handler for claim in claims]),
        numbers([claim.attempt for claim in claims]),
        texts([item.traceback for item in results]),
    )
    run_statement(connection, _PUT_TRACEBACKS, columns)


def replay_ended(connection: Connection, keys: Sequence[tuple[str, str]], now: float) -> list[Any]:
    """As `finish_held`."""
    return run_statement(connection, _REPLAY, (*_columns(keys), now))


def insert_missing(connection: Connection, keys: Sequence[tuple[str, str]], now: float) -> list[Any]:
    """Of two transactions that create one run, one does."""
    return run_statement(connection, _INSERT_MISSING, (now, *_columns(sorted(keys))))


def cancel_open(connection: Connection, keys: Sequence[tuple[str, str]], now: float) -> list[Any]:
    """As `finish_held`."""
    return run_statement(connection, _CANCEL, (*_columns(keys), now))


def retry_now(connection: Connection, keys: Sequence[tuple[str, str]], now: float) -> list[Any]:
    """As `finish_held`."""
    return run_statement(connection, _RETRY_NOW, (*_columns(keys), now, now))


def mark_waiting(connection: Connection, event_id: str, handler: str, waits_for: str) -> None:
    """For the few runs that are postponed."""
    run_statement(
        connection,
        "UPDATE runs SET waits_for = %s WHERE event_id = %s AND handler = %s",
        (waits_for, event_id, handler),
    )


def release_waiting(connection: Connection, limit: int, now: float) -> int:
    """By the index of waiting runs."""
    return len(run_statement(connection, _RELEASE_WAITING, (limit, now)))


def count_waiting(connection: Connection) -> int:
    """By the index of waiting runs."""
    [(found,)] = run_statement(connection, "SELECT count(*) FROM runs WHERE waits_for IS NOT NULL")
    return int(found)


def _columns(keys: Sequence[tuple[str, str]]) -> tuple[str, str]:
    return texts([event_id for event_id, _ in keys]), texts([handler for _, handler in keys])
