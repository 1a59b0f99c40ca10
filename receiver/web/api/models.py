"""The bodies of responses: events, jobs, voices, problems."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue

from receiver.model.audit import AuditState, Via
from receiver.model.file_kind import FileKind
from receiver.model.redact import Redactor
from receiver.model.timestamps import utc
from receiver.store.run_errors import ErrorGroup, ErrorGroups
from receiver.store.states import JobKind, JobState, RunState
from receiver.web.api.budgets import Amount, ExceededBudget
from receiver.web.api.fields import ChangeId, EventId, JobId, ResponseModel, cursor_after

EventState = Literal["quarantined", "open", "dead", "done"]
EventOrigin = Literal["webhook", "poll", "submit", "edited"]

_DETAILS = "The service's other fields, such as `provider`, `tier`, `supports_ssml`, `supports_multispeaker`."
_Next = Annotated[str | None, Field(description="The `cursor` of the next page; null on the last.")]


class Problem(ResponseModel):
    """Why a request failed (RFC 9457)."""

    type: Annotated[str, Field(description="A name (URN) made of the reason.")]
    title: Annotated[str, Field(description="The status in words.")]
    status: int
    detail: Annotated[str, Field(description="What happened, in a sentence.")]
    reason: Annotated[str, Field(description="A slug for programs; docs/reference/errors.md lists them.")]
    errors: Annotated[list[FieldError] | None, Field(description="What is wrong with the request, and where.")] = None
    job: Annotated[Job | None, Field(description="The job concerned.")] = None
    budget: Annotated[ExceededBudget | None, Field(description="The budget that has no place for the job.")] = None


class FieldError(ResponseModel):
    """One error in a request."""

    where: Annotated[str, Field(description="Such as `body.voice` or `query.limit`.")]
    what: str


class Event(ResponseModel):
    """One fact that a provider reported."""

    id: EventId
    source: str
    type: Annotated[str, Field(description="`job.completed`, `job.failed`, `test`, or another type of the provider's.")]
    job_id: Annotated[str | None, Field(description="The provider's id of the job.")]
    origin: Annotated[EventOrigin, Field(description="How the receiver learned of it; `edited`: from an operator.")]
    state: Annotated[EventState, Field(description="The state of its runs as a whole.")]
    received_at: datetime
    duplicates: Annotated[int, Field(description="Further deliveries of the same event.")]
    conflict: Annotated[str | None, Field(description="Why an operator should check it.")]


_KIND = "Its kind: a slug such as `rejected` or `timeout`, or an exception's class. null: no error, or an old one."
_REASON = "The slug that the handler gave to it, such as that of `Reject(…, reason=…)`."


class Traceback(ResponseModel):
    """Where a run's last exception was raised."""

    attempt: Annotated[int, Field(description="The number of the attempt, as in `attempts`.")]
    text: Annotated[str, Field(description="The innermost frames and the error: up to 8 KiB, without secrets.")]


class Run(ResponseModel):
    """A handler's work on the event."""

    handler: str
    state: RunState
    attempts: Annotated[int, Field(description="Attempts that count.")]
    crashes: Annotated[
        int,
        Field(description="Consecutive crashes while it was running; from two on, such runs execute one at a time."),
    ]
    due_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    result: JsonValue
    error: str | None
    error_kind: Annotated[str | None, Field(description=_KIND)]
    reason: Annotated[str | None, Field(description=_REASON)]
    traceback: Traceback | None


class RunOfEvent(ResponseModel):
    """A run in a list, with what says which event it is of."""

    event_id: EventId
    source: str
    type: str
    job_id: Annotated[str | None, Field(description="The provider's id of the job.")]
    handler: str
    state: RunState
    attempts: Annotated[int, Field(description="Attempts that count.")]
    crashes: Annotated[int, Field(description="Consecutive crashes while it was running.")]
    due_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    result: JsonValue
    error: str | None
    error_kind: Annotated[str | None, Field(description=_KIND)]
    reason: Annotated[str | None, Field(description=_REASON)]


class RunPage(ResponseModel):
    """Runs, those of the newest event first; the runs of one event are on one page."""

    items: list[RunOfEvent]
    next: _Next
    examined: Annotated[
        int | None, Field(description="For `error_text`: dead runs whose errors were read for this page.")
    ] = None


class Attempt(ResponseModel):
    """One execution of a run."""

    handler: str
    number: int
    started_at: datetime
    seconds: float
    outcome: str
    error: str | None
    error_kind: Annotated[str | None, Field(description=_KIND)]
    reason: Annotated[str | None, Field(description=_REASON)]
    trace_id: Annotated[
        str | None, Field(description="Of the requests that it sent; null if the setting `console.trace_url` is not.")
    ]


class Artifact(ResponseModel):
    """A fetched file: audio; of a task also another kind."""

    n: int
    kind: FileKind
    audio: Annotated[str, Field(description="The path of its bytes on this listener.")]
    address: Annotated[str, Field(description="Where it is stored: a path, or an object's address.")]
    bytes: int
    sha256: str
    content_type: str
    format: str
    duration_seconds: float | None
    sample_rate: Annotated[int | None, Field(description="Hz.")]
    channels: int | None
    fetched_at: datetime
    fetch_seconds: Annotated[float, Field(description="How long the fetch took.")]


class StoredAudio(Artifact):
    """A fetched file in a list, with what says which event it is of."""

    event_id: EventId
    source: str
    job_id: Annotated[str | None, Field(description="The provider's id of the job.")]


class StoredAudioPage(ResponseModel):
    """Fetched files, those of the newest event first; the files of one event are on one page."""

    items: list[StoredAudio]
    next: _Next


class HeaderLine(ResponseModel):
    """A header that was stored with the event."""

    name: str
    value: Annotated[str, Field(description="`[redacted]` for a signature.")]


class EventDetail(Event):
    """Everything about one event."""

    edited_from: Annotated[EventId | None, Field(description="The event that was edited to make this one.")]
    edited_to: Annotated[list[EventId], Field(description="The newest events that were made by editing this one.")]
    key_id: Annotated[str | None, Field(description="The id of the signing secret that it was signed with.")]
    skew: Annotated[float | None, Field(description="Seconds from the signed time to the receiver's clock.")]
    signature: Annotated[str, Field(description="Of the stored body: `valid`, `invalid` or `cannot be checked`.")]
    payload: Annotated[dict[str, JsonValue], Field(description="The event's own data, without the queries of URLs.")]
    headers: list[HeaderLine]
    body: Annotated[
        str, Field(description="The received text: a delivery, or a response, without the queries of URLs.")
    ]
    document: Annotated[dict[str, JsonValue], Field(description="The parsed body, as in a handler's `event.body`.")]
    runs: list[Run]
    attempts: list[Attempt]
    artifacts: list[Artifact]


class EventPage(ResponseModel):
    """Events, the newest first."""

    items: list[Event]
    next: _Next
    examined: Annotated[
        int | None, Field(description="For `error_text`: dead runs whose errors were read for this page.")
    ] = None


class RunErrorExample(ResponseModel):
    """The failed run of a group's newest event."""

    event_id: EventId
    error: str


class RunErrorGroup(ResponseModel):
    """Runs of one handler that failed of the same."""

    handler: str
    error_kind: Annotated[str | None, Field(description=_KIND)]
    reason: Annotated[str | None, Field(description=_REASON)]
    count: int
    first_at: Annotated[datetime, Field(description="When the first of them failed for the last time.")]
    last_at: Annotated[datetime, Field(description="When the last of them did.")]
    example: RunErrorExample


class RunErrors(ResponseModel):
    """Why runs failed: the largest groups, and all that there are."""

    items: list[RunErrorGroup]
    groups: Annotated[int, Field(description="How many groups there are; more than `items` if `limit` is reached.")]
    runs: Annotated[int, Field(description="How many runs are in all groups.")]


class Replayed(ResponseModel):
    """What a replay made due."""

    event: EventId
    handlers: Annotated[list[str], Field(description="Whose runs are due now; an open run does not change.")]


class Edited(ResponseModel):
    """The event that an edit made."""

    event: EventId
    edited_from: EventId
    handlers: Annotated[list[str], Field(description="Those that have a run of it.")]


class Job(ResponseModel):
    """A job that the receiver submitted or watches."""

    id: Annotated[JobId, Field(description="The receiver's id.")]
    kind: Annotated[JobKind | None, Field(description="What was submitted; null if it was submitted elsewhere.")]
    source: str
    job_id: Annotated[str | None, Field(description="The provider's id; null until it has accepted the job.")]
    state: JobState
    progress: Annotated[int | None, Field(description="0 to 100, if the provider reports it.")]
    created_at: datetime
    submitted_at: datetime | None
    due_at: Annotated[
        datetime | None, Field(description="When it is submitted or polled next; null once it has ended.")
    ]
    deadline_at: datetime
    ended_at: datetime | None
    polls: int
    streamed: Annotated[bool, Field(description="Whether it was submitted as a stream; its audio is fetched as well.")]
    event_id: Annotated[EventId | None, Field(description="The event that reported its end.")]
    error_code: str | None
    error: str | None
    chars_charged: Annotated[int | None, Field(description="Characters, as the provider said; null: it did not.")]
    credits_used: Annotated[Amount | None, Field(description="Credits, as the provider said; null: it did not.")]
    request: Annotated[
        dict[str, JsonValue] | None, Field(description="What was submitted; null if it was submitted elsewhere.")
    ]


class JobPage(ResponseModel):
    """Jobs, the newest first."""

    items: list[Job]
    next: _Next


class Change(ResponseModel):
    """A change by an operator, as the audit log has it."""

    id: ChangeId
    at: Annotated[datetime, Field(description="When it began.")]
    actor: Annotated[str, Field(description="A token's id; `local` without tokens; `user@host` of a command.")]
    via: Via
    operation: Annotated[str, Field(description="Its name in the API, or that of a command.")]
    filter: Annotated[dict[str, JsonValue], Field(description="What it was to change; without secrets.")]
    changed: Annotated[int, Field(description="How many events, runs or jobs: exactly those that are committed.")]
    state: Annotated[AuditState, Field(description="`unfinished`: in progress, or its process was killed.")]
    updated_at: Annotated[datetime, Field(description="When it last changed something, or ended.")]
    detail: str | None


class ChangePage(ResponseModel):
    """Changes, the newest first."""

    items: list[Change]
    next: _Next


class Voice(ResponseModel):
    """A voice that a service offers."""

    id: Annotated[str, Field(description="The `voice` of `POST /v1/speech`.")]
    name: str | None
    language: str | None
    gender: str | None
    model: str | None
    details: Annotated[dict[str, JsonValue], Field(description=_DETAILS)]


class VoiceList(ResponseModel):
    """The matching voices."""

    items: list[Voice]


Problem.model_rebuild()


def event_of(row: Any) -> Event:
    """A row of `store.views.list_events`."""
    return Event(**{**row, "received_at": utc(row["received_at"])})


def change_of(row: Any) -> Change:
    """A row of `store.audit.list_entries`."""
    return Change(**{**row, "at": utc(row["at"]), "updated_at": utc(row["updated_at"])})


def run_errors_of(found: ErrorGroups, redact: Redactor) -> RunErrors:
    """What `store.run_errors` found."""
    items = [run_error_group_of(group, redact) for group in found.largest]
    return RunErrors(items=items, groups=found.groups, runs=found.runs)


def run_error_group_of(group: ErrorGroup, redact: Redactor) -> RunErrorGroup:
    """One group of `run_errors_of`."""
    return RunErrorGroup(
        **{name: getattr(group, name) for name in ("handler", "error_kind", "reason", "count")},
        first_at=utc(group.first_at),
        last_at=utc(group.last_at),
        example=RunErrorExample(event_id=group.event_id, error=redact(group.error)),
    )


def next_page(rows: list[Any], limit: int) -> tuple[list[Any], str | None]:
    """The page's rows and its `next`, from rows read with a limit of one more than `limit`."""
    page = rows[:limit]
    return page, cursor_after(page[-1]["id"]) if len(rows) > limit else None
