"""Pages of the jobs that match a filter, at the same cost however many jobs there are, as those of events are found.

Separate from `store.jobs`, which changes jobs and finds single ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any

from sqlalchemy import Connection, select

from receiver.model.ids import first_id_at
from receiver.model.metadata import Pair
from receiver.store.distinct import distinct
from receiver.store.expressions import CheckedOnly, JsonBytes, exists_for_row
from receiver.store.jobs import Row
from receiver.store.schema import job_metadata, jobs
from receiver.store.search_plans import SearchPlan, fewest, has_pairs
from receiver.store.searches import IndexSearch, Order
from receiver.store.states import JobState

ALL: tuple[Any, ...] = tuple(jobs.c)
SUMMARY = tuple(takewhile(lambda column: column is not jobs.c.request, ALL))
"""All columns but the requested speech, which may be long, and those behind it."""
LISTED = (*SUMMARY, jobs.c.kind)
"""The columns of a table for people: few rows, so that the kind may lie behind a long request."""
PAGE_BYTES = 4 * 1024 * 1024
"""Bytes of requested speech on one page."""
MAX_SOURCES = 60
"""Sources whose jobs are merged in one list: SQLite merges up to 500 searches. With more, jobs are read one by one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFilter:
    """A filter of jobs. None matches any value.

    Attributes:
        older_than: one of our ids; only jobs created before it match.
        newer_than: one of our ids; only jobs created after it match.
        job: our id, or the provider's.
        created_after: created at or after, unix seconds.
        created_before: created before, unix seconds.
        metadata: pairs of the metadata that was submitted through the receiver, all of which the job has.
    """

    source: str | None = None
    states: Sequence[str] | None = None
    older_than: str | None = None
    newer_than: str | None = None
    job: str | None = None
    created_after: float | None = None
    created_before: float | None = None
    metadata: tuple[Pair, ...] = ()


def list_jobs(
    connection: Connection,
    filters: JobFilter,
    limit: int,
    columns: Sequence[Any] = ALL,
    order: Order = Order.NEWEST_FIRST,
) -> list[Row]:
    """These columns of the jobs that match.

    There is a search for each source and state, or one for a pair of metadata, and the database merges their results
    (docs/adr/0054).
    """
    if filters.job is not None:
        page: Any = _ids_of_job(connection, filters, filters.job, order)[:limit]
    else:
        plan = _choose_plan(connection, filters)
        if not plan.searches:
            return []
        page = plan.page(connection, limit, order)
    return _read(connection, page, columns, order)


def list_ids(connection: Connection, filters: JobFilter, limit: int, order: Order = Order.NEWEST_FIRST) -> list[str]:
    """The ids of the jobs of `list_jobs`."""
    return [row["id"] for row in list_jobs(connection, filters, limit, (jobs.c.id,), order)]


def page_of_jobs(
    connection: Connection, filters: JobFilter, limit: int, order: Order = Order.NEWEST_FIRST
) -> tuple[list[Row], bool]:
    """Up to `limit` jobs that match, and whether there are more.

    A page ends early if the speech of its jobs would exceed `PAGE_BYTES`, because the text of one may be as long as a
    request's body. It has at least one job.
    """
    size = JsonBytes(jobs.c.request).label("request_bytes")
    ids = list_jobs(connection, filters, limit + 1, (jobs.c.id, size), order)
    left, taken = PAGE_BYTES, 0
    for row in ids[:limit]:
        left -= row["request_bytes"] or 0
        if taken and left < 0:
            break
        taken += 1
    named = [row["id"] for row in ids[:taken]]
    return _read(connection, named, ALL, order), len(ids) > taken


def _read(connection: Connection, ids: Any, columns: Sequence[Any], order: Order) -> list[Row]:
    by_id = jobs.c.id.desc() if order is Order.NEWEST_FIRST else jobs.c.id
    rows = connection.execute(select(*columns).where(jobs.c.id.in_(ids)).order_by(by_id))
    return [dict(row._mapping) for row in rows]


def _choose_plan(connection: Connection, filters: JobFilter) -> SearchPlan:
    plans = [*_by_metadata(filters), *_by_kind(connection, filters)]
    if not plans:
        return SearchPlan([_search(jobs.c.id, filters)], _checks(filters))
    return fewest(connection, plans) or plans[0]


def _by_kind(connection: Connection, filters: JobFilter) -> list[SearchPlan]:
    """A search for each source and state; none if the filter names neither, or if they would be too many."""
    if filters.source is None and filters.states is None:
        return []
    states = tuple(JobState) if filters.states is None else tuple(filters.states)
    if filters.source is not None:
        sources = [filters.source]
    else:
        sources = distinct(connection, jobs.c.source, max_values=MAX_SOURCES)
        if len(sources) > MAX_SOURCES:
            return []
    kinds = [(source, str(state)) for source in sources for state in states]
    searches = [_search(jobs.c.id, filters, (jobs.c.source, source), (jobs.c.state, state)) for source, state in kinds]
    return [SearchPlan(searches, _checks(replace(filters, source=None, states=None)))]


def _by_metadata(filters: JobFilter) -> list[SearchPlan]:
    """A search for each pair, which checks the others."""
    id_, plans = job_metadata.c.job_id, []
    of_job = _checks(replace(filters, metadata=()))
    for key, value in filters.metadata:
        checks = has_pairs(id_, job_metadata, [pair for pair in filters.metadata if pair != (key, value)])
        if of_job:
            checks.append(exists_for_row(jobs.c.id == id_, *of_job))
        plans.append(
            SearchPlan([_search(id_, filters, (job_metadata.c.key, key), (job_metadata.c.value, value))], checks)
        )
    return plans


def _ids_of_job(connection: Connection, filters: JobFilter, job: str, order: Order) -> list[str]:
    """The ids of the few jobs with this id, ours or the provider's, that match."""
    found: set[str] = set()
    for named in (jobs.c.id == job, jobs.c.job_id == job):
        of_job = select(jobs.c.id).where(named, *_checks(filters))
        found.update(connection.execute(of_job).scalars())
    after, before = filters.newer_than or "", filters.older_than
    kept = (id_ for id_ in found if id_ > after and (before is None or id_ < before))
    return sorted(kept, reverse=order is Order.NEWEST_FIRST)


def _search(id_: Any, filters: JobFilter, *same: tuple[Any, str]) -> IndexSearch:
    """A search of the filter's range of ids, which have whole milliseconds."""
    after = "" if filters.created_after is None else first_id_at(filters.created_after, "job_")
    after = max(after, filters.newer_than or "")
    before = [] if filters.older_than is None else [filters.older_than]
    if filters.created_before is not None:
        before.append(first_id_at(filters.created_before + 0.001, "job_"))
    return IndexSearch(id_, same, None, after, min(before, default=None))


def _checks(filters: JobFilter) -> list[Any]:
    """The conditions that are checked for each result of a search of jobs, by which no index is searched."""
    checks: list[Any] = []
    if filters.source is not None:
        checks.append(CheckedOnly(jobs.c.source) == filters.source)
    if filters.states is not None:
        checks.append(CheckedOnly(jobs.c.state).in_([str(state) for state in filters.states]))
    if filters.created_after is not None:
        checks.append(jobs.c.created_at >= filters.created_after)
    if filters.created_before is not None:
        checks.append(jobs.c.created_at < filters.created_before)
    return [*checks, *has_pairs(jobs.c.id, job_metadata, filters.metadata)]
