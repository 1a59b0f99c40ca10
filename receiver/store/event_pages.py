"""Which events fit a filter, page by page, at the same cost however many events there are.

Apart from the lists that show them because of how they are found: every filter becomes searches of an index that holds
the fitting events in order, one for each source and type or each state and handler, and SQLite merges them until the
page is full. What remains of the filter is checked for each event on the way (docs/adr/0054).
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from enum import Enum
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    exists,
    func,
    literal_column,
    or_,
    select,
    text,
    union,
    union_all,
)

from receiver.model.ids import first_id_at
from receiver.store.distinct import distinct
from receiver.store.schema import events, runs
from receiver.store.states import OPEN_STATES, EventStatus, RunState

MAX_SEARCHES = 100
"""Searches that are merged into one page. With more, as of a source with very many types, the events are read one by
one instead, and the listing's time limit may end that."""
COUNTED = (100, 1000, 10_000)
"""How far the candidates of two plans are counted, step by step, to take the one that has fewer."""

_QUARANTINED = text("events.status = 'quarantined'")
_OF_ANOTHER_KEY = text('events.job_id != events."key"')
UNFINISHED = text("runs.state != 'succeeded'")
"""Word for word the condition of its partial index, like the others: SQLite uses them only so."""
_SUCCEEDED = text("runs.state = 'succeeded'")


class Order(Enum):
    """Which events come first."""

    NEWEST_FIRST = "newest first"
    OLDEST_FIRST = "oldest first"


@dataclass(frozen=True, slots=True)
class Filter:
    """Which events or runs. None means any.

    Attributes:
        state: for events one of `EVENT_STATES`; for runs a run state.
        after: received at or after, unix seconds.
        before: received before, unix seconds. An event that was received while the clock was ahead counts as received
            at the time in its id.
        older_than: an event's id: only those whose id sorts before it.
        newer_than: an event's id: only those whose id sorts after it.
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
    newer_than: str | None = None


@dataclass(frozen=True, slots=True)
class RunCondition:
    """A run that the event has. None means any."""

    states: tuple[RunState, ...] | None = None
    handler: str | None = None


@dataclass(frozen=True, slots=True)
class _Criteria:
    """A filter, with what its state means."""

    which: Filter
    quarantined: bool | None = None
    with_run: RunCondition | None = None
    without: tuple[RunState, ...] = ()


@dataclass(frozen=True, slots=True)
class _SearchPlan:
    """How to find a page: searches whose results are merged, and what is checked of each result."""

    searches: list[Select[Any]]
    checks: list[Any]

    def ids(self, connection: Connection, limit: int, order: Order) -> list[str]:
        """The first ids."""
        if not self.searches:
            return []
        searches = [search.where(*self.checks) for search in self.searches]
        merged: Any = searches[0] if len(searches) == 1 else union(*searches)
        id_: ColumnElement[str] = literal_column("id")
        by = id_.desc() if order is Order.NEWEST_FIRST else id_.asc()
        return list(connection.execute(merged.order_by(by).limit(limit)).scalars())

    def candidates(self, connection: Connection, limit: int) -> int:
        """How many results the searches have, counted up to `limit`."""
        if not self.searches:
            return 0
        found = union_all(*self.searches).limit(limit).subquery()
        return int(connection.execute(select(func.count()).select_from(found)).scalar_one())


def page_of_events(connection: Connection, which: Filter, limit: int, order: Order = Order.NEWEST_FIRST) -> list[str]:
    """The ids of the first events that fit; `which.state` is an event's."""
    criteria = {
        None: _Criteria(which),
        "quarantined": _Criteria(which, quarantined=True),
        "open": _Criteria(which, with_run=RunCondition(OPEN_STATES)),
        "dead": _Criteria(which, with_run=RunCondition((RunState.DEAD,)), without=OPEN_STATES),
        "done": _Criteria(which, quarantined=False, without=(*OPEN_STATES, RunState.DEAD)),
    }[which.state]
    return _page(connection, criteria, limit, order)


def page_with_runs(
    connection: Connection, which: Filter, run: RunCondition, limit: int, order: Order = Order.NEWEST_FIRST
) -> list[str]:
    """The ids of the first events that fit and have such a run; `which.state` and `which.handler` do not matter."""
    return _page(connection, _Criteria(which, with_run=run), limit, order)


def _page(connection: Connection, criteria: _Criteria, limit: int, order: Order) -> list[str]:
    which = criteria.which
    if which.event_id is not None:
        one = select(events.c.id).where(events.c.id == which.event_id, *_range(events.c.id, which))
        if which.job is not None:
            one = one.where(or_(events.c.key == which.job, events.c.job_id == which.job))
        return list(connection.execute(one.where(*_checks_of_events(criteria, *_named(which)))).scalars())
    if which.job is not None:
        return _page_of_job(connection, criteria, limit, order)
    return _choose_plan(connection, criteria).ids(connection, limit, order)


def _page_of_job(connection: Connection, criteria: _Criteria, limit: int, order: Order) -> list[str]:
    """A job's own events are found by their identity and are few: one for each source and type."""
    job = criteria.which.job
    search = select(events.c.id.label("id")).where(*_range(events.c.id, criteria.which))
    checks = _checks_of_events(criteria, *_named(criteria.which))
    own = connection.execute(search.where(events.c.key == job, *checks)).scalars()
    others = _SearchPlan([search.where(events.c.job_id == job, _OF_ANOTHER_KEY)], checks).ids(connection, limit, order)
    pick = heapq.nlargest if order is Order.NEWEST_FIRST else heapq.nsmallest
    return pick(limit, {*own, *others})


def _choose_plan(connection: Connection, criteria: _Criteria) -> _SearchPlan:
    """The plan that looks at fewer events, as far as counting a few thousand tells."""
    if criteria.quarantined:
        return _by_quarantine(connection, criteria)
    by_run, by_kind = _by_run(connection, criteria), _by_kind(connection, criteria)
    if by_run is None or by_kind is None:
        return by_run or by_kind or _one_by_one(criteria)
    for limit in COUNTED:
        of_run, of_kind = by_run.candidates(connection, limit), by_kind.candidates(connection, limit)
        if of_run < limit or of_kind < limit:
            return by_run if of_run <= of_kind else by_kind
    return by_kind  # of very many, the newest are likely to have such a run


def _one_by_one(criteria: _Criteria) -> _SearchPlan:
    search = select(events.c.id.label("id")).where(*_range(events.c.id, criteria.which))
    return _SearchPlan([search], _checks_of_events(criteria, *_named(criteria.which)))


def _by_quarantine(connection: Connection, criteria: _Criteria) -> _SearchPlan:
    which = criteria.which
    if which.source is not None:
        sources = [which.source]
    else:
        sources = distinct(connection, events.c.source, _QUARANTINED, max_values=MAX_SEARCHES)
        if len(sources) > MAX_SEARCHES:
            return _one_by_one(criteria)
    searches = [
        select(events.c.id.label("id")).where(_QUARANTINED, events.c.source == source, *_range(events.c.id, which))
        for source in sources
    ]
    return _SearchPlan(searches, _checks_of_events(criteria, *_named(which)))


def _by_kind(connection: Connection, criteria: _Criteria) -> _SearchPlan | None:
    """By source and type; None if the filter names neither, or there are too many kinds."""
    which = criteria.which
    kinds: list[tuple[str, str]]
    if which.source is not None and which.type is not None:
        kinds = [(which.source, which.type)]
    elif which.source is not None:
        types = distinct(connection, events.c.type, events.c.source == which.source, max_values=MAX_SEARCHES)
        kinds = [(which.source, type_) for type_ in types]
    elif which.type is not None:
        kinds = [(source, which.type) for source in distinct(connection, events.c.source, max_values=MAX_SEARCHES)]
    else:
        return None
    if len(kinds) > MAX_SEARCHES:
        return None
    searches = [
        select(events.c.id.label("id")).where(
            events.c.source == source, events.c.type == type_, *_range(events.c.id, which)
        )
        for source, type_ in kinds
    ]
    return _SearchPlan(searches, _checks_of_events(criteria))


def _by_run(connection: Connection, criteria: _Criteria) -> _SearchPlan | None:
    """By state and handler; None if the filter names neither, or there are too many handlers."""
    run = criteria.with_run
    if run is None or (run.states is None and run.handler is None):
        return None
    if run == RunCondition((RunState.SUCCEEDED,)) and (criteria.which.source or criteria.which.type):
        return None  # most do
    searches = []
    for state in run.states or tuple(RunState):
        partial = _SUCCEEDED if state is RunState.SUCCEEDED else UNFINISHED
        same = (partial,) if state is RunState.SUCCEEDED else (partial, runs.c.state == str(state))
        if run.handler is not None:
            handlers = [run.handler]
        else:
            handlers = distinct(connection, runs.c.handler, *same, max_values=MAX_SEARCHES)
        searches += [
            select(runs.c.event_id.label("id")).where(
                *same, runs.c.handler == handler, *_range(runs.c.event_id, criteria.which)
            )
            for handler in handlers
        ]
    return _SearchPlan(searches, _checks_of_runs(criteria)) if len(searches) <= MAX_SEARCHES else None


def _range(id_: Any, which: Filter) -> list[Any]:
    """The ids of the filter's time and place. There is always a beginning: without any, SQLite calls it a scan."""
    beginnings = [which.newer_than or "", "" if which.after is None else first_id_at(which.after)]
    conditions = [id_ > max(beginnings)]
    if which.older_than is not None:
        conditions.append(id_ < which.older_than)
    if which.before is not None:
        conditions.append(id_ < first_id_at(which.before + 0.001))  # ids have whole milliseconds
    return conditions


def _received(which: Filter) -> list[Any]:
    conditions = []
    if which.after is not None:
        conditions.append(events.c.received_at >= which.after)
    if which.before is not None:
        conditions.append(events.c.received_at < which.before)
    return conditions


def _named(which: Filter) -> list[Any]:
    """Source and type, only to be checked: because of the plus SQLite does not search by them."""
    conditions = []
    if which.source is not None:
        conditions.append(literal_column("+events.source") == which.source)
    if which.type is not None:
        conditions.append(literal_column("+events.type") == which.type)
    return conditions


def _checks_of_events(criteria: _Criteria, *more: Any) -> list[Any]:
    """What a search of events leaves to be checked, beside these conditions."""
    checks = [*more, *_received(criteria.which)]
    if criteria.quarantined is not None:
        status = EventStatus.QUARANTINED if criteria.quarantined else EventStatus.ACCEPTED
        checks.append(events.c.status == str(status))
    run = criteria.with_run
    if run is not None:
        conditions = [runs.c.event_id == events.c.id]
        if run.states is not None:
            conditions.append(runs.c.state.in_(run.states))
        if run.handler is not None:
            conditions.append(runs.c.handler == run.handler)
        checks.append(exists().where(*conditions))
    if criteria.without:
        checks.append(~exists().where(runs.c.event_id == events.c.id, runs.c.state.in_(criteria.without)))
    return checks


def _checks_of_runs(criteria: _Criteria) -> list[Any]:
    """What a search of runs leaves to be checked."""
    checks: list[Any] = []
    about = _received(criteria.which) + _named(criteria.which)
    if about:
        checks.append(exists().where(events.c.id == runs.c.event_id, *about))
    if criteria.without:
        other = runs.alias()
        checks.append(~exists().where(other.c.event_id == runs.c.event_id, other.c.state.in_(criteria.without)))
    return checks
