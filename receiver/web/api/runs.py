"""Operations on runs: list them, and why they failed."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from sqlalchemy import Connection

from receiver.engine.filters import NoSuchHandler, check_handlers
from receiver.store import views
from receiver.store.event_pages import Filter
from receiver.store.run_errors import error_groups
from receiver.store.states import RunState
from receiver.web.api.context import ApiContext
from receiver.web.api.fields import (
    DIGITS,
    MAX_ITEMS,
    ErrorWord,
    HandlerName,
    MetadataPairs,
    OrderedPaging,
    RequestModel,
    ShortText,
    SourceName,
    Time,
    cursor_after,
    optional_seconds,
)
from receiver.web.api.jobs import require_metadata, require_names
from receiver.web.api.models import RunErrors, RunPage, run_errors_of
from receiver.web.api.operations import ApiResponse
from receiver.web.api.problems import InvalidField, ProblemError
from receiver.web.api.rows import run_of


class RunsQuery(OrderedPaging):
    """Which runs."""

    state: Annotated[RunState | None, Field(description="Only in this state.")] = None
    handler: Annotated[HandlerName | None, Field(description="Only of this handler.")] = None
    source: Annotated[SourceName | None, Field(description="Only of this source's events.")] = None
    type: Annotated[ShortText | None, Field(description="Only of events of this type.")] = None
    job_id: Annotated[ShortText | None, Field(description="Only of this job's events: the provider's id.")] = None
    error_kind: Annotated[ErrorWord | None, Field(description="Only of this kind; empty: without a kind.")] = None
    reason: Annotated[ErrorWord | None, Field(description="Only for this reason; empty: without one.")] = None
    since: Annotated[Time | None, Field(description="Only of events received at or after this time.")] = None
    until: Annotated[Time | None, Field(description="Only of events received before this time.")] = None
    metadata: MetadataPairs = ()


class RunErrorsQuery(RequestModel):
    """Which runs, and how many groups of them."""

    state: Annotated[
        Literal["pending", "running", "dead", "cancelled"], Field(description="Of the runs that are counted.")
    ] = "dead"
    handler: Annotated[HandlerName | None, Field(description="Only of this handler.")] = None
    source: Annotated[SourceName | None, Field(description="Only of this source's events.")] = None
    type: Annotated[ShortText | None, Field(description="Only of events of this type.")] = None
    error_kind: Annotated[ErrorWord | None, Field(description="Only of this kind; empty: without a kind.")] = None
    reason: Annotated[ErrorWord | None, Field(description="Only for this reason; empty: without one.")] = None
    since: Annotated[Time | None, Field(description="Only of events received at or after this time.")] = None
    until: Annotated[Time | None, Field(description="Only of events received before this time.")] = None
    metadata: MetadataPairs = ()
    limit: Annotated[int, Field(ge=1, le=MAX_ITEMS, description="Groups, the largest first."), DIGITS] = 20


async def list_runs(context: ApiContext, query: RunsQuery) -> ApiResponse:
    """Those of the newest event first, or of the oldest.

    The runs of one event are on one page, also if they are more than `limit`.
    """
    await require_names(context, query.source, query.type)
    filters = Filter(
        source=query.source, type=query.type, job=query.job_id, state=query.state, handler=query.handler,
        error_kind=query.error_kind, reason=query.reason, after=optional_seconds(query.since),
        before=optional_seconds(query.until), **query.from_cursor("evt_"),
        metadata=await require_metadata(context, query.metadata),
    )  # fmt: skip

    def read(connection: Connection) -> RunPage:
        rows, last = views.page_of_runs(connection, filters, query.limit, query.of_store)
        following = None if last is None else cursor_after(last)
        return RunPage(items=[run_of(row, context.redact) for row in rows], next=following)

    page = await context.database.read_list(read)
    if not page.items and query.handler is not None and query.cursor is None:
        require_handler(context, query.handler)
    return ApiResponse(200, page)


async def list_run_errors(context: ApiContext, query: RunErrorsQuery) -> ApiResponse:
    """Failed runs, grouped by handler, kind of error and reason: how many, since when, and one of them."""
    await require_names(context, query.source, query.type)
    filters = Filter(
        source=query.source, type=query.type, state=query.state, handler=query.handler, error_kind=query.error_kind,
        reason=query.reason, after=optional_seconds(query.since), before=optional_seconds(query.until),
        metadata=await require_metadata(context, query.metadata),
    )  # fmt: skip

    def read(connection: Connection) -> RunErrors:
        return run_errors_of(error_groups(connection, filters, query.limit), context.redact)

    found = await context.database.read_list(read)
    if not found.items and query.handler is not None:
        require_handler(context, query.handler)
    return ApiResponse(200, found)


def require_handler(context: ApiContext, name: str) -> None:
    """Refuse a filter that nothing matches, if no active handler has this name.

    Raises:
        ProblemError: 404, with the nearest name.
    """
    try:
        check_handlers([name], context.registry.active)
    except NoSuchHandler as error:
        errors = [InvalidField(f"query.{error.field}", str(error))]
        raise ProblemError(404, str(error), reason=error.reason, errors=errors) from None
