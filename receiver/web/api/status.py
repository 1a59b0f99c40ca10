"""The status: is all well, and if not what to do first."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field
from sqlalchemy import Connection

from receiver.engine.diagnosis import find_problems
from receiver.engine.disks import read_disks
from receiver.engine.status import HandlerStatus, SourceStatus, read_status
from receiver.engine.status import Status as StatusValues
from receiver.model.redact import Redactor
from receiver.model.timestamps import utc
from receiver.web.api.context import ApiContext
from receiver.web.api.fields import ResponseModel, optional_utc
from receiver.web.api.models import RunErrors, run_errors_of
from receiver.web.api.operations import ApiResponse
from receiver.web.api.series import HandlerStats, handler_stats_of
from receiver.web.api.setup import rate_buckets_of
from receiver.web.api.setup_models import RateBucket


class StatusProblem(ResponseModel):
    """Something that needs an operator."""

    name: Annotated[str, Field(description="A slug for programs; docs/reference/http.md lists them.")]
    text: Annotated[str, Field(description="What is wrong, in a sentence.")]
    command: Annotated[str, Field(description="The command to run next.")]


class ProcessCounts(ResponseModel):
    """How many processes are running."""

    receiving: Annotated[int, Field(description="That accept deliveries.")]
    working: Annotated[int, Field(description="That start handlers and poll jobs.")]


class RunCounts(ResponseModel):
    """How many runs there are that have not succeeded."""

    pending: int
    running: int
    dead: int
    oldest_due_seconds: Annotated[float | None, Field(description="How long the oldest due run has been due.")]


class RefusedDeliveries(ResponseModel):
    """Deliveries that were refused for one reason."""

    reason: Annotated[str, Field(description="A slug; docs/reference/errors.md lists them.")]
    last_day: Annotated[int, Field(description="In the last 24 hours.")]
    last_week: Annotated[int, Field(description="In the last 7 days.")]
    last_at: Annotated[datetime | None, Field(description="The minute of the last one, in the last 24 hours.")]


class SourcePause(ResponseModel):
    """No request is sent until then."""

    until: datetime
    reason: str


class FailingRequests(ResponseModel):
    """Requests of which none has succeeded since."""

    what: Annotated[str, Field(description="`polls` or `submits`.")]
    reason: Annotated[str, Field(description="The most frequent reason.")]
    count: Annotated[int, Field(description="In the last hour.")]


class SourceState(ResponseModel):
    """A source."""

    name: str
    accepted: Annotated[int, Field(description="New events by webhook in the last 24 hours.")]
    duplicates: Annotated[int, Field(description="Deliveries of events that were known, in the last 24 hours.")]
    ended_by_polling: Annotated[int, Field(description="Jobs whose end a poll reported, in the last 24 hours.")]
    refused: list[RefusedDeliveries]
    quarantined: Annotated[int, Field(description="Events in quarantine now.")]
    pause: SourcePause | None
    failing: list[FailingRequests]
    silent_seconds: Annotated[float, Field(description="Without a sign of it, while it has open jobs.")]
    silent: Annotated[bool, Field(description="Whether that is too long.")]
    received_at: Annotated[
        datetime | None, Field(description="When a delivery, or a response about a job, was last received.")
    ]
    open_jobs: int
    unknown_jobs: int
    rate_limits: Annotated[list[RateBucket], Field(description="As last reported; empty if the provider reports none.")]


class HandlerState(HandlerStats):
    """A handler that has runs, or had attempts in the last hour, which are counted."""

    pending: Annotated[int, Field(description="Runs in this state now.")]
    running: int
    dead: int


class DiskState(ResponseModel):
    """A disk of the machine that answers."""

    holds: Literal["store", "audio"]
    folder: str
    free_bytes: int | None
    low: bool


class Status(ResponseModel):
    """The state of the receiver, and what needs an operator."""

    ok: Annotated[bool, Field(description="Whether nothing needs an operator.")]
    at: datetime
    problems: Annotated[list[StatusProblem], Field(description="The most urgent first.")]
    processes: ProcessCounts
    runs: RunCounts
    dead: Annotated[RunErrors, Field(description="The largest groups of dead runs.")]
    sources: list[SourceState]
    handlers: list[HandlerState]
    disks: list[DiskState]


async def get_status(context: ApiContext) -> ApiResponse:
    """One glance for the operator on call: what needs an operator, the most urgent first, and the command to run next.

    Deliveries are counted for the last 24 hours, runs and requests for the last hour, up to the last full minute.
    """
    now = context.clock.now()

    def read(connection: Connection) -> ApiResponse:
        disks = read_disks(context.database.folder, context.storage.folder)
        found = read_status(connection, context.settings, context.polled, None, disks, now)
        return ApiResponse(200, status_of(found, context.redact))

    return await context.database.read_list(read)


def status_of(status: StatusValues, redact: Redactor) -> Status:
    """The status as a response."""
    problems = find_problems(status)
    return Status(
        ok=not problems,
        at=utc(status.at),
        problems=[
            StatusProblem(name=problem.name, text=redact(problem.text), command=problem.command) for problem in problems
        ],
        processes=ProcessCounts(receiving=status.receiving, working=status.working),
        runs=RunCounts(
            **{str(state): count for state, count in status.runs.items()}, oldest_due_seconds=status.oldest_due_seconds
        ),
        dead=run_errors_of(status.dead, redact),
        sources=[_source_of(source, status.at) for source in status.sources],
        handlers=[_handler_of(handler) for handler in status.handlers],
        disks=[
            DiskState(holds=disk.holds, folder=disk.folder, free_bytes=disk.free_bytes, low=disk.low)
            for disk in status.disks
        ],
    )


def _source_of(source: SourceStatus, now: float) -> SourceState:
    return SourceState(
        name=source.name,
        accepted=source.accepted,
        duplicates=source.duplicates,
        ended_by_polling=source.ended_by_polling,
        refused=[
            RefusedDeliveries(
                reason=refused.reason,
                last_day=refused.last_day,
                last_week=refused.last_week,
                last_at=None if refused.last_at is None else utc(refused.last_at),
            )
            for refused in source.refused
        ],
        quarantined=source.quarantined,
        pause=None if source.pause is None else SourcePause(until=utc(source.pause.until), reason=source.pause.reason),
        failing=[FailingRequests(what=of.what, reason=of.reason, count=of.count) for of in source.failing],
        silent_seconds=source.silent_seconds,
        silent=source.is_silent,
        received_at=optional_utc(source.received_at),
        open_jobs=source.open_jobs,
        unknown_jobs=source.unknown_jobs,
        rate_limits=rate_buckets_of(source.limits, now),
    )


def _handler_of(handler: HandlerStatus) -> HandlerState:
    return HandlerState(
        **dict(handler_stats_of(handler.attempts)), pending=handler.pending, running=handler.running, dead=handler.dead
    )
