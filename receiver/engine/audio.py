"""The event's audio, once: whoever asks first starts the fetch, the others wait for the same one.

Lives on the handlers' loop. The row in the store is what makes it once across processes and restarts.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from receiver.engine.context import Artifact
from receiver.errors import AudioError, AudioRefused, NotFound, Reject
from receiver.metrics import Metrics
from receiver.model.event import Event, JobCompleted
from receiver.outbound.audio import AudioFetcher
from receiver.outbound.storage import Storage
from receiver.providers.base import Provider
from receiver.store import artifacts
from receiver.store.artifacts import ArtifactRow
from receiver.store.database import Database

log = structlog.get_logger("receiver.audio")


@dataclass(frozen=True, slots=True)
class AudioSource:
    """What a fetch needs to know of a source."""

    provider: Provider
    origin: str
    api_key: str | None = field(repr=False)
    allow_private: bool


@dataclass(slots=True)
class _Fetch:
    task: asyncio.Task[Artifact]
    waiting: int = 0


class AudioDesk:
    """Hands out artifacts, fetching what is not there yet."""

    def __init__(
        self,
        database: Database,
        fetcher: AudioFetcher,
        storage: Storage,
        sources: Mapping[str, AudioSource],
        metrics: Metrics,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._fetcher = fetcher
        self._storage = storage
        self._sources = sources
        self._metrics = metrics
        self._now = now
        self._fetches: dict[str, _Fetch] = {}

    async def get(self, event: Event) -> Artifact:
        """The event's artifact.

        Raises:
            AudioError: as `Context.audio` says.
            Reject: the event is not one that has audio.
        """
        fetch = self._fetches.get(event.id)
        if fetch is None:
            fetch = self._fetches[event.id] = _Fetch(asyncio.create_task(self._get(event)))
        fetch.waiting += 1
        try:
            return await asyncio.shield(fetch.task)
        finally:
            fetch.waiting -= 1
            if fetch.waiting == 0:
                fetch.task.cancel()  # nobody wants it any more; no effect if it is done
                self._fetches.pop(event.id, None)

    async def _get(self, event: Event) -> Artifact:
        if not isinstance(event, JobCompleted):
            raise Reject(f"{event.type} has no audio; subscribe with on=JobCompleted.", reason="no_audio")
        row = await self._database.read(artifacts.get, event.id)
        if row is not None:
            if await self._is_there(row):
                return self._artifact(row)
            log.warning("audio.missing", event_id=event.id, address=row.address, hint="fetching it again")
        return await self._fetch(event)

    async def _is_there(self, row: ArtifactRow) -> bool:
        try:
            return await self._storage.size(row.address) == row.bytes
        except NotFound:  # the row is from before audio.url was changed
            return False

    async def _fetch(self, event: JobCompleted) -> Artifact:
        source = self._sources.get(event.source)
        if source is None:
            raise AudioRefused(f"The source {event.source} is not configured any more.", reason="no_source")
        requests = source.provider.audio_requests(source.origin, source.api_key, event.job_id, event.payload)
        if not requests:
            raise AudioRefused(
                f"There is no way to fetch: the source {event.source} has no api_key, and the event no audio_url.",
                reason="no_api_key",
            )
        started = time.perf_counter()
        bound = log.bind(source=event.source, event_id=event.id, job=event.job_id)
        outcome = "fetched"
        try:
            got = await self._fetcher.fetch(
                requests, source=event.source, job_id=event.job_id, allow_private=source.allow_private
            )
        except AudioError as error:
            outcome = error.reason
            bound.warning("audio.not_fetched", reason=error.reason, detail=str(error))
            raise
        finally:
            seconds = time.perf_counter() - started
            self._metrics.audio_seconds.labels(event.source, outcome).observe(seconds)
        row = ArtifactRow(
            event_id=event.id,
            n=0,
            address=got.address,
            bytes=got.bytes,
            sha256=got.sha256,
            content_type=got.content_type,
            format=got.format,
            duration=got.duration,
            sample_rate=got.sample_rate,
            channels=got.channels,
            fetched_at=self._now(),
            fetch_seconds=seconds,
        )
        await self._database.write(artifacts.put, row)
        self._metrics.audio_bytes.labels(event.source).inc(got.bytes)
        bound.info("audio.stored", address=got.address, bytes=got.bytes, sha256=got.sha256, seconds=round(seconds, 3))
        return self._artifact(row)

    def _artifact(self, row: ArtifactRow) -> Artifact:
        def stream() -> AsyncIterator[bytes]:
            return self._storage.stream(row.address)

        path = Path(row.address) if self._storage.folder is not None else None
        return Artifact.of(row, path, stream)
