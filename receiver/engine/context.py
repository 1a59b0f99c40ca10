"""What a handler gets beside the event: log, HTTP client, options and audio."""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import httpx
import structlog
import typing_extensions

from receiver.errors import NoSignedUrl
from receiver.model.event import Event
from receiver.model.file_kind import FileKind, kind_of_file
from receiver.store.artifacts import ArtifactRow

O = TypeVar("O")  # noqa: E741 - the handler's options
S = typing_extensions.TypeVar("S", default=Any)  # the value of its lifespan
T = TypeVar("T")

MIN_SIGNED_SECONDS, MAX_SIGNED_SECONDS = 1, 604_800
"""How long a signed address may be valid: S3 and Google Cloud Storage allow a week."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A file of a job that was fetched, verified and stored: audio; of a task also another kind.

    Attributes:
        n: which of the job's files it is, from 0; the first is the job's audio.
        address: an absolute path, or an object's address.
        path: the file, if the audio storage is a local folder; else None.
        bytes: its size.
        sha256: hex digest of its bytes.
        content_type: such as `audio/wav`, recognized by its bytes.
        format: a short word: `wav`, `mp3`, `ogg`, `flac`, … or `json`, `srt`, `vtt`, `txt`.
        duration: seconds; None if uncertain.
        sample_rate: Hz; None if uncertain.
        channels: None if uncertain.
    """

    n: int
    address: str
    path: Path | None
    bytes: int
    sha256: str
    content_type: str
    format: str
    duration: float | None
    sample_rate: int | None
    channels: int | None
    _stream: Callable[[], AsyncIterator[builtins.bytes]] = field(repr=False, compare=False)
    _link: Callable[[], str | None] = field(default=lambda: None, repr=False, compare=False)
    _sign: Callable[[float], Awaitable[str]] | None = field(default=None, repr=False, compare=False)

    @property
    def kind(self) -> FileKind:
        """What it is: `audio`, `subtitles`, `json` or `text`."""
        return kind_of_file(self.content_type)

    @property
    def link(self) -> str | None:
        """Its address in the receiver's API; None if the receiver has no private listener and no `[api] url`."""
        return self._link()

    def stream(self) -> AsyncIterator[builtins.bytes]:
        """The bytes in pieces, from the folder or the object storage."""
        return self._stream()

    async def read(self) -> builtins.bytes:
        """All the bytes at once."""
        return b"".join([piece async for piece in self._stream()])

    async def signed_url(self, seconds: float = 3600) -> str:
        """An address of the object storage from which everybody who has it can read the file.

        Args:
            seconds: how long, from 1 to 604,800 (a week). It ends earlier if the storage's own credentials do.

        Raises:
            NoSignedUrl: the audio is stored in a folder. A `Reject`.
            StorageFailed: the storage cannot sign.
            ValueError: `seconds` is out of range.
        """
        if not MIN_SIGNED_SECONDS <= seconds <= MAX_SIGNED_SECONDS:
            raise ValueError(f"A signed address is valid for {MIN_SIGNED_SECONDS} to {MAX_SIGNED_SECONDS} seconds.")
        if self._sign is None:
            raise NoSignedUrl("This artifact is in no object storage.")
        return await self._sign(seconds)

    @classmethod
    def of(
        cls,
        row: ArtifactRow,
        path: Path | None,
        stream: Callable[[], AsyncIterator[builtins.bytes]],
        link: Callable[[], str | None],
        sign: Callable[[float], Awaitable[str]],
    ) -> Artifact:
        """Make one from its row."""
        return cls(
            n=row.n,
            address=row.address,
            path=path,
            bytes=row.bytes,
            sha256=row.sha256,
            content_type=row.content_type,
            format=row.format,
            duration=row.duration,
            sample_rate=row.sample_rate,
            channels=row.channels,
            _stream=stream,
            _link=link,
            _sign=sign,
        )


class ContextServices(Protocol):
    """What contexts give access to; one object for all."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop that handlers run on."""

    def logger(self, context: Context[Any, Any], event: Event) -> structlog.typing.FilteringBoundLogger:
        """A logger, bound to source, event, job, handler and attempt."""

    @property
    def client(self) -> Callable[[str], httpx.AsyncClient]:
        """A handler's HTTP client."""

    def audio(self, event: Event) -> Awaitable[Artifact]:
        """As `Context.audio`."""

    def audio_files(self, event: Event) -> Awaitable[tuple[Artifact, ...]]:
        """As `Context.audio_files`."""

    def artifacts(self, event: Event) -> Awaitable[tuple[Artifact, ...]]:
        """As `Context.artifacts`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context(Generic[O, S]):
    """What one attempt of a handler works with.

    Attributes:
        handler: the handler's name.
        attempt: which attempt this is, from 1.
        idempotency_key: the same for all attempts of this handler at this event, for services that accept one.
        options: the handler's checked options; None if it has none.
        state: the value of the handler's lifespan; None if it has none.
        traceparent: the header of this name for the handler's own requests, so that they belong to the attempt's trace;
            None if `[console] trace_url` is not set.
    """

    handler: str
    attempt: int
    idempotency_key: str
    options: O
    state: S = None  # type: ignore[assignment]
    traceparent: str | None = None
    _event: Event = field(repr=False)
    _services: ContextServices = field(repr=False)

    @property
    def log(self) -> structlog.typing.FilteringBoundLogger:
        """A logger, bound to source, event, job, handler and attempt."""
        return self._services.logger(self, self._event)

    @property
    def http(self) -> httpx.AsyncClient:
        """A client for the handler's own requests, shared by its runs. No credentials; redirects only on request.

        Its requests raise httpx's errors, and BlockedAddress for a private address, unless the handler's table has
        `allow_private_addresses`.
        """
        return self._services.client(self.handler)

    async def audio(self) -> Artifact:
        """The event's audio: fetched, verified and stored once for all handlers. Of several the first.

        Raises:
            NoAudio: the job completed without audio (a transcript), or the event is not a completed job.
            AudioGone: the provider no longer has it.
            AudioRefused: the provider refuses access, or the audio cannot be fetched safely.
            AudioDelayed: the provider asks to wait.
            AudioError: the fetch failed this time. Do not catch these: each ends the attempt in the right way.
        """
        return await self._services.audio(self._event)

    async def audio_files(self) -> tuple[Artifact, ...]:
        """All audio files of the event's job, in the provider's order: stems of a song, parts of a podcast.

        Each is fetched, verified and stored once, two at a time. A file that an earlier attempt stored is not fetched
        again.

        Raises:
            AudioError: as `audio`, if any file cannot be fetched; the others stay stored.
            AudioRefused: also if the job has more files than are fetched for one job.
        """
        return await self._services.audio_files(self._event)

    async def artifacts(self) -> tuple[Artifact, ...]:
        """All files of the event's job, of any `kind`: also subtitles, JSON and text of a task. Empty if it has none.

        Raises:
            AudioError: as `audio_files`.
            NoAudio: the event is not a completed job.
        """
        return await self._services.artifacts(self._event)

    def wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """For plain handlers, which run in a thread: wait for a coroutine, as in `ctx.wait(ctx.audio())`."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._services.loop).result()
