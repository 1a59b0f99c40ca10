"""What the tools take and return. Every list and every text is bounded."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from receiver.model.redact import truncate

MAX_TEXT = 500
"""Characters of an error in a result."""
MAX_FILES = 20
"""Files of one job in a result."""
MAX_VOICES = 200
MAX_EVENTS = 100
MAX_WAIT_SECONDS = 600

Word = Annotated[str, StringConstraints(min_length=1, max_length=256)]
Source = Annotated[
    Word | None,
    Field(description="The configured source (an account at a speech service). Default: the only one with an API key."),
]
JobId = Annotated[Word, Field(description="The job: `id` of generate_speech, or the service's own id of it.")]


class ToolInput(BaseModel):
    """Arguments of a tool. An unknown one is an error: it would be without effect."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class ToolOutput(BaseModel):
    """The structured result of a tool."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SpeechInput(ToolInput):
    """What to synthesize."""

    text: Annotated[str, Field(min_length=1, max_length=200_000, description="The text to speak.")]
    voice: Annotated[str, Field(min_length=1, max_length=500, description="The `id` of a voice of search_voices.")]
    source: Source = None
    format: Annotated[
        Word | None, Field(description="Audio format, such as `mp3` or `wav`. Default: the service's.")
    ] = None
    model: Annotated[Word | None, Field(description="The service's word for a model. Default: the service's.")] = None
    speed: Annotated[float | None, Field(gt=0, le=100, description="1.0 is the voice's normal speed.")] = None
    sample_rate: Annotated[int | None, Field(ge=1, le=1_000_000, description="Hz. Default: the service's.")] = None
    bitrate_kbps: Annotated[int | None, Field(ge=1, le=100_000, description="Default: the service's.")] = None
    options: Annotated[
        dict[str, Any] | None, Field(description="Further parameters of the service, passed on as they are.")
    ] = None
    metadata: Annotated[
        dict[str, Any] | None, Field(description="Returned with the event, if the service supports it.")
    ] = None
    wait_seconds: Annotated[
        float,
        Field(
            ge=0,
            le=MAX_WAIT_SECONDS,
            description="How long to wait until the audio is stored. 0: return at once, and ask job_status later. "
            "A job that takes longer goes on.",
        ),
    ] = 0
    idempotency_key: Annotated[
        str | None,
        Field(
            pattern=r"^[!-~]([ -~]{0,253}[!-~])?$",
            description="Any text of your own: a repeated call with the same key and arguments is the same job, "
            "and is charged once.",
        ),
    ] = None


class VoicesInput(ToolInput):
    """Which voices."""

    query: Annotated[Word | None, Field(description="Only voices with this text in their id, name or language.")] = None
    language: Annotated[Word | None, Field(description="Such as `en-US`, if the service can filter by it.")] = None
    gender: Annotated[Word | None, Field(description="In the service's word, if it can filter by it.")] = None
    model: Annotated[Word | None, Field(description="In the service's word, if it can filter by it.")] = None
    provider: Annotated[
        Word | None, Field(description="Whose voices, for a service that offers those of other services.")
    ] = None
    source: Source = None
    limit: Annotated[int, Field(ge=1, le=MAX_VOICES, description="Voices in the result.")] = 50


class JobInput(ToolInput):
    """Which job."""

    job_id: JobId
    source: Annotated[
        Word | None, Field(description="Only needed if several sources have a job with the same id of the service.")
    ] = None


class AudioInput(JobInput):
    """Which audio."""

    job_id: Annotated[
        Word, Field(description="The job: `id` of generate_speech, or the service's own id; or the id of its event.")
    ]
    n: Annotated[int, Field(ge=0, le=1000, description="Which file of the job, from 0.")] = 0


class EventsInput(ToolInput):
    """Which events."""

    source: Annotated[Word | None, Field(description="Only of this source.")] = None
    type: Annotated[Word | None, Field(description="Only of this type, such as `job.completed`, `job.failed`.")] = None
    state: Annotated[
        Literal["quarantined", "open", "dead", "done"] | None,
        Field(description="`open`: handlers still work on it. `dead`: one has given up. `done`: all have succeeded."),
    ] = None
    since: Annotated[
        datetime | None, Field(description="Only those received at or after this time, such as 2026-11-26T08:00:00Z.")
    ] = None
    limit: Annotated[int, Field(ge=1, le=MAX_EVENTS, description="Events in the result.")] = 20
    cursor: Annotated[Word | None, Field(description="`next` of the result before, for older events.")] = None


class AudioFile(ToolOutput):
    """A stored audio file."""

    event_id: str
    n: Annotated[int, Field(description="Which file of the job, from 0.")]
    format: str
    content_type: str
    bytes: int
    duration_seconds: float | None
    sha256: str
    stored_at: Annotated[str, Field(description="Its path at the receiver, or its address in object storage.")]
    link: Annotated[str, Field(description="A GET of it needs the receiver's API token, if it has tokens.")]


class AudioResult(AudioFile):
    """A stored audio file, and how it is returned."""

    inline: Annotated[
        bool, Field(description="true: the content is in the result. false: only the link, for its size.")
    ]


class JobResult(ToolOutput):
    """A job, and the audio that is stored of it."""

    id: Annotated[str, Field(description="The receiver's id of the job.")]
    source: str
    provider_job_id: Annotated[str | None, Field(description="The service's id; null until it has accepted the job.")]
    state: Annotated[
        str,
        Field(
            description="`submitting`, `watching` (at work), `completed`, `failed`, `expired`, `cancelled`, or "
            "`unknown` (it is unknown whether the service accepted it; an operator decides)."
        ),
    ]
    progress: Annotated[int | None, Field(description="0 to 100, if the service reports it.")]
    created_at: str
    ended_at: str | None
    event_id: Annotated[str | None, Field(description="The event that reported its end.")]
    error_code: str | None
    error: str | None
    chars_charged: Annotated[int | None, Field(description="Characters, as the service said; null: it did not.")]
    credits_used: Annotated[
        str | None, Field(description="Credits, a decimal number as text, as the service said; null: it did not.")
    ]
    audio: Annotated[list[AudioFile], Field(description=f"At most {MAX_FILES} files.")]
    next_step: Annotated[str, Field(description="What to do next.")]


class Voice(ToolOutput):
    """A voice."""

    id: Annotated[str, Field(description="The `voice` of generate_speech.")]
    name: str | None
    language: str | None
    gender: str | None
    model: str | None


class VoicesResult(ToolOutput):
    """The voices that match."""

    source: str
    voices: list[Voice]
    matching: Annotated[int, Field(description="How many match; more than `voices` has, if `limit` is reached.")]


class Event(ToolOutput):
    """One fact that a service reported."""

    id: str
    source: str
    type: str
    job_id: Annotated[str | None, Field(description="The service's id of the job.")]
    state: str
    received_at: str


class EventsResult(ToolOutput):
    """Events, the newest first."""

    events: list[Event]
    next: Annotated[str | None, Field(description="The `cursor` for older events; null: there are none.")]


def bounded(text: Any) -> str | None:
    """A text of a response within `MAX_TEXT`; None stays None."""
    return None if text is None else truncate(str(text), MAX_TEXT)
