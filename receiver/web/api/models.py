"""What the API answers: events, jobs, voices, problems."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue

from receiver.model.timestamps import utc
from receiver.store.states import JobState, RunState
from receiver.web.api.fields import EventId, JobId, Outgoing, cursor_after, moment

EventState = Literal["quarantined", "open", "dead", "done"]

_DETAILS = "The service's other fields, such as `provider`, `tier`, `supports_ssml`, `supports_multispeaker`."
_Next = Annotated[str | None, Field(description="The `cursor` of the next page; null on the last.")]


class Problem(Outgoing):
    """Why a request was not done (RFC 9457)."""

    type: Annotated[str, Field(description="A name (URN) made of the reason.")]
    title: Annotated[str, Field(description="The status in words.")]
    status: int
    detail: Annotated[str, Field(description="A sentence for a person.")]
    reason: Annotated[str, Field(description="A slug for programs; docs/reference/errors.md has them all.")]
    errors: Annotated[list[WrongPlace] | None, Field(description="What is wrong with the request, and where.")] = None
    job: Annotated[Job | None, Field(description="The job that this is about.")] = None


class WrongPlace(Outgoing):
    """One thing wrong with a request."""

    where: Annotated[str, Field(description="Such as `body.voice` or `query.limit`.")]
    what: str


class Event(Outgoing):
    """One fact that a provider told."""

    id: EventId
    source: str
    type: Annotated[str, Field(description="`job.completed`, `job.failed`, `test`, or another word of the provider's.")]
    job_id: Annotated[str | None, Field(description="The provider's id of the job.")]
    origin: Annotated[Literal["webhook", "poll", "submit"], Field(description="How we learnt of it.")]
    state: Annotated[EventState, Field(description="Where its runs stand as a whole.")]
    received_at: datetime
    duplicates: Annotated[int, Field(description="Further deliveries that said the same.")]
    conflict: Annotated[str | None, Field(description="Why a person should look.")]


class Run(Outgoing):
    """A handler's work on the event."""

    handler: str
    state: RunState
    attempts: Annotated[int, Field(description="Attempts that count.")]
    crashes: Annotated[
        int,
        Field(description="Crashes in a row that it was at work in; from two on it waits until no other such runs."),
    ]
    due_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    result: JsonValue
    error: str | None


class Attempt(Outgoing):
    """One execution of a run."""

    handler: str
    number: int
    started_at: datetime
    seconds: float
    outcome: str
    error: str | None


class Artifact(Outgoing):
    """An audio file that was fetched."""

    n: int
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


class HeaderLine(Outgoing):
    """A header that was kept with the event."""

    name: str
    value: Annotated[str, Field(description="Of a signature only `[redacted]`.")]


class EventDetail(Event):
    """Everything about one event."""

    key_id: Annotated[str | None, Field(description="The signing secret that it was signed with, by its id.")]
    skew: Annotated[float | None, Field(description="Seconds from the signed time to our clock.")]
    signature: Annotated[str, Field(description="Of the stored body: `valid`, `invalid` or `cannot be checked`.")]
    payload: Annotated[dict[str, JsonValue], Field(description="The event's own data; queries of addresses are cut.")]
    headers: list[HeaderLine]
    body: Annotated[
        str, Field(description="The received text: a delivery, or an answer; queries of addresses are cut.")
    ]
    document: Annotated[dict[str, JsonValue], Field(description="The parsed body, as in a handler's `event.body`.")]
    runs: list[Run]
    attempts: list[Attempt]
    artifacts: list[Artifact]


class EventPage(Outgoing):
    """Events, the newest first."""

    items: list[Event]
    next: _Next


class Replayed(Outgoing):
    """What a replay has begun."""

    event: EventId
    handlers: Annotated[list[str], Field(description="Whose runs are due now; a run that was open is left as it is.")]


class Job(Outgoing):
    """A speech job that we submitted, or were asked to watch."""

    id: Annotated[JobId, Field(description="Ours.")]
    source: str
    job_id: Annotated[str | None, Field(description="The provider's; null until it has taken the job on.")]
    state: JobState
    progress: Annotated[int | None, Field(description="0 to 100, where the provider says.")]
    created_at: datetime
    submitted_at: datetime | None
    due_at: Annotated[datetime | None, Field(description="When it is submitted or polled next; null once it ended.")]
    deadline_at: datetime
    ended_at: datetime | None
    polls: int
    event_id: Annotated[EventId | None, Field(description="The event that reported its end.")]
    error_code: str | None
    error: str | None
    request: Annotated[dict[str, JsonValue] | None, Field(description="What was submitted; null if elsewhere.")]


class JobPage(Outgoing):
    """Jobs, the newest first."""

    items: list[Job]
    next: _Next


class Voice(Outgoing):
    """A voice that a service offers."""

    id: Annotated[str, Field(description="The `voice` of `POST /v1/speech`.")]
    name: str | None
    language: str | None
    gender: str | None
    model: str | None
    details: Annotated[dict[str, JsonValue], Field(description=_DETAILS)]


class VoiceList(Outgoing):
    """The voices that fit."""

    items: list[Voice]


Problem.model_rebuild()


def event_of(row: Any) -> Event:
    """A row of `store.views.list_events`."""
    return Event(**{**row, "received_at": utc(row["received_at"])})


def job_of(row: Any, request: Any) -> Job:
    """A row of the jobs table; `request` is its speech as it may be shown."""
    ended = row["state"] not in ("submitting", "watching")
    return Job(
        id=row["id"],
        source=row["source"],
        job_id=row["job_id"],
        state=row["state"],
        progress=row["progress"],
        created_at=utc(row["created_at"]),
        submitted_at=moment(row["submitted_at"]),
        due_at=None if ended else moment(row["due_at"]),
        deadline_at=utc(row["deadline_at"]),
        ended_at=moment(row["ended_at"]),
        polls=row["polls"],
        event_id=row["event_id"],
        error_code=row["error_code"],
        error=row["error"],
        request=request,
    )


def next_page(rows: list[Any], limit: int) -> tuple[list[Any], str | None]:
    """The page's rows and its `next`, of rows that were read with one more than `limit`."""
    page = rows[:limit]
    return page, cursor_after(page[-1]["id"]) if len(rows) > limit else None
