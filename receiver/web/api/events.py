"""Operations on events: list, show, replay, edit."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, JsonValue, StringConstraints
from sqlalchemy import Connection

from receiver.engine.audit import Auditor, recorded
from receiver.engine.editing import Edit, NotEdited, PayloadTooLarge, edit_event
from receiver.engine.replay import NotReplayable, count_due, replay_events
from receiver.errors import NotFound
from receiver.model.ids import event_id
from receiver.model.redact_json import RedactedValue
from receiver.store import views
from receiver.store.error_search import MAX_CHARACTERS, search_events
from receiver.store.event_pages import Filter
from receiver.store.jobs import ClientKeyReused
from receiver.web.api.context import ApiContext
from receiver.web.api.fields import (
    ErrorWord,
    EventId,
    HandlerName,
    IdempotencyKey,
    MetadataPairs,
    OrderedPaging,
    RequestModel,
    ShortText,
    SourceName,
    StrictRequestModel,
    Time,
    cursor_after,
    optional_seconds,
)
from receiver.web.api.jobs import require_metadata, require_names
from receiver.web.api.models import (
    Edited,
    EventOrigin,
    EventPage,
    EventState,
    Replayed,
    event_of,
    next_page,
)
from receiver.web.api.operations import ApiResponse
from receiver.web.api.problems import InvalidField, ProblemError
from receiver.web.api.rows import event_detail_of


class EventPath(RequestModel):
    """Which event."""

    id: EventId


ERROR_KIND = "Only with a run whose last error is of this kind, such as `rejected` or `KeyError`."
REASON = "Only with a run whose last error has this reason, a handler's word; empty: none."


class EventsQuery(OrderedPaging):
    """Which events."""

    source: Annotated[SourceName | None, Field(description="Only of this source.")] = None
    type: Annotated[ShortText | None, Field(description="Only of this type, such as `job.completed`.")] = None
    job_id: Annotated[ShortText | None, Field(description="Only of this job: the provider's id.")] = None
    state: Annotated[EventState | None, Field(description="Only with this state of their runs as a whole.")] = None
    origin: Annotated[EventOrigin | None, Field(description="Only those of which the receiver learned so.")] = None
    error_kind: Annotated[ErrorWord | None, Field(description=ERROR_KIND)] = None
    reason: Annotated[ErrorWord | None, Field(description=REASON)] = None
    since: Annotated[Time | None, Field(description="Only those received at or after this time.")] = None
    until: Annotated[Time | None, Field(description="Only those received before this time.")] = None
    metadata: MetadataPairs = ()
    error_text: Annotated[
        str | None,
        StringConstraints(min_length=1, max_length=MAX_CHARACTERS),
        Field(
            description="Only with a dead run whose error has all these words, in any case, also as parts of others. "
            "A page reads up to 10,000 errors: it may have few items, or none, and a `next`."
        ),
    ] = None


class ReplayRequest(StrictRequestModel):
    """What to run again."""

    handlers: Annotated[
        list[HandlerName],
        Field(
            default_factory=list,
            max_length=100,
            description="Names of handlers; empty for all that subscribe to the event.",
        ),
    ]


class EditRequest(StrictRequestModel):
    """What to make of an event."""

    payload: Annotated[
        dict[str, JsonValue],
        Field(
            description="The whole `payload` of the new event. A text with `[redacted]` that `GET /v1/events/{id}` "
            "shows stays what it was."
        ),
    ]
    handlers: Annotated[
        list[HandlerName],
        Field(
            default_factory=list,
            max_length=100,
            description="Names of handlers; empty for all that subscribe to the new event.",
        ),
    ]


class EditHeaders(RequestModel):
    """The idempotency key, which makes it safe to repeat the request."""

    key: Annotated[
        IdempotencyKey | None,
        Field(alias="Idempotency-Key", description="Yours: the same key and edit of an event make one new event."),
    ] = None


async def list_events(context: ApiContext, query: EventsQuery) -> ApiResponse:
    """The newest first, or the oldest.

    An event that is committed late may appear after events that were listed before.
    To miss none, use `GET /v1/stream`.
    """
    await require_names(context, query.source, query.type)
    filters = Filter(
        source=query.source,
        type=query.type,
        job=query.job_id,
        state=query.state,
        origin=query.origin,
        after=optional_seconds(query.since),
        before=optional_seconds(query.until),
        error_kind=query.error_kind,
        reason=query.reason,
        metadata=await require_metadata(context, query.metadata),
        **query.from_cursor("evt_"),
    )
    if query.error_text is not None and query.order == "oldest":
        what = "errors are searched the newest first"
        errors = [InvalidField("query.order", what)]
        raise ProblemError(422, f"`order`: {what}.", reason="invalid_request", errors=errors)

    def read(connection: Connection) -> ApiResponse:
        if query.error_text is not None:
            found = search_events(connection, filters, query.error_text, query.limit)
            following = None if found.stopped_at is None else cursor_after(found.stopped_at)
            items = [event_of(row) for row in found.rows]
            return ApiResponse(200, EventPage(items=items, next=following, examined=found.examined))
        page, following = next_page(
            views.list_events(connection, filters, query.limit + 1, query.of_store), query.limit
        )
        return ApiResponse(200, EventPage(items=[event_of(row) for row in page], next=following))

    return await context.database.read_list(read)


async def get_event(context: ApiContext, path: EventPath) -> ApiResponse:
    """The event with its runs, their attempts, and the fetched audio."""

    def read(connection: Connection) -> ApiResponse:
        row = views.get_event(connection, path.id)
        if row is None:
            raise event_not_found(path.id)
        return ApiResponse(200, event_detail_of(row, context.settings, context.redact))

    return await context.database.read_list(read)


async def replay(context: ApiContext, audit: Auditor, path: EventPath, body: ReplayRequest) -> ApiResponse:
    """Make the event's runs due again, once its stored signature is verified over its stored body.

    With `handlers`, only those runs; a handler without a run of the event gets one. If the event is not for one of
    them, nothing changes (409). An open run does not change.
    """
    [outcome] = await context.database.write(
        recorded,
        audit.single(event=path.id, handlers=body.handlers),
        count_due,
        replay_events,
        context.settings,
        context.registry,
        [path.id],
        body.handlers,
        context.clock.now(),
    )
    if isinstance(outcome.error, NotFound):
        raise event_not_found(path.id)
    if isinstance(outcome.error, NotReplayable):
        raise ProblemError(409, str(outcome.error), reason=outcome.error.reason)
    if outcome.error is not None:
        raise outcome.error
    context.wake()
    return ApiResponse(202, Replayed(event=path.id, handlers=outcome.handlers))


async def edit(
    context: ApiContext, audit: Auditor, path: EventPath, headers: EditHeaders, body: EditRequest
) -> ApiResponse:
    """Make a new event with an edited payload, and run its handlers.

    The new event has an identity of its own, the origin `edited`, and the source, type and job id of the other, which
    stays as it is. It never ends a job, whatever its type.
    """
    now = context.clock.now()
    try:
        result = await context.database.write(
            edit_event,
            context.settings,
            context.registry,
            audit.single(event=path.id, handlers=body.handlers),
            Edit(path.id, body.payload, body.handlers, headers.key),
            event_id(now, context.rng.getrandbits(74)),
            now,
        )
    except NotFound:
        raise event_not_found(path.id) from None
    except (NotReplayable, NotEdited) as error:
        raise ProblemError(409, str(error), reason=error.reason) from None
    except (ClientKeyReused, RedactedValue, PayloadTooLarge) as error:
        raise ProblemError(422, str(error), reason=error.reason) from None
    if result.new:
        context.wake()
        context.feed.wake()
    made = Edited(event=result.event_id, edited_from=path.id, handlers=result.handlers)
    location = f"{context.settings.server.root_path}/v1/events/{result.event_id}"
    return ApiResponse(201 if result.new else 200, made, {"Location": location})


def event_not_found(id: str) -> ProblemError:
    """The error for an event that does not exist."""
    return ProblemError(404, f"There is no event {id}.", reason="not_found")
