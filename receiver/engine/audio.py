"""Fetches each file of an event's job once: the first run that requests it starts the fetch, other runs wait for it.

Runs on the handlers' loop. A row in the store makes it once across processes and restarts, too.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import structlog

from receiver.clock import Clock
from receiver.engine.audio_backoff import postponed_if_recent
from receiver.engine.audio_failures import most_severe, stops_all
from receiver.engine.audio_refresh import FreshAddresses, RefreshAudioUrls
from receiver.engine.audio_slots import MAX_DOWNLOADS, DownloadSlots
from receiver.engine.audio_source import AudioSource, Files
from receiver.engine.context import Artifact
from receiver.engine.links import AudioLinks
from receiver.engine.storage_pause import StoragePause
from receiver.errors import (
    AudioDelayed,
    AudioError,
    AudioPostponed,
    AudioRefused,
    NoAudio,
    NotFound,
    StorageFailed,
)
from receiver.model.event import Event, JobCompleted
from receiver.outbound.audio import AudioFetcher, FetchedAudio
from receiver.outbound.storage_types import Storage
from receiver.providers.base import AudioRequest
from receiver.store import artifacts, jobs
from receiver.store.artifacts import ArtifactRow
from receiver.store.database import Database
from receiver.telemetry.hooks import Telemetry

log = structlog.get_logger("receiver.audio")

MAX_FILES = 64
"""Files that are fetched for one job. The provider decides how many there are, so the number needs a bound."""
_FACTS = ("address", "bytes", "sha256", "content_type", "format", "duration", "sample_rate", "channels")
MAX_CONCURRENT_FILES = 2
"""Files of one job that are fetched at one time when a caller requests all of them."""


@dataclass(slots=True)
class _Fetch:
    task: asyncio.Task[Artifact]
    waiting: int = 0


@dataclass(slots=True)
class _EventAudio:
    """An event whose files are being requested.

    Attributes:
        users: callers that wait for its files.
        files: the requests for each file, once known.
        downloads: its files in progress; the first of them takes a slot.
        fresh: fresh addresses, once some have expired.
    """

    users: int = 0
    files: Files | None = None
    downloads: int = 0
    fetches: dict[int, _Fetch] = field(default_factory=dict)
    fresh: FreshAddresses | None = None


class AudioService:
    """Returns artifacts; fetches those that are not stored yet.

    Args:
        downloads: events whose files are downloaded at one time.
        clock: for the age of events, and when a file was fetched.
        rng: for jitter.
        pause: postpones runs while the storage cannot be written; without it each fetch fails separately.
        links: of the artifacts, in the receiver's API.
    """

    def __init__(
        self,
        database: Database,
        fetcher: AudioFetcher,
        storage: Storage,
        sources: Mapping[str, AudioSource],
        telemetry: Telemetry,
        refresh_urls: RefreshAudioUrls,
        downloads: int = MAX_DOWNLOADS,
        *,
        clock: Clock,
        rng: random.Random,
        pause: StoragePause | None = None,
        links: AudioLinks | None = None,
    ) -> None:
        self._pause = pause
        self._links = links
        self._database = database
        self._fetcher = fetcher
        self._storage = storage
        self._sources = sources
        self._telemetry = telemetry
        self._request_fresh_urls = refresh_urls
        self._clock = clock
        self._rng = rng
        self._slots = DownloadSlots(downloads, sources, self._clock)
        self._events: dict[str, _EventAudio] = {}

    async def get(self, event: Event) -> Artifact:
        """Return the first file of the event's job.

        Raises:
            AudioError: as `Context.audio` says.
        """
        job = _completed(event)
        with self._in_use(job) as audio:
            return await self._shared(job, audio, 0)

    async def get_all(self, event: Event) -> tuple[Artifact, ...]:
        """Return all files of the event's job, in order; at most `MAX_CONCURRENT_FILES` are fetched at one time.

        If a file fails, the others are still fetched, because their addresses may expire. Only if the provider requests
        a wait, no further fetch is started.

        Raises:
            AudioError: as `Context.audio_files` says; of several errors the one that `most_severe` returns.
        """
        job = _completed(event)
        with self._in_use(job) as audio:
            count = self._count(job, audio)
            if count == 1:  # the common case
                return (await self._shared(job, audio, 0),)
            return await self._all(job, audio, count)

    async def _all(self, job: JobCompleted, audio: _EventAudio, count: int) -> tuple[Artifact, ...]:
        left, failed = iter(range(count)), list[Exception]()
        found: dict[int, Artifact] = {}

        async def fetch_some() -> None:
            for n in left:
                try:
                    found[n] = await self._shared(job, audio, n)
                except Exception as error:  # noqa: BLE001 - raised below, after the other fetches have ended
                    failed.append(error)
                if any(map(stops_all, failed)):
                    return

        async with asyncio.TaskGroup() as group:
            for _ in range(min(MAX_CONCURRENT_FILES, count)):
                group.create_task(fetch_some())
        if failed:
            raise most_severe(failed)
        return tuple(found[n] for n in range(count))

    def _count(self, event: JobCompleted, audio: _EventAudio) -> int:
        source = self._sources.get(event.source)
        if source is None:  # files that are stored already can still be returned
            urls = event.payload.get("audio_urls")
            count = len(urls) if isinstance(urls, list) else 1
        else:
            audio.files = audio.files or source.files(event.job_id, event.payload)
            count = len(audio.files)
        if count > MAX_FILES:
            raise AudioRefused(
                f"The job has {count} files; at most {MAX_FILES} are fetched for one job. "
                "ctx.audio() returns the first, and the event's payload has all addresses.",
                reason="too_many_files",
            )
        return max(1, count)

    @contextmanager
    def _in_use(self, event: JobCompleted) -> Iterator[_EventAudio]:
        audio = self._events.setdefault(event.id, _EventAudio())
        audio.users += 1
        try:
            yield audio
        finally:
            audio.users -= 1
            if audio.users == 0:
                del self._events[event.id]
                if audio.fresh is not None:
                    audio.fresh.cancel()

    async def _shared(self, event: JobCompleted, audio: _EventAudio, n: int) -> Artifact:
        fetch = audio.fetches.get(n)
        if fetch is None:
            fetch = audio.fetches[n] = _Fetch(asyncio.create_task(self._get(event, audio, n)))
        fetch.waiting += 1
        try:
            return await asyncio.shield(fetch.task)
        finally:
            fetch.waiting -= 1
            if fetch.waiting == 0:
                fetch.task.cancel()  # no caller needs it; no effect if it is done
                audio.fetches.pop(n, None)

    async def _get(self, event: JobCompleted, audio: _EventAudio, n: int) -> Artifact:
        row = await self._database.read(artifacts.get, event.id, n)
        try:
            if row is not None:
                if await self._is_there(row):
                    return self._artifact(row)
                log.warning("audio.missing", event_id=event.id, n=n, address=row.address, hint="fetching it again")
            return await self._fetch(event, audio, n)
        except StorageFailed as error:
            raise await self._classified(error) from error

    async def _classified(self, error: StorageFailed) -> AudioError:
        return error if self._pause is None else await self._pause.classify(error)

    async def _is_there(self, row: ArtifactRow) -> bool:
        try:
            return await self._storage.size(row.address) == row.bytes
        except NotFound:  # audio.url was changed since the row was written
            return False

    async def _fetch(self, event: JobCompleted, audio: _EventAudio, n: int) -> Artifact:
        started, names = self._clock.monotonic(), (event.source, event.id, event.job_id, n)
        token = self._telemetry.fetch_started(*names)
        row: ArtifactRow | None = None

        def failed(error: BaseException, reason: str | None = None) -> None:
            self._telemetry.fetch_failed(token, *names, self._clock.monotonic() - started, reason, error)

        def recorded(row: ArtifactRow, error: BaseException | None) -> None:
            if error is None:
                self._telemetry.fetch_stored(token, event.source, event.job_id, row)
            else:
                failed(error)

        try:
            row = await self._fetch_row(event, audio, n, started)
            await self._database.batch_and_wait(artifacts.put_all, row, partial(recorded, row))
        except BaseException as failure:
            if row is not None and isinstance(failure, asyncio.CancelledError):
                raise  # `recorded` is called after the commit
            error, reason = failure, None
            if isinstance(failure, AudioError) and not isinstance(failure, NoAudio | AudioPostponed):
                error = postponed_if_recent(failure, self._age(event), self._rng.random()) or failure
                reason = error.reason
            failed(error, reason)
            raise error from failure.__cause__
        recorded(row, None)
        return self._artifact(row)

    async def _fetch_row(self, event: JobCompleted, audio: _EventAudio, n: int, started: float) -> ArtifactRow:
        source, files = self._files(event, audio)
        with self._pause.attempt() if self._pause else nullcontext(), self._download(event, audio):
            fetched = await self._fetch_file(event, source, files, audio, n)
        seconds = self._clock.monotonic() - started
        facts = {name: getattr(fetched, name) for name in _FACTS}
        return ArtifactRow(event_id=event.id, n=n, fetched_at=self._clock.now(), fetch_seconds=seconds, **facts)

    def _files(self, event: JobCompleted, audio: _EventAudio) -> tuple[AudioSource, Files]:
        source = self._sources.get(event.source)
        if source is None:
            raise AudioRefused(f"The source {event.source} is no longer configured.", reason="no_source")
        if audio.files is None:
            audio.files = source.files(event.job_id, event.payload)
        if not audio.files:
            raise source.why_no_files(event.source, event.job_id, event.payload)
        return source, audio.files

    def _age(self, event: JobCompleted) -> float:
        """Seconds since the event was received."""
        return self._clock.now() - event.received_at.timestamp()

    @contextmanager
    def _download(self, event: JobCompleted, audio: _EventAudio) -> Iterator[None]:
        """Hold a slot for the event during a download; all files of an event share one.

        Raises:
            AudioPostponed: no slot is free for it.
        """
        if audio.downloads == 0:
            self._slots.take(event.source, self._age(event), self._rng.random())
        audio.downloads += 1
        try:
            yield
        finally:
            audio.downloads -= 1
            if audio.downloads == 0:
                self._slots.release(event.source)

    async def _fetch_file(
        self, event: JobCompleted, source: AudioSource, files: Files, audio: _EventAudio, n: int
    ) -> FetchedAudio:
        async def fetch_from(requests: Sequence[AudioRequest]) -> FetchedAudio:
            return await self._fetcher.fetch(
                requests, source=event.source, job_id=_name(event), allow_private=source.allow_private, n=n,
                accepts_documents=partial(self._database.read, jobs.is_task, event.source, event.job_id),
            )  # fmt: skip

        known = audio.fresh.files if audio.fresh is not None else None
        requests = (known or files)[n]
        try:
            return await fetch_from(requests)
        except AudioError as error:
            if not error.expired or isinstance(error, AudioDelayed) or any(request.durable for request in requests):
                raise
            if audio.fresh is None:
                audio.fresh = FreshAddresses(self._request_fresh_urls, source, event, len(files))
            fresh = await audio.fresh.newer_than(known)
            if fresh is None:
                raise
        return await fetch_from(fresh[n])

    def _artifact(self, row: ArtifactRow) -> Artifact:
        async def stream() -> AsyncIterator[bytes]:
            try:
                async for piece in self._storage.stream(row.address):
                    yield piece
            except StorageFailed as error:
                raise await self._classified(error) from error

        path = Path(row.address) if self._storage.folder is not None else None

        def link() -> str | None:
            return None if self._links is None else self._links.link(row.event_id, row.n)

        async def sign(seconds: float) -> str:
            try:
                return await self._storage.signed_url(row.address, seconds)
            except StorageFailed as error:
                raise await self._classified(error) from error

        return Artifact.of(row, path, stream, link, sign)


def _name(event: JobCompleted) -> str:
    """What its files are named after: an edited event may name other audio, which must not replace its job's."""
    return event.job_id if event.edited_from is None else f"{event.job_id}~{event.id}"


def _completed(event: Event) -> JobCompleted:
    if not isinstance(event, JobCompleted):
        raise NoAudio(f"{event.type} has no audio; subscribe with on=JobCompleted.")
    return event
