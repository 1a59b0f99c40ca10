"""Events: lists, everything about one, and its handlers run again."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, StringConstraints
from sqlalchemy import Connection

from receiver.engine.replay import NotReplayable, replay_events, reverify
from receiver.errors import NotFound
from receiver.model.json_body import document_of
from receiver.model.timestamps import utc
from receiver.providers.protocols import WebhookProvider
from receiver.store import views
from receiver.store.event_pages import Filter
from receiver.web.api.context import ApiContext
from receiver.web.api.fields import EventId, Incoming, Paging, SourceName, StrictIncoming, Word, moment
from receiver.web.api.jobs import require_names
from receiver.web.api.models import (
    Artifact,
    Attempt,
    EventDetail,
    EventPage,
    EventState,
    HeaderLine,
    Replayed,
    Run,
    event_of,
    next_page,
)
from receiver.web.api.operations import Reply
from receiver.web.api.problems import Refusal
from receiver.web.api.redaction import header_lines, shown


class EventPath(Incoming):
    """Which event."""

    id: EventId


class EventsQuery(Paging):
    """Which events."""

    source: Annotated[SourceName | None, Field(description="Only of this source.")] = None
    type: Annotated[Word | None, Field(description="Only of this type, such as `job.completed`.")] = None
    job_id: Annotated[Word | None, Field(description="Only of this job: the provider's id.")] = None
    state: Annotated[EventState | None, Field(description="Only where their runs stand so.")] = None


HandlerName = Annotated[str, StringConstraints(min_length=1, max_length=63)]


class ReplayRequest(StrictIncoming):
    """What to run again."""

    handlers: Annotated[
        list[HandlerName],
        Field(
            default_factory=list,
            max_length=100,
            description="Names of handlers; none for all that subscribe to the event.",
        ),
    ]


async def list_events(context: ApiContext, query: EventsQuery) -> Reply:
    """The newest first. An event that is committed late may appear behind ones that were listed before it.

    To miss nothing, use `GET /v1/stream`.
    """
    await require_names(context, query.source, query.type)
    which = Filter(
        source=query.source, type=query.type, job=query.job_id, state=query.state, older_than=query.before("evt_")
    )

    def read(connection: Connection) -> Reply:
        page, following = next_page(views.list_events(connection, which, query.limit + 1), query.limit)
        return Reply(200, EventPage(items=[event_of(row) for row in page], next=following))

    return await context.database.read_list(read)


async def get_event(context: ApiContext, path: EventPath) -> Reply:
    """With its runs, their attempts, and the audio that was fetched."""

    def read(connection: Connection) -> Reply:
        row = views.get_event(connection, path.id)
        if row is None:
            raise not_there(path.id)
        return Reply(200, _detail(context, row))

    return await context.database.read_list(read)


async def replay(context: ApiContext, path: EventPath, body: ReplayRequest) -> Reply:
    """Make the event's runs due again, after its stored signature was checked over its stored body.

    With `handlers` only those; a handler that has no run of it yet is given one. A run that is open is left as it is.
    """
    [outcome] = await context.database.write(
        replay_events, context.settings, context.registry, [path.id], body.handlers, context.clock.now()
    )
    if isinstance(outcome.error, NotFound):
        raise not_there(path.id)
    if isinstance(outcome.error, NotReplayable):
        raise Refusal(409, str(outcome.error), reason=outcome.error.reason)
    if outcome.error is not None:
        raise outcome.error
    context.wake()
    return Reply(202, Replayed(event=path.id, handlers=outcome.handlers))


def not_there(id: str) -> Refusal:
    """The answer where an event is not there."""
    return Refusal(404, f"There is no event {id}.", reason="not_found")


def _detail(context: ApiContext, row: dict[str, Any]) -> EventDetail:
    redact = context.redact
    source = context.settings.sources.get(row["source"])
    provider = source.provider if source is not None else None
    unsigned = provider.kept_headers if isinstance(provider, WebhookProvider) else ()
    try:
        signature = "valid" if reverify(context.settings, row) else "cannot be checked"
    except NotReplayable:
        signature = "invalid"
    summary = {name: row[name] for name in ("id", "source", "type", "job_id", "origin", "state", "duplicates")}
    return EventDetail(
        **summary,
        conflict=row["conflict"],
        received_at=utc(row["received_at"]),
        key_id=row["key_id"],
        skew=row["skew"],
        signature=signature,
        payload=shown(row["payload"], redact),
        headers=[HeaderLine(**line) for line in header_lines(row["headers"], unsigned, redact)],
        body=redact(row["body"].decode("utf-8", "backslashreplace")),
        document=shown(document_of(row["body"]), redact),
        runs=[_run(context, run) for run in row["runs"]],
        attempts=[
            Attempt(
                handler=attempt["handler"],
                number=attempt["number"],
                started_at=utc(attempt["started"]),
                seconds=round(attempt["ended"] - attempt["started"], 6),
                outcome=attempt["outcome"],
                error=None if attempt["error"] is None else redact(attempt["error"]),
            )
            for attempt in row["attempts"]
        ],
        artifacts=[_artifact(context, artifact) for artifact in row["artifacts"]],
    )


def _run(context: ApiContext, run: dict[str, Any]) -> Run:
    return Run(
        handler=run["handler"],
        state=run["state"],
        attempts=run["attempt"] - run["forgiven"],
        crashes=run["crashes"],
        due_at=utc(run["due_at"]),
        started_at=moment(run["started_at"]),
        finished_at=moment(run["finished_at"]),
        result=shown(run["result"], context.redact),
        error=None if run["error"] is None else context.redact(run["error"]),
    )


def _artifact(context: ApiContext, row: dict[str, Any]) -> Artifact:
    return Artifact(
        n=row["n"],
        audio=f"{context.settings.server.root_path}/v1/events/{row['event_id']}/audio?n={row['n']}",
        address=row["address"],
        bytes=row["bytes"],
        sha256=row["sha256"],
        content_type=row["content_type"],
        format=row["format"],
        duration_seconds=row["duration"],
        sample_rate=row["sample_rate"],
        channels=row["channels"],
        fetched_at=utc(row["fetched_at"]),
    )
