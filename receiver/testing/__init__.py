"""Test a handler in three lines: make an event, run the handler once, check the result.

```python
from receiver.testing import completed, run_handler, wav

def test_it_publishes_the_episode():
    outcome = run_handler(publish_episode, completed(metadata={"episode": 7}), audio=wav(seconds=2))
    assert outcome.state == "succeeded" and outcome.result == {"episode": 7}
```

The handler runs as in the receiver: an async one on a loop of its own, a plain one in a thread. Its options are checked
like those of its `[handlers.NAME]` table, and the same code decides the outcome. Nothing is stored or fetched, and no
retry is waited for.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import wave
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from ssl import SSLContext
from typing import Any, Literal, cast

import httpx
import pydantic_core
import structlog
from structlog.typing import EventDict, WrappedLogger

from receiver.engine.clients import HandlerClients, handler_client
from receiver.engine.context import Artifact, Context
from receiver.engine.handler import Handler
from receiver.engine.handler_options import OptionsContext, check_options
from receiver.engine.outcome import Outcome
from receiver.engine.plugins import load_tls
from receiver.engine.routing import stated_where
from receiver.engine.runner import HandlerLoop
from receiver.errors import ConfigError, PluginError
from receiver.model.event import COMPLETED, FAILED, Event, JobCompleted, JobFailed, Origin, build_event
from receiver.model.retry import RetryPolicy
from receiver.settings import HandlerSettings
from receiver.settings.problems import read_handler_table
from receiver.testing.audio_files import AudioFiles, AudioSource, audio_files_of

__all__ = ["HandlerOutcome", "completed", "failed", "make_event", "run_handler", "wav"]

RECEIVED_AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
"""The default `received_at` of events."""


STOP_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HandlerOutcome:
    """The outcome of one attempt, and what it means for the run.

    Attributes:
        state: `succeeded`; `retry`: another attempt would follow; `dead`: rejected, or the attempts are used up.
        result: what the handler returned, as the JSON values that are stored with the run.
        error: the exception that ended the attempt; a `TimeoutError` if it took too long; None on success.
        retry_after: the least number of seconds until the next attempt, from `RetryLater`; None if backoff alone
            decides, or there is no next attempt.
        logs: the lines written with `ctx.log`, each a mapping with `level`, `message` and the line's fields.
    """

    state: Literal["succeeded", "retry", "dead"]
    result: Any = None
    error: BaseException | None = None
    retry_after: float | None = None
    logs: tuple[Mapping[str, Any], ...] = ()


def make_event(
    type: str,
    job_id: str | None = "job-1",
    *,
    source: str = "test",
    origin: Origin = Origin.WEBHOOK,
    received_at: datetime = RECEIVED_AT,
    payload: Mapping[str, Any] | None = None,
    body: Mapping[str, Any] | None = None,
) -> Event:
    """An event as a handler gets it. The same arguments make the same event, with the same id.

    Args:
        type: the event type: `job.completed` makes a `JobCompleted`, `job.failed` a `JobFailed`, `test` a `TestEvent`,
            any other an `OtherEvent`.
        job_id: the provider's job id; None for an event without a job.
        source: the configured source's name.
        received_at: with its time zone.
        payload: the mapped fields, as `event.payload` has them.
        body: the provider's complete response, as in `event.body`; empty if not given.
    """
    return build_event(
        id="evt_" + hashlib.sha256(f"{source}\n{type}\n{job_id}".encode()).hexdigest()[:32],
        source=source,
        type=type,
        job_id=job_id,
        origin=origin,
        received_at=received_at.timestamp(),
        payload=dict(payload or {}),
        raw=b"" if body is None else pydantic_core.to_json(body),
    )


def completed(job_id: str = "job-1", *, body: Mapping[str, Any] | None = None, **payload: Any) -> JobCompleted:
    """A completed job; keywords go into its payload, as in `completed(metadata={"episode": 7}, chars_charged=42)`.

    Args:
        body: the provider's complete response, as in `event.body`: `completed(body={"data": {"creditsUsed": 3}})`.
    """
    return cast("JobCompleted", make_event(COMPLETED, job_id, payload={"status": "completed", **payload}, body=body))


def failed(
    job_id: str = "job-1",
    *,
    code: str = "GENERATION_FAILED",
    message: str = "",
    body: Mapping[str, Any] | None = None,
    **payload: Any,
) -> JobFailed:
    """A failed job with the provider's code and message; `body` is that of `completed`, other keywords are payload."""
    mapped = {"status": "failed", "error": {"code": code, "message": message}, **payload}
    return cast("JobFailed", make_event(FAILED, job_id, payload=mapped, body=body))


def wav(seconds: float = 1.0, sample_rate: int = 24_000) -> bytes:
    """A real WAV file of silence: mono, 16 bits, `sample_rate` in Hz."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        file.writeframes(bytes(2 * int(seconds * sample_rate)))
    return out.getvalue()


def run_handler(
    handler: Handler,
    event: Event,
    *,
    audio: AudioSource | Sequence[AudioSource] | None = None,
    options: Mapping[str, Any] | None = None,
    attempt: int = 1,
    http: httpx.AsyncBaseTransport | None = None,
) -> HandlerOutcome:
    """Run one attempt of a handler and return its outcome.

    A plain function, also for async tests: the handler gets a loop and a thread of its own.

    Args:
        handler: made with `@handler(on=…)`.
        event: from `completed`, `failed` or `make_event`.
        audio: the result of `ctx.audio()`: an audio file's bytes (`wav()` makes some) or its path. Format, duration and
            digest are read from the file. Bytes are written to a folder that is deleted afterwards. An exception, such
            as `AudioGone("…")`, is raised by `ctx.audio()`. A list is the result of `ctx.audio_files()`, and its first
            item that of `ctx.audio()`. Without any, both raise. A path that ends with `.json`, `.srt`, `.vtt` or `.txt`
            may be a document, as a task has them: `ctx.artifacts()` returns it.
        options: the keys of the handler's `[handlers.NAME]` table, including bounds such as `attempts`.
        attempt: the number of this attempt, from 1; if the last one fails, the run is `dead`.
        http: the transport of `ctx.http`, such as `httpx.MockTransport(respond)`; None for the network, as in the
            receiver: private addresses are refused unless `options` has `allow_private_addresses`.

    Raises:
        PluginError: a key of the options is invalid, one of `where` or a file of `tls` included, with the message of
            the receiver's startup.
        ValueError: the handler does not get the event, by its type or by `where` (the handler's or that of `options`),
            or the format of `audio` is not supported.
    """
    bounded, table, checked, tls = _configured(handler, options or {})
    mismatch = bounded.mismatch(event.type, event.source, event.payload)
    if mismatch is not None:
        raise ValueError(f"The handler {handler.name!r} does not get the event: its {mismatch}.")
    lines: list[Mapping[str, Any]] = []
    log = _log_into(lines, event, bounded.name, attempt)
    with (
        audio_files_of(event, audio) as audio_files,
        _handler_loop() as handlers,
        _http_client(handlers, bounded.name, table, tls, http) as get_client,
    ):
        context: Context[Any] = Context(
            handler=bounded.name,
            attempt=attempt,
            idempotency_key=f"{event.id}:{bounded.name}",
            options=checked,
            _event=event,
            _services=_Services(handlers.loop, log, get_client, audio_files),
        )
        outcome = _execute(handlers, bounded, event, context)
    return _decide(outcome, bounded, attempt, tuple(lines))


@dataclass(frozen=True)
class _Services:
    """What the context gives access to."""

    loop: asyncio.AbstractEventLoop
    log: structlog.typing.FilteringBoundLogger
    client: Callable[[str], httpx.AsyncClient]
    files: AudioFiles

    def logger(self, context: Context[Any, Any], event: Event) -> structlog.typing.FilteringBoundLogger:
        return self.log

    def audio(self, event: Event) -> Awaitable[Artifact]:
        return self.files.first()

    def audio_files(self, event: Event) -> Awaitable[tuple[Artifact, ...]]:
        return self.files.all()

    def artifacts(self, event: Event) -> Awaitable[tuple[Artifact, ...]]:
        return self.files.artifacts()


def _configured(
    handler: Handler, options: Mapping[str, Any]
) -> tuple[Handler, HandlerSettings, Any, SSLContext | None]:
    """The handler with the bounds and conditions of a table; the table, its checked options, and its TLS settings."""
    table = read_handler_table(options)
    bounded = handler.with_bounds(table.attempts, table.timeout, table.concurrency, table.across)
    given = OptionsContext(object_storage=False, folder=Path.cwd(), tls=table.tls is not None)
    checked = check_options(handler.name, bounded, table.options, given)
    try:
        if table.where is not None:
            bounded = bounded.narrowed(stated_where(table.where, handler.on))
        tls = load_tls(table, Path.cwd())
    except ConfigError as error:
        raise PluginError("; ".join(map(str, error.problems))) from None
    return bounded, table, checked, tls


def _execute(handlers: HandlerLoop, handler: Handler, event: Event, context: Context[Any]) -> Outcome:
    future = handlers.submit(handlers.execute(handler, event, context))
    try:
        return future.result(handler.timeout)
    except TimeoutError:
        future.cancel()
        return Outcome.of_timeout(handler.timeout)


def _decide(outcome: Outcome, handler: Handler, attempt: int, logs: tuple[Mapping[str, Any], ...]) -> HandlerOutcome:
    if outcome.word == "succeeded":
        return HandlerOutcome(state="succeeded", result=outcome.result, logs=logs)
    if outcome.wait(RetryPolicy(handler.attempts), attempt, 0.0) is None:
        return HandlerOutcome(state="dead", error=outcome.error, logs=logs)
    return HandlerOutcome(state="retry", error=outcome.error, retry_after=outcome.after or None, logs=logs)


@contextmanager
def _handler_loop() -> Iterator[HandlerLoop]:
    handlers = HandlerLoop(asyncio.new_event_loop)
    handlers.start()
    try:
        yield handlers
    finally:
        handlers.stop(STOP_SECONDS)


@contextmanager
def _http_client(
    handlers: HandlerLoop,
    name: str,
    table: HandlerSettings,
    tls: SSLContext | None,
    transport: httpx.AsyncBaseTransport | None,
) -> Iterator[Callable[[str], httpx.AsyncClient]]:
    """The function behind `ctx.http`: returns a client of the given transport, or one as in the receiver."""
    clients = HandlerClients([name] if table.allow_private_addresses else [], {} if tls is None else {name: tls})
    test_client = None if transport is None else handler_client(transport)
    try:
        yield lambda handler: test_client or clients.get(handler)
    finally:
        for client in (clients, test_client) if test_client else (clients,):
            with suppress(TimeoutError):  # the handler blocks the loop for longer than its timeout
                handlers.submit(client.aclose()).result(STOP_SECONDS)


def _log_into(
    lines: list[Mapping[str, Any]], event: Event, handler: str, attempt: int
) -> structlog.typing.FilteringBoundLogger:
    """A logger whose lines are appended to the list, with the fields that the receiver adds."""

    def keep(_: WrappedLogger, method: str, line: EventDict) -> EventDict:
        fields = dict(line)
        written = {"level": method, "message": fields.pop("event", "")}
        if "event_id" in fields:  # named as in the log
            written["event"] = fields.pop("event_id")
        lines.append(written | fields)
        raise structlog.DropEvent

    logger = cast(
        "structlog.typing.FilteringBoundLogger",
        structlog.wrap_logger(None, processors=[keep], wrapper_class=structlog.make_filtering_bound_logger(0)),
    )
    return logger.bind(source=event.source, event_id=event.id, job=event.job_id, handler=handler, attempt=attempt)
