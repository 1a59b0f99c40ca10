"""Jobs: watched, listed, shown, cancelled."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from sqlalchemy import Connection

from receiver.engine.filters import OUR_TYPES, UnknownName, check_filter, no_such_source
from receiver.engine.jobs.commands import NotWatchable
from receiver.engine.jobs.service import NotAskable
from receiver.errors import Conflict
from receiver.store import jobs
from receiver.store.states import JobState
from receiver.web.api.context import ApiContext, Row
from receiver.web.api.fields import Incoming, JobId, Paging, Printable, SourceName, StrictIncoming, cursor_after
from receiver.web.api.models import Job, JobPage, job_of
from receiver.web.api.operations import Reply
from receiver.web.api.problems import FieldError, Refusal
from receiver.web.api.redaction import whole


class JobPath(Incoming):
    """Which job."""

    id: JobId


class JobsQuery(Paging):
    """Which jobs."""

    source: Annotated[SourceName | None, Field(description="Only of this source.")] = None
    state: Annotated[JobState | None, Field(description="Only in this state.")] = None


class WatchRequest(StrictIncoming):
    """A job that was submitted elsewhere."""

    source: Annotated[SourceName, Field(description="The configured source whose account submitted it.")]
    job_id: Annotated[Printable, Field(description="The provider's id of the job.")]


def show(context: ApiContext, row: Row) -> Job:
    """A job's row as it may be shown."""
    error = None if row["error"] is None else context.redact(row["error"])
    return job_of({**row, "error": error}, whole(row["request"], context.redact))


def location(context: ApiContext, row: Row) -> dict[str, str]:
    """Where a job is."""
    return {"Location": f"{context.settings.server.root_path}/v1/jobs/{row['id']}"}


def require_source(context: ApiContext, name: str) -> None:
    """Refuse a name that no source has.

    Raises:
        Refusal: 404.
    """
    if name not in context.settings.sources:
        error = no_such_source(name, context.settings.sources)
        raise Refusal(404, str(error), reason=error.reason)


async def require_names(context: ApiContext, source: str | None, type_: str | None = None) -> None:
    """Refuse a filter by a source or an event type that does not exist.

    Raises:
        Refusal: 404, with the nearest name.
    """
    configured = context.settings.sources
    if (source is None or source in configured) and (type_ is None or type_ in OUR_TYPES):
        return
    try:
        await context.database.read_list(check_filter, configured, source, type_)
    except UnknownName as error:
        what = str(error)
        raise Refusal(404, what, reason=error.reason, errors=[FieldError(f"query.{error.field}", what)]) from None


async def watch_job(context: ApiContext, body: WatchRequest) -> Reply:
    """Watch a job that was submitted elsewhere: its end becomes an event, by webhook or by polling.

    A job that is watched already stays as it is; one that was cancelled or has expired is watched again.
    """
    require_source(context, body.source)
    try:
        row, new = await context.watch(body.source, body.job_id)
    except (NotAskable, NotWatchable) as error:
        raise Refusal(422, str(error), reason=error.reason) from None
    return Reply(201 if new else 200, show(context, row), location(context, row))


async def list_jobs(context: ApiContext, query: JobsQuery) -> Reply:
    """The newest first."""
    await require_names(context, query.source)
    which = jobs.JobFilter(
        source=query.source,
        states=None if query.state is None else (query.state,),
        before=query.before("job_"),
    )

    def read(connection: Connection) -> Reply:
        page, more = jobs.page_of_jobs(connection, which, query.limit)
        following = cursor_after(page[-1]["id"]) if more else None
        return Reply(200, JobPage(items=[show(context, row) for row in page], next=following))

    return await context.database.read_list(read)


async def get_job(context: ApiContext, path: JobPath) -> Reply:
    """One job in any state, `cancelled` included."""
    return Reply(200, show(context, await _row(context, path.id)))


async def cancel_job(context: ApiContext, path: JobPath) -> Reply:
    """Watch it no longer, or do not submit it. At the provider it goes on; it stays in the list, as `cancelled`."""
    try:
        cancelled = await context.cancel(path.id)
    except Conflict as error:
        row = await _row(context, path.id)
        more = {"job": show(context, row).model_dump(mode="json")}
        raise Refusal(409, str(error), reason=error.reason, more=more) from None
    return Reply(200, show(context, _known(cancelled, path.id)))


async def _row(context: ApiContext, id: str) -> Row:
    return _known(await context.database.read_list(jobs.get, id), id)


def _known(row: Row | None, id: str) -> Row:
    if row is None:
        raise Refusal(404, f"There is no job {id}.", reason="not_found")
    return row
