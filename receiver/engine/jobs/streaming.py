"""Creates jobs whose audio is read while it is made, for a caller that waits for it.

The job is stored with a lease of this process, which submits it as a stream at once. From then on it is a job like any
other: its end is learnt by webhook or by polling, and its durable audio is fetched as always. If the source cannot be
asked now, or this process dies before the request, the job is submitted as any other, without a stream.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from sqlalchemy import Connection

from receiver.clock import Clock
from receiver.engine.audit import ChangeRecorder
from receiver.engine.jobs.commands import new_job, submit_job
from receiver.engine.jobs.loop import SourceLoop
from receiver.engine.jobs.service import JobService
from receiver.engine.jobs.source import JobSource, log
from receiver.engine.jobs.submitting import StreamFuture
from receiver.model.rate_plan import RequestKind
from receiver.outbound.client import Client
from receiver.outbound.live_audio import LiveAudio, StreamFailed, open_live_audio
from receiver.providers.pass_through import check_options
from receiver.providers.protocols import require_streaming
from receiver.providers.types import Invalid, Speech, StreamedJob
from receiver.store import job_leases, jobs, throttle_state
from receiver.store.database import Database
from receiver.store.job_leases import JobClaim
from receiver.store.jobs import NewJob, Row

MAX_AHEAD_SECONDS = 5.0
"""How far ahead the source's next free time may be. A job that must wait longer is submitted without a stream."""
MAX_STREAMS = 64
"""Open streams of one source in one process; another one waits until one of them ends, for half a minute."""


class StreamStart(NamedTuple):
    """A job that was to be streamed.

    Attributes:
        row: the job's row.
        new: whether it is new; only then there can be a stream.
        stream: None if there is no stream.
    """

    row: Row
    new: bool
    stream: StreamedJob | None


class _Stored(NamedTuple):
    row: Row
    new: bool
    claim: JobClaim | None
    send_at: float


class StreamService:
    """Creates jobs of all sources whose audio is streamed, and opens their streams.

    Args:
        jobs: knows the sources.
        loops: submit the jobs, by source.
        wake: called with a source's name when its loop has something to do.
        new_client: makes the client for a source's streams, by the source's name.
        max_bytes: the longest stream that is passed on.
    """

    def __init__(
        self,
        database: Database,
        jobs: JobService,
        loops: Mapping[str, SourceLoop],
        wake: Callable[[str], None],
        new_client: Callable[[str], Client],
        max_bytes: int,
        *,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self._database = database
        self._jobs = jobs
        self._loops = loops
        self._wake = wake
        self._new_client = new_client
        self._max_bytes = max_bytes
        self._clock = clock
        self._rng = rng
        self._clients: dict[str, Client] = {}
        self._open = 0
        """How many streams are open."""
        self._idle = asyncio.Event()
        """Set when `stop` need not wait: none is open, or its grace period has ended."""

    async def submit(
        self, recorder: ChangeRecorder, source: str, speech: Speech, client_key: str | None = None
    ) -> StreamStart:
        """Create a job; return once the provider has accepted or refused it, or it must wait.

        The job continues if the caller is cancelled meanwhile.

        Raises:
            NoApiAccess: as `JobService.source`.
            Invalid: the provider does not stream this speech; nothing was stored or sent.
            ClientKeyReused: the key was used with another speech before.
            BudgetExceeded: as `JobService.submit`.
        """
        found = self._jobs.source(source)
        check_stream(found, speech)
        job = new_job(found, speech, client_key, self._clock.now(), self._rng)
        opened: StreamFuture = asyncio.get_running_loop().create_future()
        starting = asyncio.ensure_future(self._start(recorder, job, opened))
        try:
            stored = await asyncio.shield(starting)
            stream = await opened
        finally:
            opened.cancel()  # of no effect if it is done
        row = await self._database.read(jobs.get, stored.row["id"])
        return StreamStart(stored.row if row is None else row, stored.new, stream)

    async def _start(self, recorder: ChangeRecorder, job: NewJob, opened: StreamFuture) -> _Stored:
        loop = self._loops[job.source]
        monotonic = self._clock.monotonic()
        loop.storing.add(job.id)
        try:
            stored: _Stored = await self._jobs.store_new(job, _store, recorder, loop, job)
            if stored.claim is None:
                self._wake(job.source)
                _set_none(opened)
                return stored
            if not opened.cancelled():
                loop.submitter.expect_stream(job.id, opened)
            task = loop.start_task(loop.process(stored.claim, stored.send_at - job.now + monotonic), [stored.claim])
            task.add_done_callback(lambda _: _set_none(opened))
        finally:
            loop.storing.discard(job.id)
        return stored

    @asynccontextmanager
    async def open(self, row: Mapping[str, Any], stream: StreamedJob) -> AsyncIterator[LiveAudio]:
        """Open a job's stream. It is closed with the context, and logged.

        Raises:
            StreamFailed: it cannot be opened; the job continues.
        """
        source, named = row["source"], {"source": row["source"], "id": row["id"], "job": stream.job_id}
        if source not in self._clients:  # created on the source's first use
            self._clients[source] = self._new_client(source)
        started, received, complete = self._clock.monotonic(), 0, False
        self._open += 1

        async def counted(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
            nonlocal received, complete
            async for chunk in chunks:
                received += len(chunk)
                yield chunk
            complete = True

        try:
            if stream.url is None:
                raise StreamFailed("The service accepted the job, but returned no usable address of a stream.")
            async with open_live_audio(
                self._clients[source], stream.url, stream.headers, format=stream.format, max_bytes=self._max_bytes
            ) as audio:
                log.info("audio_stream.opened", **named, seconds=round(self._clock.monotonic() - started, 3))
                yield LiveAudio(audio.content_type, counted(audio.chunks))
        except StreamFailed as error:
            log.warning("audio_stream.failed", **named, reason=error.reason, bytes=received, detail=str(error))
            raise
        finally:
            self._open -= 1
            if not self._open:
                self._idle.set()
        seconds = round(self._clock.monotonic() - started, 3)
        log.info("audio_stream.ended", **named, complete=complete, bytes=received, seconds=seconds)

    def end_grace_period(self) -> None:
        """End the wait of `stop` now."""
        self._idle.set()

    async def stop(self, grace_seconds: float) -> None:
        """Wait so long for open streams to end, and close everything."""
        if self._open:
            self._idle.clear()
            await self._clock.wait(self._idle, grace_seconds)
        for client in self._clients.values():
            await client.aclose()


def check_stream(source: JobSource, speech: Speech) -> None:
    """As `commands.check_request`, for a stream.

    Raises:
        Invalid: names the value and what is supported instead.
    """
    limit = source.max_stream_characters
    if limit is not None and len(speech.text) > limit:
        raise Invalid(
            f"The text has {len(speech.text)} characters. A stream of the source {source.name} has at most {limit} "
            "(max_stream_characters); submit it without streaming."
        )
    provider = require_streaming(source.provider)
    check_options(provider.name, speech.options, source.capabilities)
    provider.stream_request(source.account, speech)


def _store(connection: Connection, recorder: ChangeRecorder, loop: SourceLoop, job: NewJob) -> _Stored:
    """Store the job, with a lease and a time for its request if it can be submitted now."""
    row, new = submit_job(connection, recorder, job)
    state, now = throttle_state.get(connection, job.source), job.now
    if not new or not loop.alive or loop.deps.stop.is_set() or loop.capacity == 0:
        return _Stored(row, new, None, now)
    if state.pause_until > now or state.next_request_at > now + MAX_AHEAD_SECONDS:
        return _Stored(row, new, None, now)
    limits = loop.deps.lock_limits(connection, now)
    if limits.free(RequestKind.STREAM, 1) == 0:
        return _Stored(row, new, None, now)
    claim = job_leases.claim_new(connection, job.id, now, loop.deps.lease(now))
    if claim is None:
        return _Stored(row, new, None, now)
    limits.take(RequestKind.STREAM, 1)
    return _Stored(row, new, claim, loop.deps.throttle.reserve(connection, 1, now)[0])


def _set_none(opened: StreamFuture) -> None:
    if not opened.done():
        opened.set_result(None)
