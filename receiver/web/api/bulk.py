"""Operations on all that matches a filter: counted, or accepted and done in the background; their progress."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator
from sqlalchemy import Connection

from receiver.engine.audit import Auditor
from receiver.engine.filters import NoSuchHandler, check_handlers
from receiver.engine.matching import MAX_COUNTED
from receiver.engine.operations import Bulk
from receiver.model.ids import CHANGE_PREFIX
from receiver.model.metadata import MAX_PAIRS
from receiver.store import operations
from receiver.store.event_pages import Filter
from receiver.web.api.bulk_models import BulkOperationPage, DryRun, Match, operation_of
from receiver.web.api.context import ApiContext
from receiver.web.api.fields import (
    INTEGER,
    BodyTime,
    ChangeId,
    ErrorWord,
    EventId,
    HandlerName,
    MetadataPair,
    OrderedPaging,
    RequestModel,
    ShortText,
    SourceName,
    StrictRequestModel,
    optional_seconds,
)
from receiver.web.api.jobs import require_metadata, require_names
from receiver.web.api.models import EventState, next_page
from receiver.web.api.operations import ApiResponse
from receiver.web.api.problems import InvalidField, ProblemError

NOT_CONDITIONS = {"dry_run", "count_up_to", "handlers"}
"""Fields of the bodies that select nothing."""


class OperationPath(RequestModel):
    """Which operation."""

    id: ChangeId


class _Selection(StrictRequestModel):
    """Which events; at least one condition."""

    dry_run: Annotated[bool, Field(description="Count what matches, and change nothing.")] = False
    count_up_to: Annotated[
        int, Field(ge=1, le=MAX_COUNTED, description="For a dry run: to count less is faster."), INTEGER
    ] = MAX_COUNTED
    source: Annotated[SourceName | None, Field(description="Only of this source.")] = None
    type: Annotated[ShortText | None, Field(description="Only of events of this type.")] = None
    job_id: Annotated[ShortText | None, Field(description="Only of this job: the provider's id.")] = None
    since: Annotated[BodyTime | None, Field(description="Only of events received at or after this time.")] = None
    until: Annotated[BodyTime | None, Field(description="Only of events received before this time.")] = None
    metadata: Annotated[
        list[MetadataPair],
        Field(default_factory=list, max_length=MAX_PAIRS, description="Only with all these, as `KEY=VALUE`."),
    ]

    @property
    def has_condition(self) -> bool:
        """Whether it selects anything in particular."""
        given = self.model_fields_set - NOT_CONDITIONS
        return any(getattr(self, name) not in (None, []) for name in given)

    @model_validator(mode="after")
    def _is_text(self) -> Any:
        if any("\0" in value for value in self.model_dump().values() if isinstance(value, str)):
            raise ValueError("contains a NUL character")  # nothing that is stored has one
        return self

    def filter(self) -> Filter:
        """As a filter of the store, without the metadata."""
        return Filter(
            source=self.source,
            type=self.type,
            job=self.job_id,
            after=optional_seconds(self.since),
            before=optional_seconds(self.until),
            **{
                name: getattr(self, name)
                for name in ("state", "handler", "error_kind", "reason", "event_id")
                if name in type(self).model_fields
            },
        )


class _RunSelection(_Selection):
    """Which runs; at least one condition."""

    event_id: Annotated[EventId | None, Field(description="Only of this event.")] = None
    handler: Annotated[HandlerName | None, Field(description="Only of this handler.")] = None
    error_kind: Annotated[ErrorWord | None, Field(description="Only of this kind; empty: without a kind.")] = None
    reason: Annotated[ErrorWord | None, Field(description="Only for this reason; empty: without one.")] = None


class RunsToReplay(_RunSelection):
    """Which finished runs; at least one condition."""

    state: Annotated[Literal["dead", "succeeded", "cancelled"] | None, Field(description="Only in this state.")] = None


class RunsToCancel(_RunSelection):
    """Which open runs; at least one condition."""

    state: Annotated[Literal["pending", "running"] | None, Field(description="Only in this state.")] = None


class RunsToRetry(_RunSelection):
    """Which pending runs; at least one condition."""


class EventsToReplay(_Selection):
    """Which events, and whose runs; at least one condition."""

    state: Annotated[EventState | None, Field(description="Only with this state of their runs as a whole.")] = None
    error_kind: Annotated[ErrorWord | None, Field(description="Only with a run with an error of this kind.")] = None
    reason: Annotated[ErrorWord | None, Field(description="Only with a run with an error for this reason.")] = None
    handlers: Annotated[
        list[HandlerName],
        Field(default_factory=list, max_length=100, description="Only these; empty for all that an event is for."),
    ]


class EventsToRelease(_Selection):
    """Which events in quarantine; at least one condition."""


async def replay_runs(context: ApiContext, audit: Auditor, body: RunsToReplay) -> ApiResponse:
    """Make the finished runs that match due again, with all their attempts.

    Runs that end after the request was accepted are not part of it, so none is replayed twice.
    """
    return await _answer(context, audit, body, Bulk(audit.operation, body.filter()))


async def cancel_runs(context: ApiContext, audit: Auditor, body: RunsToCancel) -> ApiResponse:
    """Cancel the open runs that match, of events received so far. A running handler is stopped within a lease."""
    return await _answer(context, audit, body, Bulk(audit.operation, body.filter()))


async def retry_runs(context: ApiContext, audit: Auditor, body: RunsToRetry) -> ApiResponse:
    """Make the pending runs that match due now, without their wait. Their attempts count as before."""
    return await _answer(context, audit, body, Bulk(audit.operation, body.filter()))


async def replay_events(context: ApiContext, audit: Auditor, body: EventsToReplay) -> ApiResponse:
    """Run the handlers of the events that match again, each event as `POST /v1/events/{id}/replay` does.

    Events that it would refuse are counted as `refused`, and do not affect the others.
    """
    return await _answer(context, audit, body, Bulk(audit.operation, body.filter(), body.handlers))


async def release_events(context: ApiContext, audit: Auditor, body: EventsToRelease) -> ApiResponse:
    """Take the events that match out of quarantine, and dispatch them."""
    return await _answer(context, audit, body, Bulk(audit.operation, replace(body.filter(), state="quarantined")))


async def list_operations(context: ApiContext, query: OrderedPaging) -> ApiResponse:
    """The newest first, or the oldest."""

    def read(connection: Connection) -> ApiResponse:
        rows = operations.page(connection, query.last_id(CHANGE_PREFIX), query.limit + 1, query.of_store)
        page, following = next_page(rows, query.limit)
        return ApiResponse(200, BulkOperationPage(items=[operation_of(row) for row in page], next=following))

    return await context.database.read_list(read)


async def get_operation(context: ApiContext, path: OperationPath) -> ApiResponse:
    """How far an operation is. It is kept for `store.audit_days`."""
    row = await context.database.read_list(operations.get, path.id)
    return ApiResponse(200, operation_of(_require(row, path.id)))


async def stop_operation(context: ApiContext, audit: Auditor, path: OperationPath) -> ApiResponse:
    """Stop an operation after the batch in progress. What it has changed stays.

    One that has failed is stopped as well: no operator is needed any more. One that has completed does not change.
    """
    row = await context.operations.stop(audit.single(operation=path.id), path.id)
    return ApiResponse(200, operation_of(_require(row, path.id)))


async def resume_operation(context: ApiContext, audit: Auditor, path: OperationPath) -> ApiResponse:
    """Continue an operation that has failed or was stopped, after the last event that it examined.

    What is to be changed stays as it was when it was accepted. One that has completed does not change.
    """
    row = await context.operations.resume(audit.single(operation=path.id), path.id)
    return ApiResponse(200, operation_of(_require(row, path.id)))


async def _answer(context: ApiContext, audit: Auditor, body: _Selection, bulk: Bulk) -> ApiResponse:
    """The count, or the accepted operation.

    Raises:
        ProblemError: 404 for an unknown name, 422 for metadata that is not indexed, or without any condition.
    """
    if not body.has_condition:
        what = "name at least one condition, or everything would match"
        raise ProblemError(422, f"The body must {what}.", reason="invalid_request", errors=[InvalidField("body", what)])
    filter = bulk.filter
    await require_names(context, filter.source, filter.type, "body")
    pairs = await require_metadata(context, body.metadata, "body")
    bulk = replace(bulk, filter=replace(filter, metadata=pairs))
    _require_handlers(context, bulk.handlers, "handlers")
    if body.dry_run:
        found = await context.operations.preview(bulk, body.count_up_to)
        if not found.number and filter.handler is not None:
            _require_handlers(context, [filter.handler], "handler")
        matches = [Match(event_id=event_id, handler=handler) for event_id, handler in found.examples]
        count = min(found.number, body.count_up_to)
        return ApiResponse(200, DryRun(count=count, more=found.number > count, examples=matches))
    row = await context.operations.accept(audit, bulk)
    location = {"Location": f"{context.settings.server.root_path}/v1/operations/{row['id']}"}
    return ApiResponse(202, operation_of(row), location)


def _require_handlers(context: ApiContext, names: Sequence[str], field: str) -> None:
    try:
        check_handlers(names, context.registry.active)
    except NoSuchHandler as error:
        errors = [InvalidField(f"body.{field}", str(error))]
        raise ProblemError(404, str(error), reason=error.reason, errors=errors) from None


def _require(row: operations.Row | None, id: str) -> operations.Row:
    if row is None:
        raise ProblemError(404, f"There is no operation {id}.", reason="not_found")
    return row
