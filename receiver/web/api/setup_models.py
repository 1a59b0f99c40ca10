"""The models of what is configured and what runs: processes, handlers, sources.

Those that only commands list are in the API's document, so that `--json` of every command has a schema there.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, JsonValue

from receiver.model.role import Role
from receiver.web.api.fields import EventId, ResponseModel, SafeText


class Process(ResponseModel):
    """A process that uses the store."""

    name: Annotated[str, Field(description="Its name in leases; host and process id are its beginning.")]
    role: Role
    host: str
    pid: int
    version: str
    started_at: datetime
    heartbeat_at: Annotated[datetime, Field(description="When it last said that it is alive.")]
    heartbeat_age_seconds: float
    clock_difference_seconds: Annotated[
        float | None,
        Field(description="How far its clock is ahead of the database server's; null: not compared, as in a folder."),
    ]
    runs: Annotated[int, Field(description="Leases of runs that it holds.")]
    jobs: Annotated[int, Field(description="Leases of jobs that it holds.")]


class ProcessList(ResponseModel):
    """The processes that use the store; the one that started first is the first."""

    items: list[Process]


class ConsoleSession(ResponseModel):
    """A session of the console."""

    id: Annotated[str, Field(description="The SHA-256 of its cookie's value, in hex.")]
    actor: Annotated[str, Field(description="A user, or a token's id.")]
    credential: Annotated[str, Field(description="What the actor logged in with: `user` or `token`.")]
    configured: Annotated[bool, Field(description="Whether the configuration still has the actor; else it is ended.")]
    created_at: datetime
    seen_at: Annotated[datetime, Field(description="When a page was opened last, accurate to a minute.")]
    expires_at: datetime
    client: Annotated[str | None, Field(description="The address from which it was begun.")]


class Condition(ResponseModel):
    """A condition of a handler: it gets events with one of these values."""

    key: str
    values: list[JsonValue]


class Handler(ResponseModel):
    """An active handler."""

    name: str
    on: Annotated[list[str], Field(description="The classes of events that it subscribes to.")]
    where: list[Condition]
    target: Annotated[str | None, Field(description="To where it sends events, without secrets.")]
    kind: Literal["async", "thread"]
    attempts: int
    timeout_seconds: float
    concurrency: Annotated[int | None, Field(description="Runs at once; null: no bound of its own.")]
    across: Annotated[str, Field(description="Whether `concurrency` counts in a process, or in the whole cluster.")]
    loaded_from: str


class HandlerList(ResponseModel):
    """The active handlers."""

    items: list[Handler]


class Mismatch(ResponseModel):
    """The first condition of a handler that an event does not meet."""

    key: Annotated[str, Field(description="Such as `metadata.customer`; `on` for the classes of events.")]
    values: Annotated[list[JsonValue], Field(description="Those that would have matched.")]
    value: Annotated[JsonValue, Field(description="The event's.")]


class HandlerMatch(ResponseModel):
    """Whether an active handler gets an event."""

    handler: str
    matches: bool
    mismatch: Annotated[Mismatch | None, Field(description="Why not.")]


class HandlerMatchList(ResponseModel):
    """Which active handlers get a stored event."""

    items: list[HandlerMatch]
    event_id: EventId


class Pause(ResponseModel):
    """A source is not requested for a while."""

    until: datetime
    reason: str
    polls_only: bool


class SigningSecret(ResponseModel):
    """A signing secret, by the id that events have of it."""

    id: str
    last_used_at: datetime | None


class RateBucket(ResponseModel):
    """What is left of one of a source's rate limits, less what was reserved since the last response."""

    bucket: Annotated[SafeText, Field(description="The provider's name of it; empty if it names none.")]
    limit: Annotated[int | None, Field(description="Requests in a window; null: not reported.")]
    remaining: Annotated[int | None, Field(description="null: unknown.")]
    reset_at: Annotated[datetime | None, Field(description="When the window ends; null: unknown, or it has ended.")]
    requests: Annotated[list[str], Field(description="Of `submit`, `stream`, `status`, `history`, `voices`.")]
    paused_until: Annotated[datetime | None, Field(description="No such request is sent before; null: not paused.")]


class ConfiguredSource(ResponseModel):
    """A configured source."""

    name: str
    provider: str
    api_version: str | None
    base_url: str | None
    api_key: Annotated[bool, Field(description="Whether it has one.")]
    webhook_path: Annotated[str | None, Field(description="null: it is polled only.")]
    polled: bool
    capabilities: dict[str, JsonValue]
    pause: Pause | None
    rate_limits: Annotated[list[RateBucket], Field(description="As last reported; empty if the provider reports none.")]
    signing_secrets: list[SigningSecret]
    notes: Annotated[list[str], Field(description="What to do about its signing secrets.")]


class SourceList(ResponseModel):
    """The configured sources."""

    items: list[ConfiguredSource]


class RateLimit(ResponseModel):
    """What is left of a provider's rate limit."""

    limit: int | None
    remaining: int | None
    reset_at: datetime | None
    bucket: SafeText | None


class SourceTest(ResponseModel):
    """What a test request to a source's provider found."""

    name: str
    provider: str
    base_url: str
    api_version: str | None
    requested: Annotated[str | None, Field(description="`voices` or `a job`; null: there is nothing to request.")]
    ok: bool
    key: Annotated[
        Literal["works", "refused", "none", "unknown"],
        Field(description="`none`: none is configured. `unknown` beside `ok`: the provider did not check it."),
    ]
    round_trip_seconds: Annotated[float | None, Field(description="Of the last request; null without a response.")]
    rate_limit: Annotated[RateLimit | None, Field(description="null: the provider does not report it.")]
    reason: Annotated[str | None, Field(description="A slug; docs/reference/errors.md lists them.")]
    detail: Annotated[SafeText, Field(description="The finding.")]
    advice: Annotated[SafeText, Field(description="What to do.")]


class SourceTestList(ResponseModel):
    """What the tests of the sources found."""

    items: list[SourceTest]


class ConsoleSessionList(ResponseModel):
    """Who is logged in to the console."""

    items: list[ConsoleSession]


OF_COMMANDS = (ConsoleSessionList, HandlerList, HandlerMatchList, SourceTestList)
