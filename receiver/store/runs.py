"""Results of runs, and the operations replay and cancel.

The attempt number is the fencing token: a result is written with (event, handler, attempt, owner), and has no effect if
another process has claimed the run since.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, select

from receiver.store.claims import Claim
from receiver.store.dialect import DIALECTS, MAX_ROWS
from receiver.store.schema import attempts, runs
from receiver.store.states import RunState

POSTPONED = "postponed"


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
        error_kind: the error's class, or how the attempt ended: a word (docs/adr/0091).
        reason: the slug that the handler gave the error.
        traceback: of the error, without secrets and bounded; None keeps that of an earlier attempt.
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
    error_kind: str | None = None
    reason: str | None = None
    traceback: str | None = None


def finish(connection: Connection, results: Sequence[RunResult]) -> list[bool]:
    """Write results; False for each whose attempt no longer holds its run, unless this result is stored already."""
    statements = DIALECTS[connection.dialect.name].runs
    held = [False] * len(results)
    left = list(range(len(results)))
    while left:
        # Two results of one attempt (its own, and "crashed") must not be in one statement.
        batch = {results[index].claim.key: index for index in reversed(left[:MAX_ROWS])}
        items = [results[index] for index in batch.values()]
        keys = statements.finish_held(connection, items)
        traced = [item for item in items if item.traceback is not None]
        if len(keys) < len(batch):
            found = set(map(tuple, keys))
            traced = [item for item in traced if item.claim.key in found]
            written = [index for key, index in batch.items() if key in found]
        else:
            written = list(batch.values())
        for index in written:
            held[index] = True
        if traced:
            statements.put_tracebacks(connection, traced)
        if len(batch) == len(left):
            break
        done = set(batch.values())
        left = [index for index in left if index not in done]
    if all(held):
        return held
    return [was_held or _is_stored(connection, item) for was_held, item in zip(held, results, strict=True)]


def _is_stored(connection: Connection, item: RunResult) -> bool:
    """Whether this very result was committed before, and the answer to that commit was lost."""
    event_id, handler, number = item.claim.key
    if item.outcome == POSTPONED:  # which is in no attempt
        key = runs.c.event_id == event_id, runs.c.handler == handler, runs.c.attempt == number
        found = connection.execute(select(runs.c.state, runs.c.due_at).where(*key)).first()
        return found is not None and tuple(found) == (item.state, item.due_at)
    key = attempts.c.event_id == event_id, attempts.c.handler == handler, attempts.c.number == number
    found = connection.execute(select(attempts.c.outcome, attempts.c.ended).where(*key)).first()
    return found is not None and tuple(found) == (item.outcome, item.ended)


# operations


def ended_by(connection: Connection, keys: Sequence[tuple[str, str]], at: float) -> list[tuple[str, str]]:
    """Those of these runs, (event id, handler), that had ended by then (unix seconds)."""
    ended: set[tuple[str, str]] = set()
    for start in range(0, len(keys), MAX_ROWS):
        ids = {event_id for event_id, _ in keys[start : start + MAX_ROWS]}
        found = select(runs.c.event_id, runs.c.handler).where(runs.c.event_id.in_(ids), runs.c.finished_at <= at)
        ended.update((row.event_id, row.handler) for row in connection.execute(found))
    return [key for key in keys if key in ended]


def replay(connection: Connection, keys: Sequence[tuple[str, str]], now: float) -> list[tuple[str, str]]:
    """Make these runs, (event id, handler), due again with all their attempts; create those that do not exist.

    Open runs are not changed. Runs of events that do not exist are ignored.

    Returns:
        The runs that were created or made due again, in the order of `keys`.
    """
    dialect = DIALECTS[connection.dialect.name]
    changed: set[tuple[str, str]] = set()
    for start in range(0, len(keys), MAX_ROWS):
        batch = keys[start : start + MAX_ROWS]
        dialect.events.hold_events(connection, [event_id for event_id, _ in batch])
        changed.update(dialect.runs.replay_ended(connection, batch, now))
        changed.update(dialect.runs.insert_missing(connection, batch, now))
    return [key for key in keys if key in changed]


def cancel(connection: Connection, keys: Sequence[tuple[str, str]], now: float) -> list[tuple[str, str]]:
    """Cancel the open ones of these runs, (event id, handler); return those that were cancelled.

    A running attempt loses its lease: its result is discarded. A claim that has not started costs no attempt.
    """
    statements = DIALECTS[connection.dialect.name].runs
    cancelled: list[tuple[str, str]] = []
    for start in range(0, len(keys), MAX_ROWS):
        cancelled += statements.cancel_open(connection, keys[start : start + MAX_ROWS], now)
    return cancelled


def retry_now(connection: Connection, keys: Sequence[tuple[str, str]], now: float) -> list[tuple[str, str]]:
    """Make those of these runs, (event id, handler), due now that wait for their next attempt; return which.

    Their attempts count as before. A run that waits for a free download is not changed: it is due as soon as there is
    one.
    """
    statements = DIALECTS[connection.dialect.name].runs
    due: list[tuple[str, str]] = []
    for start in range(0, len(keys), MAX_ROWS):
        due += statements.retry_now(connection, keys[start : start + MAX_ROWS], now)
    return due
