"""One source's speech in a process of its own: its loop, an audio desk, and the store, which a receiver may share.

Apart from the commands because one speech and a batch do the same with it. Leases and the shared pace make it safe
beside a running receiver: whichever of the two comes first submits, polls and fetches. Handlers are left to that one.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import structlog

from receiver import logs
from receiver.assembly.speech import build_speech
from receiver.engine.clock import SteadyClock
from receiver.engine.context import Artifact
from receiver.engine.event_loops import new_loop
from receiver.errors import AudioDelayed, AudioError, AudioPostponed, NotFound, ReceiverError, Reject
from receiver.model.event import Event, build_event
from receiver.model.retry import RetryPolicy, wait_seconds
from receiver.outbound.names import part_name
from receiver.providers.types import Speech
from receiver.settings import Settings
from receiver.store import jobs, pace, views
from receiver.store.jobs import Row
from receiver.store.migrate import migrate
from receiver.store.pace import Pace
from receiver.store.states import OPEN_JOBS, JobState

LOOK_SECONDS = 0.25
"""How often what is waited for is looked at: a running receiver may be the one who does it."""
SOON_SECONDS = 3.0
"""A first poll that is further away than this waits for a webhook; we wait for the audio, so it is made now."""
AGAIN = RetryPolicy(attempts=8, base_seconds=1.0, factor=2.0, cap_seconds=60.0)
"""How often a fetch is tried again."""
FETCH_IN_PROGRESS = "fetch_in_progress"
_TOLD_OTHERWISE = "job.not_submitted"
"""The error that the commands say in a sentence of their own."""


class SpeechError(ReceiverError):
    """Something was not spoken, or not saved; the message says what to do."""


class Speaker:
    """Submits speech to one source, follows its jobs and fetches their audio.

    Raises:
        NotAskable: there is no such source, or it cannot be asked.
        ConfigError: a handler does not load, or an address in the settings cannot be used.
    """

    def __init__(self, settings: Settings, source: str, clock: SteadyClock | None = None) -> None:
        parts = build_speech(settings, source, clock)
        self.source = source
        self.redact = parts.redact
        self._about = parts.source
        self._clock = parts.clock
        self._clock_watch = parts.clock_watch
        self._database = parts.database
        self._membership = parts.membership
        self._fetcher = parts.fetcher
        self._spool = parts.spool
        self._desk = parts.jobs
        self._loop = parts.loop
        self._audio = parts.audio
        self._dice = random.Random()  # noqa: S311 - jitter needs no secrecy

    async def start(self) -> None:
        """Open the store, migrate it as `serve` does, begin to submit and poll.

        Raises:
            StoreUnavailable: the store cannot be opened.
            SchemaTooNew: a newer release wrote the store.
        """
        await asyncio.to_thread(migrate, self._database)
        self._database.start()
        await self._clock_watch.start()
        await self._membership.join()
        self._loop.start()

    async def stop(self) -> None:
        """Let a submit that is on its way come to its end, close everything."""
        await self._clock_watch.stop()
        await self._loop.stop()
        await self._membership.leave()
        await self._fetcher.aclose()
        await asyncio.to_thread(self._database.close)

    async def submit(self, speech: Speech, client_key: str | None = None) -> Row:
        """Begin a job; as `JobService.submit`, whose errors are the same."""
        row, _ = await self._desk.submit(self.source, speech, client_key)
        return row

    async def job(self, id: str) -> Row | None:
        """A job's row by our id."""
        return await self._database.read(jobs.get, id)

    async def pause(self) -> Pace | None:
        """The source's pause, if there is one now."""
        found = (await self._database.read(pace.pauses, self._clock.now())).get(self.source)
        return found if found is not None and found.pause_until > self._clock.now() else None

    async def follow(self, id: str) -> AsyncIterator[Row]:
        """The job's row, several times a second; the last one when it has ended.

        Raises:
            NotFound: there is no such job.
            StoreUnavailable: the store cannot be read.
        """
        hurried = not self._about.receives_webhooks
        while True:
            row = await self._desk.ended(id, LOOK_SECONDS)
            yield row
            if row["state"] not in OPEN_JOBS:
                return
            watched = row["state"] == JobState.WATCHING and row["polls"] == 0
            if watched and not hurried and row["due_at"] > self._clock.now() + SOON_SECONDS:
                hurried = True
                await self._database.write(jobs.poll_now, id, self._clock.now())
                self._loop.look()

    async def event(self, row: Row) -> Event | None:
        """The event that told of the job's end."""
        if row["event_id"] is None:
            return None
        found = await self._database.read(views.get_event, row["event_id"])
        if found is None:
            return None
        names = ("id", "source", "type", "job_id", "origin", "received_at", "payload")
        return build_event(**{name: found[name] for name in names}, raw=found["body"])

    async def files(self, row: Row, told: Callable[[str], None]) -> tuple[Artifact, ...]:
        """All files of a completed job, fetched unless they are here already.

        Args:
            told: is given a sentence where it does not work at once.

        Raises:
            NotFound: the job's event was forgotten.
            AudioError: it does not work, also when tried again.
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
                if error.reason == FETCH_IN_PROGRESS:  # a running receiver has it in hand
                    await asyncio.sleep(LOOK_SECONDS)
                    continue
                wait: float | None
                if isinstance(error, AudioPostponed):
                    wait = error.after
                else:
                    failed += 1
                    after = error.after if isinstance(error, AudioDelayed) else 0.0
                    wait = wait_seconds(AGAIN, failed, self._dice.random(), told=after)
                if wait is None:
                    raise
                told(f"{error} Trying again in {max(1, round(wait))} s.")
                await asyncio.sleep(wait)

    def fetched_bytes(self, row: Row) -> int:
        """Bytes of the job's first file that have come so far."""
        try:
            return Path(self._spool, part_name(row["source"], row["job_id"] or "", 0)).stat().st_size
        except OSError:
            return 0


def run(settings: Settings, source: str, work: Callable[[Speaker], Awaitable[int]], *, level: str) -> int:
    """Do the work in an event loop of its own; its exit code, or that of the signal that ended it.

    Ctrl-C and SIGTERM cancel the work, a second one also what is still waited for after that.

    Args:
        level: of the log lines on standard error.

    Raises:
        ReceiverError: as `Speaker`, and what the work raises; without any secret in it.
    """
    logs.configure(level=level, format=settings.logs.format, secrets=settings.secrets())
    if level == "error":
        structlog.configure(processors=[_without_told, *structlog.get_config()["processors"]])
    speaker = Speaker(settings, source)
    try:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            return runner.run(_run(speaker, work))
    except ReceiverError as error:
        raise SpeechError(speaker.redact(str(error)), reason=error.reason) from error


async def _run(speaker: Speaker, work: Callable[[Speaker], Awaitable[int]]) -> int:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    signals: list[int] = []

    def on_signal(number: int) -> None:
        signals.append(number)
        if task is not None:
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal, number)
    try:
        try:
            await speaker.start()
            return await work(speaker)
        finally:
            await speaker.stop()
    except asyncio.CancelledError:
        if not signals:
            raise
        return 128 + signals[0]
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(ValueError):
                loop.remove_signal_handler(number)


def _without_told(logger: object, method: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
    if line.get("event") == _TOLD_OTHERWISE:
        raise structlog.DropEvent
    return line
