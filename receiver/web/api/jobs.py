"""Operations on jobs: watch, list, show, cancel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field
from sqlalchemy import Connection

from receiver.engine.audit import Auditor
from receiver.engine.filters import UnknownName, check_filter, check_metadata, no_such_source
from receiver.engine.jobs.commands import NotWatchable
from receiver.engine.jobs.service import NoApiAccess
from receiver.errors import Conflict
from receiver.model.event import OUR_TYPES
from receiver.model.metadata import Pair, parse_pairs
from receiver.store import job_pages, jobs
from receiver.store.metadata_index import MetadataNotIndexed
from receiver.store.states import JobKind, JobState
from receiver.web.api.context import ApiContext, Row
from receiver.web.api.fields import (
    JobId,
    MetadataPairs,
    OrderedPaging,
    Printable,
    RequestModel,
    ShortText,
    SourceName,
    StrictRequestModel,
    Time,
    cursor_after,
    optional_seconds,
)
from receiver.web.api.models import Job, JobPage
from receiver.web.api.operations import ApiResponse
from receiver.web.api.problems import InvalidField, ProblemError
from receiver.web.api.rows import job_of


class JobPath(RequestModel):
    """Which job."""

    id: JobId


class JobsQuery(OrderedPaging):
    """Which jobs."""

    source: Annotated[SourceName | None, Field(description="Only of this source.")] = None
    state: Annotated[JobState | None, Field(description="Only in this state.")] = None
    job_id: Annotated[ShortText | None, Field(description="Only this job: the receiver's id, or the provider's.")] = (
        None
    )
    since: Annotated[Time | None, Field(description="Only those created at or after this time.")] = None
    until: Annotated[Time | None, Field(description="Only those created before this time.")] = None
    metadata: MetadataPairs = ()


class WatchRequest(StrictRequestModel):
    """A job that was submitted elsewhere."""

    source: Annotated[SourceName, Field(description="The configured source whose account submitted it.")]
    job_id: Annotated[Printable, Field(description="The provider's id of the job.")]
    kind: Annotated[
        Literal["speech", "task"] | None,
        Field(description="What it is, if that is known. Only a `task` may end with other files than audio."),
    ] = None


def redacted_job(context: ApiContext, row: Row) -> Job:
    """A job's row as a response, without secrets."""
    return job_of(row, context.redact)


def location_header(context: ApiContext, row: Row) -> dict[str, str]:
    """The `Location` header of a job."""
    return {"Location": f"{context.settings.server.root_path}/v1/jobs/{row['id']}"}


def require_source(context: ApiContext, name: str) -> None:
    """Refuse a name that is not a source's.

    Raises:
        ProblemError: 404.
    """
    if name not in context.settings.sources:
        error = no_such_source(name, context.settings.sources)
        raise ProblemError(404, str(error), reason=error.reason)


async def require_names(context: ApiContext, source: str | None, type_: str | None = None, part: str = "query") -> None:
    """Refuse a filter by a source or an event type that does not exist.

    Args:
        part: of the request, which has the filter.

    Raises:
        ProblemError: 404, with the nearest name.
    """
    configured = context.settings.sources
    if (source is None or source in configured) and (type_ is None or type_ in OUR_TYPES):
        return
    try:
        await context.database.read_list(check_filter, configured, source, type_)
    except UnknownName as error:
        what = str(error)
        errors = [InvalidField(f"{part}.{error.field}", what)]
        raise ProblemError(404, what, reason=error.reason, errors=errors) from None


async def require_metadata(context: ApiContext, texts: Sequence[str], part: str = "query") -> tuple[Pair, ...]:
    """The pairs of a filter by metadata, which must be indexed; `part` as for `require_names`.

    Raises:
        ProblemError: 422, with what to do.
    """
    pairs = parse_pairs(texts)
    if pairs:
        try:
            await context.database.read_list(check_metadata, context.settings.search.metadata, pairs)
        except MetadataNotIndexed as error:
            what = str(error)
            errors = [InvalidField(f"{part}.metadata", what)]
            raise ProblemError(422, what, reason=error.reason, errors=errors) from None
    return pairs


async def watch_job(context: ApiContext, audit: Auditor, body: WatchRequest) -> ApiResponse:
    """Watch a job that was submitted elsewhere: its end becomes an event, by webhook or by polling.

    A job that is already watched does not change; one that was cancelled or has expired is watched again.
    """
    require_source(context, body.source)
    try:
        recorder = audit.single(source=body.source, job_id=body.job_id, kind=body.kind)
        kind = None if body.kind is None else JobKind(body.kind)
        row, new = await context.watch(recorder, body.source, body.job_id, kind)
    except (NoApiAccess, NotWatchable) as error:
        raise ProblemError(422, str(error), reason=error.reason) from None
    return ApiResponse(201 if new else 200, redacted_job(context, row), location_header(context, row))


async def list_jobs(context: ApiContext, query: JobsQuery) -> ApiResponse:
    """The newest first, or the oldest, by when the receiver learned of them."""
    await require_names(context, query.source)
    filters = job_pages.JobFilter(
        source=query.source,
        states=None if query.state is None else (query.state,),
        job=query.job_id,
        created_after=optional_seconds(query.since),
        created_before=optional_seconds(query.until),
        metadata=await require_metadata(context, query.metadata),
        **query.from_cursor("job_"),
    )

    def read(connection: Connection) -> ApiResponse:
        page, has_more = job_pages.page_of_jobs(connection, filters, query.limit, query.of_store)
        following = cursor_after(page[-1]["id"]) if has_more else None
        return ApiResponse(200, JobPage(items=[redacted_job(context, row) for row in page], next=following))

    return await context.database.read_list(read)


async def get_job(context: ApiContext, path: JobPath) -> ApiResponse:
    """One job in any state, `cancelled` included."""
    return ApiResponse(200, redacted_job(context, await _find_job(context, path.id)))


async def cancel_job(context: ApiContext, audit: Auditor, path: JobPath) -> ApiResponse:
    """Stop watching it, or do not submit it. The provider continues it. It stays in the list, as `cancelled`."""
    try:
        cancelled = await context.cancel(audit.single(job=path.id), path.id)
    except Conflict as error:
        row = await _find_job(context, path.id)
        extensions = {"job": redacted_job(context, row).model_dump(mode="json")}
        raise ProblemError(409, str(error), reason=error.reason, extensions=extensions) from None
    return ApiResponse(200, redacted_job(context, _require_job(cancelled, path.id)))


async def _find_job(context: ApiContext, id: str) -> Row:
    return _require_job(await context.database.read_list(jobs.get, id), id)


def _require_job(row: Row | None, id: str) -> Row:
    if row is None:
        raise ProblemError(404, f"There is no job {id}.", reason="not_found")
    return row
