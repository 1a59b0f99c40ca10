"""The lists: filters in the address, counts by state, pages by cursor, and the same rows as CSV and JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, get_args

from pydantic import BaseModel
from starlette.responses import Response, StreamingResponse

from receiver.model.audit import AuditOperation
from receiver.model.csv_text import CsvColumns
from receiver.model.event import OUR_TYPES
from receiver.store.states import EVENT_STATES, JobState, RunState
from receiver.web.api.artifacts import list_artifacts
from receiver.web.api.bulk import list_operations
from receiver.web.api.changes import list_changes
from receiver.web.api.counts import Counts, get_counts
from receiver.web.api.events import list_events
from receiver.web.api.fields import MAX_ITEMS
from receiver.web.api.jobs import list_jobs
from receiver.web.api.problems import ProblemError
from receiver.web.api.runs import list_runs
from receiver.web.api.series import list_handler_stats
from receiver.web.console.bulk import offered
from receiver.web.console.filters import (
    FORM,
    Field,
    ages,
    api_query,
    handlers,
    shown_fields,
    sources,
    without_empty,
)
from receiver.web.console.operations import Query, Run
from receiver.web.console.pages import Handler, Page, named_fields
from receiver.web.console.rendering import HEADERS

MAX_EXPORTED = 100_000
"""Rows of one file."""
_FILTER_PROBLEMS = (HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY)
StateCounts = Mapping[str, tuple[int, bool]]
"""A state to the number of those in it, and whether there are more."""


@dataclass(frozen=True, slots=True)
class ListSpec:
    """A list: which operation reads it, and by what it is filtered.

    Attributes:
        name: of its path and its template.
        states: the filters that are always shown.
        counts: how many are in each state.
        updates: whether the stream of events says when it has changed.
        more: what else its template shows.
    """

    name: str
    title: str
    run: Run
    fields: Sequence[Field]
    states: Sequence[str] = ()
    counts: Callable[[Counts], StateCounts] | None = None
    updates: bool = False
    more: Callable[[Page], Awaitable[Mapping[str, Any]]] | None = None


def _of_events(counts: Counts) -> StateCounts:
    return {of.state: (of.count, of.more) for of in counts.events}


def _of_runs(counts: Counts) -> StateCounts:
    return _sums((of.state, of.count) for of in counts.runs)


def _of_jobs(counts: Counts) -> StateCounts:
    return _sums((of.state, of.count) for of in counts.jobs)


def _sums(counted: Any) -> StateCounts:
    sums: Counter[str] = Counter()
    for state, count in counted:
        sums[str(state)] += count
    return {state: (count, False) for state, count in sums.items()}


async def _handler_stats(page: Page) -> Mapping[str, Any]:
    return {"stats": (await page.read(list_handler_stats)).items}


_SOURCE = Field("source", "Source", sources)
_TYPE = Field("type", "Type", lambda page: ((word, word) for word in OUR_TYPES))
_HANDLER = Field("handler", "Handler", handlers)
_JOB = Field("job_id", "Job id")
_KIND = Field("error_kind", "Kind of error", hint="rejected")
_REASON = Field("reason", "Reason")
_METADATA = Field("metadata", "Metadata", hint="customer=acme")
_SINCE = Field("since", "Since", ages)
_UNTIL = Field("until", "Until", hint="2026-11-26T08:00:00Z")
_WORDS = Field("error_text", "Words in errors")

LISTS = (
    ListSpec(
        "events", "Events", list_events,
        (_SOURCE, _TYPE, _JOB, _METADATA, _KIND, _REASON, _WORDS, _SINCE, _UNTIL),
        EVENT_STATES, _of_events, updates=True,
    ),
    ListSpec(
        "runs", "Runs", list_runs,
        (_HANDLER, _SOURCE, _TYPE, _JOB, _METADATA, _KIND, _REASON, _SINCE, _UNTIL),
        tuple(map(str, RunState)), _of_runs, updates=True, more=_handler_stats,
    ),
    ListSpec(
        "jobs", "Jobs", list_jobs, (_SOURCE, _JOB, _METADATA, _SINCE, _UNTIL), tuple(map(str, JobState)), _of_jobs,
        updates=True,
    ),
    ListSpec("artifacts", "Audio", list_artifacts, (_SINCE, _UNTIL), updates=True),
    ListSpec(
        "changes", "Changes", list_changes,
        (
            Field("actor", "Who"),
            Field("operation", "Operation", lambda page: ((str(word), str(word)) for word in AuditOperation)),
            _SINCE, _UNTIL,
        ),
    ),
    ListSpec("operations", "Operations", list_operations, ()),
)  # fmt: skip


def list_page(spec: ListSpec) -> Handler:
    """The page of a list."""

    async def show(page: Page) -> Response:
        query = without_empty(page.query) if FORM in dict(page.query) else page.query
        if len(query) != len(page.query):
            return page.redirect(f"/{spec.name}", query)
        errors: dict[str, str] = {}
        found: Any = None
        code = 200
        try:
            found = await page.read(spec.run, api_query(query, page.console.context.clock.now()))
        except ProblemError as problem:
            if problem.status not in _FILTER_PROBLEMS:
                raise
            code = problem.status
            errors = {of.where.partition(".")[0]: of.what for of in named_fields(problem.errors)}
            errors = errors or {"": str(problem)}
        counts = {} if spec.counts is None else spec.counts(await page.read(get_counts))
        fields = shown_fields(spec.fields, page, query, errors)
        shown = {of.name for of in fields}
        return await page.render(
            f"{spec.name}.html",
            code,
            spec=spec,
            found=found,
            counts=counts,
            state=dict(query).get("state"),
            fields=fields,
            active=[of for of in fields if of.name in dict(query)],
            errors=[f"{name}: {what}" if name else what for name, what in errors.items() if name not in shown],
            query_pairs=query,
            **({} if spec.more is None else await spec.more(page)),
            offered=[] if found is None else offered(spec.name, query),
        )

    return show


def export(spec: ListSpec, form: str) -> Handler:
    """All rows of a list, as a file: "csv" as the command writes it, or "json" as a page of the API."""

    async def send(page: Page) -> Response:
        given = api_query(page.query, page.console.context.clock.now())
        query = [(name, value) for name, value in given if name not in ("limit", "cursor")]
        first = await page.read(spec.run, [*query, ("limit", str(MAX_ITEMS))])
        pages = _pages(page, spec.run, query, first)
        return file_of(spec.name, form, pages, _item_model(first))

    return send


def file_of(name: str, form: str, pages: AsyncIterator[Any], model: type[BaseModel]) -> Response:
    """A list as a file.

    Args:
        form: as for `export`.
        model: of an item.
    """
    write, kind = {"csv": (_csv, "text/csv; charset=utf-8; header=present"), "json": (_json, "application/json")}[form]
    headers = {**HEADERS, "Content-Disposition": f'attachment; filename="{name}.{form}"'}
    return StreamingResponse(write(pages, model), headers=headers, media_type=kind)


async def _pages(page: Page, run: Run, query: Query, first: Any) -> AsyncIterator[Any]:
    found, count = first, 0
    while True:
        yield found
        count += len(found.items)
        if found.next is None or count >= MAX_EXPORTED:
            return
        found = await page.read(run, [*query, ("limit", str(MAX_ITEMS)), ("cursor", found.next)])


def _item_model(found: BaseModel) -> type[BaseModel]:
    (item,) = get_args(type(found).model_fields["items"].annotation)
    model: type[BaseModel] = item
    return model


async def _csv(pages: AsyncIterator[Any], model: type[BaseModel]) -> AsyncIterator[bytes]:
    columns = CsvColumns(model)
    yield columns.header().encode()
    async for found in pages:
        yield "".join(map(columns.row, found.items)).encode("utf-8", "backslashreplace")


async def _json(pages: AsyncIterator[Any], model: type[BaseModel]) -> AsyncIterator[bytes]:
    yield b'{"items":['
    separator, following = b"", None
    async for found in pages:
        for item in found.items:
            yield separator + item.model_dump_json().encode()
            separator = b",\n"
        following = getattr(found, "next", None)
    yield b'],"next":%s}\n' % (b"null" if following is None else f'"{following}"'.encode())
