"""Pages of the events that match a filter, at the same cost however many events there are.

A filter becomes searches of indexes that hold the matching events in order: one search for each source and type, or
for each state and handler, or one for a pair of metadata. The database merges them until the page is full, and checks
the rest of the filter for each event (docs/adr/0054). Separate from the lists (`store.views`), which read the columns
of the events found here.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, or_, select, text

from receiver.model.event import Origin
from receiver.model.ids import first_id_at
from receiver.model.metadata import Pair
from receiver.store.distinct import distinct
from receiver.store.expressions import CheckedOnly, exists_for_row
from receiver.store.schema import event_metadata, events, runs
from receiver.store.search_plans import SearchPlan, fewest, has_pairs
from receiver.store.searches import IndexSearch, Order
from receiver.store.states import OPEN_STATES, EventStatus, RunState

MAX_SEARCHES = 100
"""Searches that are merged into one page, at the most. If a filter needs more, as for a source with very many types,
events are read one by one instead, until the page is full or the time limit of lists ends it."""

_QUARANTINED = text("events.status = 'quarantined'")
_EDITED = text("events.origin = 'edited'")
_OF_ANOTHER_KEY = text('events.job_id != events."key"')
UNFINISHED = text("runs.state != 'succeeded'")
"""Like the others, word for word the condition of a partial index: otherwise SQLite does not use the index."""
_SUCCEEDED = text("runs.state = 'succeeded'")
WITH_ERROR_KIND = text("runs.error_kind IS NOT NULL")
WITH_REASON = text("runs.reason IS NOT NULL")


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter of events or runs. None matches any value.

    Attributes:
        state: for events one of `EVENT_STATES`; for runs a run state.
        after: received at or after, unix seconds.
        before: received before, unix seconds. For an event that was received while the clock was ahead, the time in
            its id counts as well.
        older_than: an event's id; only events whose id sorts before it match.
        newer_than: an event's id; only events whose id sorts after it match.
        error_kind: of a run's last error, as `reason`. Of the runs of an event that is `open` or `dead` those that make
            it so are meant, otherwise all. The empty text stands for an error without.
        metadata: pairs of indexed metadata, all of which the event has.
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
    error_kind: str | None = None
    reason: str | None = None
    metadata: tuple[Pair, ...] = ()
    origin: str | None = None


@dataclass(frozen=True, slots=True)
class RunCondition:
    """A condition that one of an event's runs meets. None matches any value."""

    states: tuple[RunState, ...] | None = None
    handler: str | None = None
    error_kind: str | None = None
    reason: str | None = None

    @property
    def has_error(self) -> bool:
        """Whether it says anything about the run's error."""
        return self.error_kind is not None or self.reason is not None

    def checks(self) -> list[Any]:
        """As conditions on a row of `runs`."""
        conditions: list[Any] = []
        if self.states is not None:
            conditions.append(runs.c.state.in_(self.states))
        if self.handler is not None:
            conditions.append(runs.c.handler == self.handler)
        for column, value in self._errors():
            conditions.append(CheckedOnly(column) == value if value else CheckedOnly(column).is_(None))
        return conditions + self._with_error()

    def checks_beyond_search(self) -> list[Any]:
        """As conditions on a row of `runs` that was searched by state, handler, and reason or else kind of the error.

        What was searched is not repeated: PostgreSQL would believe that few rows meet both, and sort all of them.
        """
        searched = "reason" if self.reason else "error_kind" if self.error_kind else ""
        others = [of for of in self._errors() if of[0].name != searched]
        return self._with_error() + [column == value if value else column.is_(None) for column, value in others]

    def _errors(self) -> list[tuple[Any, str]]:
        values = ((runs.c.error_kind, self.error_kind), (runs.c.reason, self.reason))
        return [(column, value) for column, value in values if value is not None]

    def _with_error(self) -> list[Any]:
        """Without an error its kind means nothing."""
        return [CheckedOnly(runs.c.error).is_not(None)] if self.has_error else []


def run_condition(filters: Filter, states: tuple[RunState, ...] | None) -> RunCondition:
    """The condition on runs that a filter has, with these states instead of its own."""
    return RunCondition(states, filters.handler, filters.error_kind, filters.reason)


@dataclass(frozen=True, slots=True)
class _Criteria:
    """A filter, and the conditions on status and runs that its state stands for."""

    filters: Filter
    quarantined: bool | None = None
    with_run: RunCondition | None = None
    without: tuple[RunState, ...] = ()


def page_of_events(connection: Connection, filters: Filter, limit: int, order: Order = Order.NEWEST_FIRST) -> list[str]:
    """The ids of the first events that match; `filters.state` is one of `EVENT_STATES`."""
    failed = replace(run_condition(filters, None), handler=None)
    with_run = None if failed == RunCondition() else failed
    criteria = {
        None: _Criteria(filters, with_run=with_run),
        "quarantined": _Criteria(filters, quarantined=True, with_run=with_run),
        "open": _Criteria(filters, with_run=replace(failed, states=OPEN_STATES)),
        "dead": _Criteria(filters, with_run=replace(failed, states=(RunState.DEAD,)), without=OPEN_STATES),
        "done": _Criteria(filters, quarantined=False, with_run=with_run, without=(*OPEN_STATES, RunState.DEAD)),
    }[filters.state]
    return _page(connection, criteria, limit, order)


def page_with_runs(
    connection: Connection, filters: Filter, run: RunCondition, limit: int, order: Order = Order.NEWEST_FIRST
) -> list[str]:
    """The ids of the first events that match and have such a run; `filters.state` and `.handler` are ignored."""
    return _page(connection, _Criteria(filters, with_run=run), limit, order)


def _page(connection: Connection, criteria: _Criteria, limit: int, order: Order) -> list[str]:
    filters = criteria.filters
    if filters.event_id is not None:
        after, before = id_bounds(filters)
        one = select(events.c.id).where(events.c.id == filters.event_id, events.c.id > after)
        if before is not None:
            one = one.where(events.c.id < before)
        if filters.job is not None:
            one = one.where(or_(events.c.key == filters.job, events.c.job_id == filters.job))
        return list(connection.execute(one.where(*_checks_of_events(criteria, *_source_and_type(filters)))).scalars())
    if filters.job is not None:
        return _page_of_job(connection, criteria, limit, order)
    return _choose_plan(connection, criteria).ids(connection, limit, order)


def _page_of_job(connection: Connection, criteria: _Criteria, limit: int, order: Order) -> list[str]:
    """Events of one job. Those whose identity is the job are few: one for each source and type."""
    job = str(criteria.filters.job)
    after, before = id_bounds(criteria.filters)
    checks = _checks_of_events(criteria, *_source_and_type(criteria.filters))
    key = select(events.c.id).where(events.c.key == job, events.c.id > after, *checks)
    own = connection.execute(key if before is None else key.where(events.c.id < before)).scalars()
    search = _search(events.c.id, criteria.filters, (events.c.job_id, job), partial=_OF_ANOTHER_KEY)
    others = SearchPlan([search], checks).ids(connection, limit, order)
    pick = heapq.nlargest if order is Order.NEWEST_FIRST else heapq.nsmallest
    return pick(limit, {*own, *others})


def _choose_plan(connection: Connection, criteria: _Criteria) -> SearchPlan:
    """The plan with the fewest candidates, counted up to the limits."""
    if criteria.quarantined:
        return _by_quarantine(connection, criteria)
    if criteria.filters.origin == Origin.EDITED:
        search = _search(events.c.id, criteria.filters, partial=_EDITED)
        return SearchPlan([search], _checks_of_events(criteria, *_source_and_type(criteria.filters)))
    possible = [*_by_metadata(criteria), _by_run(connection, criteria), _by_kind(connection, criteria)]
    plans = [plan for plan in possible if plan is not None]
    if not plans:
        return _one_by_one(criteria)
    # With very many candidates, the newest events are likely to meet the other conditions.
    return fewest(connection, plans) or plans[0 if criteria.filters.metadata else -1]


def _one_by_one(criteria: _Criteria) -> SearchPlan:
    search = _search(events.c.id, criteria.filters)
    return SearchPlan([search], _checks_of_events(criteria, *_source_and_type(criteria.filters)))


def _by_metadata(criteria: _Criteria) -> list[SearchPlan]:
    """A search for each pair, which checks the others."""
    id_, pairs = event_metadata.c.event_id, criteria.filters.metadata
    rest = replace(criteria, filters=replace(criteria.filters, metadata=()))
    of_event = _checks_of_events(rest, *_source_and_type(criteria.filters))
    event = [exists_for_row(events.c.id == id_, *of_event)] if of_event else []
    return [
        SearchPlan(
            [_search(id_, criteria.filters, (event_metadata.c.key, key), (event_metadata.c.value, value))],
            [*has_pairs(id_, event_metadata, [pair for pair in pairs if pair != (key, value)]), *event],
        )
        for key, value in pairs
    ]


def _by_quarantine(connection: Connection, criteria: _Criteria) -> SearchPlan:
    filters = criteria.filters
    if filters.source is not None:
        sources = [filters.source]
    else:
        sources = distinct(connection, events.c.source, _QUARANTINED, max_values=MAX_SEARCHES)
        if len(sources) > MAX_SEARCHES:
            return _one_by_one(criteria)
    searches = [_search(events.c.id, filters, (events.c.source, source), partial=_QUARANTINED) for source in sources]
    return SearchPlan(searches, _checks_of_events(criteria, *_source_and_type(filters)))


def _by_kind(connection: Connection, criteria: _Criteria) -> SearchPlan | None:
    """Searches by source and type; None if the filter names neither, or if they would be too many."""
    filters = criteria.filters
    kinds: list[tuple[str, str]]
    if filters.source is not None and filters.type is not None:
        kinds = [(filters.source, filters.type)]
    elif filters.source is not None:
        types = distinct(connection, events.c.type, events.c.source == filters.source, max_values=MAX_SEARCHES)
        kinds = [(filters.source, type_) for type_ in types]
    elif filters.type is not None:
        kinds = [(source, filters.type) for source in distinct(connection, events.c.source, max_values=MAX_SEARCHES)]
    else:
        return None
    if len(kinds) > MAX_SEARCHES:
        return None
    searches = [
        _search(events.c.id, filters, (events.c.source, source), (events.c.type, type_)) for source, type_ in kinds
    ]
    return SearchPlan(searches, _checks_of_events(criteria))


def _by_run(connection: Connection, criteria: _Criteria) -> SearchPlan | None:
    """Searches by state and handler; None if the filter names neither, or if they would be too many."""
    run = criteria.with_run
    if run in (None, RunCondition()):
        return None
    if run == RunCondition((RunState.SUCCEEDED,)) and (criteria.filters.source or criteria.filters.type):
        return None  # most events have such a run
    searches = []
    of_error: tuple[tuple[Any, str], ...] = ()
    unfinished = UNFINISHED
    if run.reason:
        unfinished, of_error = WITH_REASON, ((runs.c.reason, run.reason),)
    elif run.error_kind:
        unfinished, of_error = WITH_ERROR_KIND, ((runs.c.error_kind, run.error_kind),)
    for state in run.states or tuple(RunState):
        succeeded = state is RunState.SUCCEEDED
        if succeeded and run.has_error:
            continue  # a run that succeeded has none
        partial = _SUCCEEDED if succeeded else unfinished
        same = () if succeeded else ((runs.c.state, str(state)),)
        if run.handler is not None:
            handlers = [run.handler]
        else:
            conditions = [partial, *(column == value for column, value in same)]
            handlers = distinct(connection, runs.c.handler, *conditions, max_values=MAX_SEARCHES)
        searches += [
            _search(runs.c.event_id, criteria.filters, *same, (runs.c.handler, handler), *of_error, partial=partial)
            for handler in handlers
        ]
    return SearchPlan(searches, _checks_of_runs(criteria)) if len(searches) <= MAX_SEARCHES else None


def _search(id_: Any, filters: Filter, *same: tuple[Any, str], partial: Any = None) -> IndexSearch:
    """A search of the filter's range of ids."""
    after, before = id_bounds(filters)
    return IndexSearch(id_, same, partial, after, before)


def id_bounds(filters: Filter) -> tuple[str, str | None]:
    """The range of ids of the filter: after the first text, before the second."""
    after = max(filters.newer_than or "", "" if filters.after is None else first_id_at(filters.after))
    before = [] if filters.older_than is None else [filters.older_than]
    if filters.before is not None:
        before.append(first_id_at(filters.before + 0.001))  # ids have whole milliseconds
    return after, min(before, default=None)


def _received_between(filters: Filter) -> list[Any]:
    conditions = []
    if filters.after is not None:
        conditions.append(events.c.received_at >= filters.after)
    if filters.before is not None:
        conditions.append(events.c.received_at < filters.before)
    return conditions


def _source_and_type(filters: Filter) -> list[Any]:
    """Source and type as conditions to check, by which no index is searched."""
    conditions = []
    if filters.source is not None:
        conditions.append(CheckedOnly(events.c.source) == filters.source)
    if filters.type is not None:
        conditions.append(CheckedOnly(events.c.type) == filters.type)
    return conditions


def _checks_of_events(criteria: _Criteria, *more: Any) -> list[Any]:
    """The conditions that are checked for each result of a search of events, these included."""
    checks = [
        *more,
        *_received_between(criteria.filters),
        *has_pairs(events.c.id, event_metadata, criteria.filters.metadata),
    ]
    if criteria.filters.origin is not None:
        checks.append(CheckedOnly(events.c.origin) == criteria.filters.origin)
    if criteria.quarantined is not None:
        status = EventStatus.QUARANTINED if criteria.quarantined else EventStatus.ACCEPTED
        checks.append(events.c.status == str(status))
    run = criteria.with_run
    if run is not None:
        checks.append(exists_for_row(runs.c.event_id == events.c.id, *run.checks()))
    if criteria.without:
        checks.append(~exists_for_row(runs.c.event_id == events.c.id, runs.c.state.in_(criteria.without)))
    return checks


def checks_of_event(filters: Filter) -> list[Any]:
    """What a filter says about the event of a run, as conditions on the row of the run."""
    of_event = _received_between(filters) + _source_and_type(filters)
    event = [exists_for_row(events.c.id == runs.c.event_id, *of_event)] if of_event else []
    return [*has_pairs(runs.c.event_id, event_metadata, filters.metadata), *event]


def _checks_of_runs(criteria: _Criteria) -> list[Any]:
    """The conditions that are checked for each result of a search of runs."""
    checks: list[Any] = [] if criteria.with_run is None else criteria.with_run.checks_beyond_search()
    checks += checks_of_event(criteria.filters)
    if criteria.without:
        other = runs.alias()
        checks.append(~exists_for_row(other.c.event_id == runs.c.event_id, other.c.state.in_(criteria.without)))
    return checks
