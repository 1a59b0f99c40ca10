"""The client: submits speech to one source, follows the jobs and fetches their audio, in a process of its own.

A running receiver may use the same store. Leases and the shared rate limit make that safe: either process may submit,
poll or fetch. Handlers run in the receiver only.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from receiver.assembly.speech import build_speech
from receiver.clock import SteadyClock
from receiver.engine.audit import Auditor, ChangeRecorder, system_user
from receiver.engine.context import Artifact
from receiver.engine.jobs.commands import audit_operation, describe_request
from receiver.engine.jobs.requests import JobRequest
from receiver.engine.jobs.streaming import StreamStart
from receiver.errors import AudioDelayed, AudioError, AudioPostponed, NotFound, Reject, StoreUnavailable
from receiver.model.audit import AuditOperation, AuditState, Via
from receiver.model.event import Event, build_event
from receiver.model.rate_plan import RequestKind
from receiver.model.retry import RetryPolicy, wait_seconds
from receiver.outbound.live_audio import LiveAudio
from receiver.outbound.names import part_name
from receiver.providers.types import Speech, StreamedJob
from receiver.settings import Settings
from receiver.speech.messages import stall_reason
from receiver.store import jobs, throttle_state, views
from receiver.store.jobs import Row
from receiver.store.migrate import migrate
from receiver.store.states import OPEN_JOBS, JobState
from receiver.store.throttle_state import ThrottleState

POLL_INTERVAL_SECONDS = 0.25
"""How often the store is read for changes, which a running receiver may make."""
MAX_FIRST_POLL_SECONDS = 3.0
"""A first poll that is due later than this waits for a webhook. Because a user waits for the audio, it is made now."""
FETCH_RETRIES = RetryPolicy(attempts=8, base_seconds=1.0, factor=2.0, cap_seconds=60.0)
"""The retries of a failed fetch of audio."""
PAUSE_CHECK_SECONDS = 2.0
"""How often the store is read for the source's pause, for all jobs that are followed together."""
FETCH_IN_PROGRESS = "fetch_in_progress"


class SpeechClient:
    """Submits speech to one source, follows its jobs and fetches their audio.

    Attributes:
        source: the source's name.
        redact: cuts secrets from a text.
        clock: of everything that the client runs.

    Raises:
        NoApiAccess: there is no such source, or no request can be sent to it.
        ConfigError: a handler does not load, or an address in the settings cannot be used.
    """

    def __init__(self, settings: Settings, source: str, clock: SteadyClock | None = None) -> None:
        parts = build_speech(settings, source, clock)
        self.source = source
        self.redact = parts.redact
        self._job_source = parts.source
        self.clock = parts.clock
        self._clock_watch = parts.clock_watch
        self._database = parts.database
        self._membership = parts.membership
        self._fetcher = parts.fetcher
        self._spool = parts.spool
        self._jobs = parts.jobs
        self._streams = parts.streams
        self._loop = parts.loop
        self._audio = parts.audio
        self._pause_check_at = 0.0
        self._rng = parts.rng
        self._auditors = {
            operation: Auditor(operation, system_user(), Via.CLI, parts.redact, parts.clock, parts.rng)
            for operation in (AuditOperation.SPEAK, AuditOperation.SUBMIT_TASK)
        }

    async def start(self) -> None:
        """Open the store, migrate it as `serve` does, and start to submit and poll.

        Raises:
            StoreUnavailable: the store cannot be opened.
            SchemaTooNew: a newer release wrote the store, and this one cannot use it.
        """
        await asyncio.to_thread(migrate, self._database)
        self._database.start()
        await self._clock_watch.start()
        await self._membership.join()
        await self._membership.declare_keys()
        self._loop.start()

    async def stop(self) -> None:
        """Wait for a submit that is in progress, and close everything."""
        await self._clock_watch.stop()
        await self._streams.stop(0.0)
        await self._loop.stop()
        await self._membership.leave()
        await self._fetcher.aclose()
        await asyncio.to_thread(self._database.close)

    async def submit(
        self, request: JobRequest, client_key: str | None = None, recorder: ChangeRecorder | None = None
    ) -> Row:
        """Create a job. Parameters and errors are those of `JobService.submit`.

        Args:
            recorder: of a change of which this is a part; by default it is one of its own.
        """
        if recorder is None:
            auditor = self._auditors[audit_operation(request)]
            recorder = auditor.single(**describe_request(self.source, request))
        row, _ = await self._jobs.submit(recorder, self.source, request, client_key)
        return row

    async def submit_stream(self, speech: Speech, client_key: str | None = None) -> StreamStart:
        """Create a job whose audio is streamed. Errors are those of `StreamService.submit`."""
        recorder = self._auditors[AuditOperation.SPEAK].single(**describe_request(self.source, speech))
        return await self._streams.submit(recorder, self.source, speech, client_key)

    def open_stream(self, row: Row, stream: StreamedJob) -> AbstractAsyncContextManager[LiveAudio]:
        """Open a job's stream, as `StreamService.open`."""
        return self._streams.open(row, stream)

    @asynccontextmanager
    async def recording(self, **filter: Any) -> AsyncIterator[ChangeRecorder]:
        """The recorder of several submits as one change, which ends with the context.

        Args:
            filter: what they are about, as `Auditor.bulk`.
        """
        recorder = self._auditors[AuditOperation.SPEAK].bulk(source=self.source, **filter)
        state = AuditState.FAILED
        try:
            yield recorder
            state = AuditState.COMPLETED
        except asyncio.CancelledError:
            state = AuditState.STOPPED
            raise
        finally:
            with suppress(StoreUnavailable):  # then it stays unfinished
                await self._database.write(recorder.finish, state)

    async def job(self, id: str) -> Row | None:
        """A job's row by our id."""
        return await self._database.read(jobs.get, id)

    async def stall_reason(self, row: Row) -> str | None:
        """Why an open job does not proceed now; None if no reason is known. The text may contain secrets.

        The source's pause is read every two seconds only; between two reads it is not reported.
        """
        pause = None
        if self.clock.monotonic() >= self._pause_check_at:
            self._pause_check_at = self.clock.monotonic() + PAUSE_CHECK_SECONDS
            pause = await self._pause(row)
        return stall_reason(row, pause)

    async def _pause(self, row: Row) -> ThrottleState | None:
        """Why no request of an open job is sent now; None if it is."""
        kind = RequestKind.SUBMIT if row["state"] == JobState.SUBMITTING else RequestKind.STATUS
        submits_wait, now = not self._job_source.receives_webhooks, self.clock.now()
        return await self._database.read(
            lambda connection: throttle_state.pause_of(connection, self.source, kind, now, submits_wait=submits_wait)
        )

    async def follow(self, id: str) -> AsyncIterator[Row]:
        """Yield the job's row several times a second, and a last time when the job has ended.

        Raises:
            NotFound: there is no such job.
            StoreUnavailable: the store cannot be read.
        """
        poll_advanced = not self._job_source.receives_webhooks
        while True:
            row = await self._jobs.wait_until_ended(id, POLL_INTERVAL_SECONDS)
            yield row
            if row["state"] not in OPEN_JOBS:
                return
            watched = row["state"] == JobState.WATCHING and row["polls"] == 0
            if watched and not poll_advanced and row["due_at"] > self.clock.now() + MAX_FIRST_POLL_SECONDS:
                poll_advanced = True
                await self._database.write(jobs.poll_now, id, self.clock.now())
                self._loop.wake()

    async def event(self, row: Row) -> Event | None:
        """The event of the job's end; None if it has none, or it was deleted."""
        if row["event_id"] is None:
            return None
        found = await self._database.read(views.get_event, row["event_id"])
        if found is None:
            return None
        names = ("id", "source", "type", "job_id", "origin", "received_at", "payload")
        return build_event(**{name: found[name] for name in names}, raw=found["body"])

    async def files(self, row: Row, note: Callable[[str], None]) -> tuple[Artifact, ...]:
        """All files of a completed job, of any kind; missing ones are fetched into the storage.

        Args:
            note: called with a sentence for each attempt that fails and is retried.

        Raises:
            NotFound: the job's event was deleted.
            AudioError: the audio cannot be fetched, also after retries.
        """
        event = await self.event(row)
        if event is None:
            raise NotFound(f"The event of the job {row['id']} is no longer in the store: its audio cannot be fetched.")
        failed = 0
        while True:
            try:
                return await self._audio.get_all(event)
            except Reject:
                raise
            except AudioError as error:
                if error.reason == FETCH_IN_PROGRESS:  # a running receiver is fetching it
                    await self._sleep(POLL_INTERVAL_SECONDS)
                    continue
                wait: float | None
                if isinstance(error, AudioPostponed):
                    wait = error.after
                else:
                    failed += 1
                    after = error.after if isinstance(error, AudioDelayed) else 0.0
                    wait = wait_seconds(FETCH_RETRIES, failed, self._rng.random(), retry_after=after)
                if wait is None:
                    raise
                note(f"{error} Trying again in {max(1, round(wait))} s.")
                await self._sleep(wait)

    async def _sleep(self, seconds: float) -> None:
        await self.clock.wait(asyncio.Event(), seconds)

    def fetched_bytes(self, row: Row) -> int:
        """Bytes of the job's first file that have been fetched so far."""
        try:
            return Path(self._spool, part_name(row["source"], row["job_id"] or "", 0)).stat().st_size
        except OSError:
            return 0
