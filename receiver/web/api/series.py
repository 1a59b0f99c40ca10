"""What was counted by the minute: series over time, and the attempts of handlers."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Annotated

from pydantic import Field
from sqlalchemy import Connection

from receiver.engine import handler_stats, series
from receiver.engine.series import By, CountedSeries, Step, TooManyPoints, Window
from receiver.model.timestamps import utc
from receiver.store.rollups import Kind
from receiver.web.api.context import ApiContext
from receiver.web.api.fields import (
    DIGITS,
    HandlerName,
    RequestModel,
    ResponseModel,
    SourceName,
    Time,
    optional_seconds,
)
from receiver.web.api.jobs import require_names
from receiver.web.api.operations import ApiResponse
from receiver.web.api.problems import InvalidField, ProblemError
from receiver.web.api.runs import require_handler

OF_HANDLERS = (Kind.RUNS, Kind.RUN_SECONDS)
"""What is counted by handler; all else is by source."""
_KINDS = (
    "What is counted, and its labels. `deliveries`: outcomes (`accepted`, `duplicate`, `quarantined`, a refusal's "
    "reason). `events`: types. `runs`: outcomes of attempts. `run_seconds`: attempts, by the upper bound of their "
    "duration in seconds. `polls`, `submits`: outcomes of requests to the service."
)
MAX_SERIES = 100
HOUR_SECONDS = 3600.0


class SeriesQuery(RequestModel):
    """What of the counts."""

    kind: Annotated[Kind, Field(description=_KINDS)]
    step: Annotated[Step, Field(description="Between two points. Minutes are kept for 2 days, hours for 60 days.")] = (
        Step.MINUTE
    )
    since: Annotated[
        Time | None,
        Field(description="In the first step. By default an hour before `until`; for `10m` a day, for `1h` a week."),
    ] = None
    until: Annotated[
        Time | None, Field(description="After the last step. By default the end of the last minute that was counted.")
    ] = None
    source: Annotated[SourceName | None, Field(description="Only of this source.")] = None
    handler: Annotated[HandlerName | None, Field(description="Only of this handler: for `runs`, `run_seconds`.")] = None
    by: Annotated[
        By,
        Field(
            description="What is not added up: counts by `name` (of the source or handler), by `label`, by `both`, or "
            "`none`."
        ),
    ] = By.BOTH
    limit: Annotated[int, Field(ge=1, le=MAX_SERIES, description="Series, the largest first."), DIGITS] = 20


class Series(ResponseModel):
    """What was counted of one thing."""

    source: Annotated[str | None, Field(description="null: of all, or counted by handler.")]
    handler: Annotated[str | None, Field(description="null: of all, or counted by source.")]
    label: Annotated[str | None, Field(description="As `kind` says; null: of all. `other`: further ones together.")]
    total: int
    counts: Annotated[list[int], Field(description="One for each step, the oldest first.")]


class SeriesList(ResponseModel):
    """Series of the same time and steps."""

    kind: Kind
    since: Annotated[datetime, Field(description="The beginning of the first step.")]
    until: Annotated[datetime, Field(description="The last step begins before it.")]
    step_seconds: int
    items: Annotated[list[Series], Field(description="Those with the largest totals, the largest first.")]
    series: Annotated[int, Field(description="How many there are; more than `items` if `limit` is reached.")]


class HandlerStatsQuery(RequestModel):
    """Of what time."""

    since: Annotated[Time | None, Field(description="Ended since; by default an hour before `until`.")] = None
    until: Annotated[Time | None, Field(description="By default the end of the last minute that was counted.")] = None


_BOUND = "Of so many attempts none took longer: {}. The upper bound of a bucket; null without attempts, or beyond 300."


class HandlerStats(ResponseModel):
    """The attempts of a handler in a time."""

    name: str
    succeeded: int
    failed: int
    failure_rate: Annotated[float | None, Field(description="The share that failed, 0 to 1; null without attempts.")]
    p50_seconds: Annotated[float | None, Field(description=_BOUND.format("half"))]
    p95_seconds: Annotated[float | None, Field(description=_BOUND.format("95 %"))]


class HandlerStatsList(ResponseModel):
    """The attempts of every handler that had any."""

    since: datetime
    until: datetime
    items: Annotated[list[HandlerStats], Field(description="By name.")]


async def list_series(context: ApiContext, query: SeriesQuery) -> ApiResponse:
    """How many deliveries, events, attempts of runs or requests there were, minute by minute, or by longer steps.

    All processes count, and add what they counted a few seconds after each minute. A step may be in progress.
    """
    of_handlers = query.kind in OF_HANDLERS
    if (query.source if of_handlers else query.handler) is not None:
        other, by = ("source", "handler") if of_handlers else ("handler", "source")
        raise _invalid(other, f"cannot be given: {query.kind} are counted by {by}")
    await require_names(context, query.source)
    try:
        of = series.window(
            query.step, optional_seconds(query.since), optional_seconds(query.until), context.clock.now()
        )
    except TooManyPoints as error:
        raise _invalid("since", f"{str(error)[:1].lower()}{str(error)[1:]}") from None

    name = query.source or query.handler

    def read(connection: Connection) -> tuple[ApiResponse, bool]:
        found = read_series(connection, query.kind, of, query.by, query.limit, name)
        return ApiResponse(200, found), bool(found.items)

    response, counted = await context.database.read_list(read)
    if query.handler is not None and not counted:
        require_handler(context, query.handler)
    return response


async def list_handler_stats(context: ApiContext, query: HandlerStatsQuery) -> ApiResponse:
    """How often the attempts of each handler failed, and how long they took.

    The time begins with a whole minute; with a whole hour, if it began more than 2 days ago.
    """
    now = context.clock.now()
    until = series.counted_until(now) if query.until is None else query.until.timestamp()
    since = until - HOUR_SECONDS if query.since is None else query.since.timestamp()
    seconds = series.period_seconds(since, now)
    since = since // seconds * seconds

    def read(connection: Connection) -> ApiResponse:
        found = handler_stats.read_handler_stats(connection, seconds, since, math.ceil(until) - 1)
        items = [handler_stats_of(stats) for stats in found]
        return ApiResponse(200, HandlerStatsList(since=utc(since), until=utc(until), items=items))

    return await context.database.read_list(read)


def _invalid(name: str, what: str) -> ProblemError:
    errors = [InvalidField(f"query.{name}", what)]
    return ProblemError(422, f"`{name}` {what}.", reason="invalid_request", errors=errors)


def read_series(
    connection: Connection, kind: Kind, of: Window, by: By, limit: int, name: str | None = None
) -> SeriesList:  # fmt: skip
    """What `engine.series.read_series` finds, as a response."""
    found = series.read_series(connection, kind, of, by, limit, name)
    return SeriesList(
        kind=kind,
        since=utc(of.since),
        until=utc(of.until),
        step_seconds=of.step.seconds,
        items=[_series_of(kind, one) for one in found.largest],
        series=found.series,
    )


def _series_of(kind: Kind, counted: CountedSeries) -> Series:
    of_handler = kind in OF_HANDLERS
    return Series(
        source=None if of_handler else counted.name,
        handler=counted.name if of_handler else None,
        label=counted.label,
        total=counted.total,
        counts=list(counted.counts),
    )


def handler_stats_of(stats: handler_stats.HandlerStats) -> HandlerStats:
    """One handler of `engine.handler_stats`."""
    p50, p95 = (
        None if seconds is None or math.isinf(seconds) else seconds
        for seconds in (stats.p50_seconds, stats.p95_seconds)
    )
    return HandlerStats(
        name=stats.name, succeeded=stats.succeeded, failed=stats.failed, failure_rate=stats.failure_rate,
        p50_seconds=p50, p95_seconds=p95,
    )  # fmt: skip
