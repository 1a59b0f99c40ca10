"""Why runs failed: groups of the runs of one state by handler, kind of error and reason, the largest first.

A group is counted from the index of runs with an error. What is read are the runs of that state that failed, never
those that succeeded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, select, text

from receiver.store.event_pages import WITH_ERROR_KIND, Filter, checks_of_event, id_bounds, run_condition
from receiver.store.expressions import CheckedOnly
from receiver.store.schema import runs
from receiver.store.states import OPEN_STATES, RunState

STATES = tuple(state for state in RunState if state is not RunState.SUCCEEDED)
"""The states of runs that can have an error."""
_DEAD = text("runs.state = 'dead'")
"""All dead runs have an error, of an earlier schema without a kind. Word for word part of the index's condition."""


@dataclass(frozen=True, slots=True)
class ErrorGroup:
    """Runs that failed of the same.

    Attributes:
        error_kind: None if code of an earlier schema stored the error.
        count: how many runs.
        first_at: when the first of them ended, unix seconds; an open run: when its last attempt did.
        last_at: the same of the last one.
        event_id: of the run of the newest event, as an example.
        error: of that run.
    """

    handler: str
    error_kind: str | None
    reason: str | None
    count: int
    first_at: float
    last_at: float
    event_id: str
    error: str


@dataclass(frozen=True, slots=True)
class ErrorGroups:
    """The largest groups, and how many there are of groups and of runs in all."""

    largest: list[ErrorGroup]
    groups: int
    runs: int


def error_groups(connection: Connection, filters: Filter, limit: int) -> ErrorGroups:
    """The largest groups of the failed runs that match.

    Args:
        filters: without a `state` dead runs are meant; `job`, `event_id`, `older_than` and `newer_than` are ignored.
    """
    state = RunState(filters.state or RunState.DEAD)
    ended = _failed_at(state)
    ids = CheckedOnly(runs.c.event_id)  # the index of errors is searched, not that of ids
    after, before = id_bounds(filters)
    if state is RunState.DEAD:
        conditions: list[Any] = [_DEAD]
    else:
        conditions = [WITH_ERROR_KIND, CheckedOnly(runs.c.error).is_not(None), runs.c.state == str(state)]
    conditions += checks_of_event(filters)
    condition = run_condition(filters, None)
    for column, value in (
        (runs.c.handler, condition.handler), (runs.c.error_kind, condition.error_kind),
        (runs.c.reason, condition.reason),
    ):  # fmt: skip
        if value is not None:
            conditions.append(column == value if value else column.is_(None))
    if after:
        conditions.append(ids > after)
    if before is not None:
        conditions.append(ids < before)
    of = (runs.c.handler, runs.c.error_kind, runs.c.reason)
    count, newest = func.count(), func.max(runs.c.event_id)
    statement = (
        select(*of, count, func.min(ended), func.max(ended), newest, count.over(), func.sum(count).over())
        .where(*conditions)
        .group_by(*of)
        .order_by(count.desc(), *(func.coalesce(column, "") for column in of))
        .limit(limit)
    )
    rows: Sequence[Any] = connection.execute(statement).all()
    errors = _errors(connection, {row[6] for row in rows})
    largest = [ErrorGroup(*row[:7], errors.get((row[6], row[0]), "")) for row in rows]  # type: ignore[call-arg]
    return ErrorGroups(largest, *((int(rows[0][7]), int(rows[0][8])) if rows else (0, 0)))


def _failed_at(state: RunState) -> ColumnElement[float]:
    """When a run's last attempt ended: of an open one, `due_at` without the wait that set it."""
    return runs.c.due_at - runs.c.wait_seconds if state in OPEN_STATES else runs.c.finished_at


def _errors(connection: Connection, ids: set[str]) -> dict[tuple[str, str], str]:
    rows = connection.execute(select(runs.c.event_id, runs.c.handler, runs.c.error).where(runs.c.event_id.in_(ids)))
    return {(row.event_id, row.handler): row.error or "" for row in rows}
