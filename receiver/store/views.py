"""Read models for people and programs: lists with filters, and everything about one event. No function here writes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, and_, case, exists, func, not_, or_, select

from receiver.store.schema import artifacts, attempts, events, runs, signing_keys
from receiver.store.states import OPEN_STATES, EventStatus, RunState


@dataclass(frozen=True, slots=True)
class Filter:
    """Which events or runs. None means any.

    Attributes:
        state: for events one of `EVENT_STATES`; for runs a run state.
        after: received at or after, unix seconds.
        before: received before, unix seconds.
        older_than: an event's id: only those whose id sorts before it.
    """

    source: str | None = None
    type: str | None = None
    state: str | None = None
    job: str | None = None
    handler: str | None = None
    after: float | None = None
    before: float | None = None
    event_id: str | None = None
    older_than: str | None = None


def _event_conditions(which: Filter) -> list[Any]:
    conditions: list[Any] = []
    if which.event_id is not None:
        conditions.append(events.c.id == which.event_id)
    if which.older_than is not None:
        conditions.append(events.c.id < which.older_than)
    if which.source is not None:
        conditions.append(events.c.source == which.source)
    if which.type is not None:
        conditions.append(events.c.type == which.type)
    if which.job is not None:
        conditions.append(or_(events.c.key == which.job, events.c.job_id == which.job))
    if which.after is not None:
        conditions.append(events.c.received_at >= which.after)
    if which.before is not None:
        conditions.append(events.c.received_at < which.before)
    return conditions


def _has_run(*states: RunState) -> Any:
    return exists().where(runs.c.event_id == events.c.id, runs.c.state.in_(states))


_STATE = case(
    (events.c.status == EventStatus.QUARANTINED, "quarantined"),
    (_has_run(*OPEN_STATES), "open"),
    (_has_run(RunState.DEAD), "dead"),
    else_="done",
).label("state")


def _where_state(state: str) -> Any:
    quarantined = events.c.status == EventStatus.QUARANTINED
    is_open, is_dead = _has_run(*OPEN_STATES), _has_run(RunState.DEAD)
    return {
        "quarantined": quarantined,
        "open": and_(not_(quarantined), is_open),
        "dead": and_(not_(quarantined), not_(is_open), is_dead),
        "done": and_(not_(quarantined), not_(is_open), not_(is_dead)),
    }[state]


def _chosen(statement: Select[Any], which: Filter) -> Select[Any]:
    statement = statement.where(*_event_conditions(which))
    return statement.where(_where_state(which.state)) if which.state is not None else statement


SUMMARY: tuple[Any, ...] = (
    events.c.id, events.c.source, events.c.type, events.c.job_id, events.c.origin, _STATE,
    events.c.received_at, events.c.duplicates, events.c.conflict,
)  # fmt: skip
"""The columns of an event in a list."""


def list_events(connection: Connection, which: Filter, limit: int) -> list[dict[str, Any]]:
    """Newest first."""
    statement = _chosen(select(*SUMMARY), which)
    rows = connection.execute(statement.order_by(events.c.id.desc()).limit(limit))
    return [dict(row._mapping) for row in rows]


def event_ids(connection: Connection, which: Filter) -> list[str]:
    """Ids of every event that fits, oldest first."""
    return list(connection.execute(_chosen(select(events.c.id), which).order_by(events.c.id)).scalars())


def find_event(connection: Connection, prefix: str) -> list[str]:
    """Ids that start so; at most two, which is enough to see that a prefix is not unique."""
    at = events.c.id
    statement = select(at).where(at >= prefix, at < prefix + "\U0010ffff").order_by(at).limit(2)
    return list(connection.execute(statement).scalars())


def get_event(connection: Connection, event_id: str) -> dict[str, Any] | None:
    """The event's row, with its runs, attempts and artifacts."""
    row = connection.execute(select(events, _STATE).where(events.c.id == event_id)).first()
    if row is None:
        return None
    found = dict(row._mapping)
    for name, table, order in (
        ("runs", runs, runs.c.handler),
        ("attempts", attempts, attempts.c.number),
        ("artifacts", artifacts, artifacts.c.n),
    ):
        rows = connection.execute(select(table).where(table.c.event_id == event_id).order_by(order))
        found[name] = [dict(item._mapping) for item in rows]
    return found


def _run_conditions(which: Filter) -> list[Any]:
    conditions = _event_conditions(which)
    if which.state is not None:
        conditions.append(runs.c.state == which.state)
    if which.handler is not None:
        conditions.append(runs.c.handler == which.handler)
    return conditions


def list_runs(connection: Connection, which: Filter, limit: int | None) -> list[dict[str, Any]]:
    """Newest event first."""
    statement = (
        select(
            runs.c.event_id, events.c.source, events.c.type, events.c.job_id, runs.c.handler, runs.c.state,
            (runs.c.attempt - runs.c.forgiven).label("attempts"), runs.c.due_at, runs.c.started_at, runs.c.finished_at,
            runs.c.result, runs.c.error, runs.c.crashes,
        )
        .join(events, events.c.id == runs.c.event_id)
        .where(*_run_conditions(which))
        .order_by(runs.c.event_id.desc(), runs.c.handler)
    )  # fmt: skip
    rows = connection.execute(statement if limit is None else statement.limit(limit))
    return [dict(row._mapping) for row in rows]


def key_uses(connection: Connection) -> dict[tuple[str, str], tuple[float, float]]:
    """(source, key id) to when it was first and last used, unix seconds."""
    rows = connection.execute(select(signing_keys))
    return {(row.source, row.key_id): (row.first_used_at, row.last_used_at) for row in rows}


def orphaned(connection: Connection, handlers: list[str]) -> dict[str, int]:
    """Open runs of handlers that are not among these: nobody will ever run them."""
    statement = (
        select(runs.c.handler, func.count())
        .where(runs.c.state == RunState.PENDING, runs.c.handler.not_in(handlers))
        .group_by(runs.c.handler)
    )
    return {row[0]: row[1] for row in connection.execute(statement)}
