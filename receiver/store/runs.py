"""Results of runs, and the operations replay and cancel.

The attempt number is the fencing token: a result is written with (event, handler, attempt, owner), and has no effect if
another process has claimed the run since.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import Connection

from receiver.store.claims import MAX_ROWS, Claim, RunKey
from receiver.store.sqlite.engine import run_statement
from receiver.store.states import RunState


class RunResult(NamedTuple):
    """The result of an attempt.

    Attributes:
        outcome: for the attempts table: succeeded, failed, timeout, rejected, retry_later, crashed, released; or
            postponed, which gets no row there.
        state: the run's new state; PENDING for another try.
        due_at: when to retry, unix seconds; only for PENDING.
        forgiven: 1 if this attempt does not count.
        result: what the handler returned, as JSON values.
        error: one line for an operator, without secrets.
        waits_for: what the run waits for besides its time, for `waiting_runs.finish`.
        crashes: consecutive crashes in which the run was running; 0 after any other end, which clears the suspicion.
    """

    claim: Claim
    owner: str
    outcome: str
    state: RunState
    ended: float
    due_at: float | None = None
    forgiven: int = 0
    result: Any = None
    error: str | None = None
    crashes: int = 0
    waits_for: str | None = None


def finish(connection: Connection, results: Sequence[RunResult]) -> list[bool]:
    """Write results; False for each whose attempt no longer holds its run."""
    held = [False] * len(results)
    left = list(range(len(results)))
    while left:
        # Two results of one attempt (its own, and "crashed") must not be in one statement.
        batch = {results[index].claim.key: index for index in reversed(left[:MAX_ROWS])}
        for key in _finish_each_once(connection, [results[index] for index in batch.values()]):
            held[batch[key]] = True
        written = set(batch.values())
        left = [index for index in left if index not in written]
    # Postponed attempts have done no work and may be many, so they get no row.
    done = [item for item, ours in zip(results, held, strict=True) if ours and item.outcome != "postponed"]
    for start in range(0, len(done), MAX_ROWS):
        _insert_attempts(connection, done[start : start + MAX_ROWS])
    return held


def _finish_each_once(connection: Connection, results: list[RunResult]) -> list[RunKey]:
    """Write results, no two of one attempt; return the keys of those that held their run."""
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
            item.error,
            item.crashes,
        )
    written = run_statement(connection, _finish_statement(len(results)), values)
    return [(event_id, handler, attempt) for event_id, handler, attempt in written]


@lru_cache(maxsize=512)
def _finish_statement(rows: int) -> str:
    """One statement for all results: one for each would be most of the dispatcher's work."""
    row = f"({', '.join('?' * 12)})"
    return f"""
        WITH done (
            event_id, handler, attempt, owner, state, due_at, wait_seconds, finished_at, forgiven, result, error,
            crashes
        )
        AS (VALUES {", ".join([row] * rows)})
        UPDATE runs SET state = done.state, due_at = done.due_at, wait_seconds = done.wait_seconds,
            finished_at = done.finished_at,
            forgiven = runs.forgiven + done.forgiven, result = done.result, error = done.error,
            crashes = done.crashes, lease_owner = NULL, lease_until = NULL
        FROM done
        WHERE runs.event_id = done.event_id AND runs.handler = done.handler AND runs.attempt = done.attempt
            AND runs.lease_owner = done.owner AND runs.state = 'running'
        RETURNING event_id, handler, attempt
    """  # noqa: S608 - placeholders only


def _insert_attempts(connection: Connection, results: list[RunResult]) -> None:
    values: list[Any] = []
    for item in results:
        claim = item.claim
        values += (
            claim.event_id, claim.handler, claim.attempt, claim.started, item.ended, item.outcome, item.error,
        )  # fmt: skip
    run_statement(connection, _attempts_statement(len(results)), values)


@lru_cache(maxsize=512)
def _attempts_statement(rows: int) -> str:
    return (
        "INSERT INTO attempts (event_id, handler, number, started, ended, outcome, error) VALUES "  # noqa: S608
        + ", ".join(["(?, ?, ?, ?, ?, ?, ?)"] * rows)
    )


# operations


def replay(connection: Connection, keys: Sequence[tuple[str, str]], now: float) -> list[tuple[str, str]]:
    """Make these runs, (event id, handler), due again with all their attempts; create those that do not exist.

    Open runs are not changed. Runs of events that do not exist are ignored.

    Returns:
        The runs that were created or made due again, in the order of `keys`.
    """
    changed: set[tuple[str, str]] = set()
    for start in range(0, len(keys), MAX_ROWS):
        batch = keys[start : start + MAX_ROWS]
        named = [value for key in batch for value in key]
        changed.update(run_statement(connection, _replay_statement(len(batch)), [*named, now]))
        changed.update(run_statement(connection, _insert_runs_statement(len(batch)), [*named, now]))
    return [key for key in keys if key in changed]


def cancel(connection: Connection, keys: Sequence[tuple[str, str]], now: float) -> list[tuple[str, str]]:
    """Cancel the open ones of these runs, (event id, handler); return those that were cancelled.

    A running attempt loses its lease: its result is discarded. A claim that has not started costs no attempt.
    """
    cancelled: list[tuple[str, str]] = []
    for start in range(0, len(keys), MAX_ROWS):
        batch = keys[start : start + MAX_ROWS]
        named = [value for key in batch for value in key]
        cancelled += run_statement(connection, _cancel_statement(len(batch)), [*named, now])
    return cancelled


@lru_cache(maxsize=512)
def _replay_statement(rows: int) -> str:
    return f"""
        {_with_named(rows)}
        UPDATE runs SET state = 'pending', due_at = ?, wait_seconds = 0, forgiven = attempt, finished_at = NULL,
            result = NULL, error = NULL
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
        UPDATE runs SET state = 'cancelled', lease_owner = NULL, lease_until = NULL, finished_at = ?,
            error = 'cancelled by an operator', forgiven = forgiven + (state = 'running' AND started_at IS NULL)
        FROM named
        WHERE runs.event_id = named.event_id AND runs.handler = named.handler
            AND runs.state IN ('pending', 'running')
        RETURNING event_id, handler
    """  # noqa: S608 - placeholders only


def _with_named(rows: int) -> str:
    return f"WITH named (event_id, handler) AS (VALUES {', '.join(['(?, ?)'] * rows)})"
