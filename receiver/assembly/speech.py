"""Builds the parts of `speech`: one source's loop, and the fetching of audio. A receiver may share the store."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

from receiver.assembly.engine import build_audio, build_engine, build_jobs, build_membership
from receiver.assembly.resources import spool_folder
from receiver.assembly.sources import job_source
from receiver.clock import SteadyClock
from receiver.engine.audio import AudioService
from receiver.engine.audio_slots import MAX_DOWNLOADS
from receiver.engine.clock_watch import ClockWatch
from receiver.engine.jobs.loop import SourceLoop
from receiver.engine.jobs.service import JobService
from receiver.engine.jobs.source import JobSource
from receiver.engine.jobs.streaming import StreamService
from receiver.engine.membership import Membership
from receiver.engine.plugins import load_registry
from receiver.model.redact import Redactor
from receiver.model.role import Role
from receiver.outbound.audio import AudioFetcher
from receiver.settings import Settings
from receiver.store.changes import Change
from receiver.store.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechParts:
    """The parts that submit speech to one source, follow its jobs and fetch their audio.

    Attributes:
        source: the source's data for its jobs.
        jobs: creates jobs, and waits for their progress.
        streams: creates jobs whose audio is streamed.
        audio: fetches the audio of a job's event.
        loop: submits and polls.
        spool: the folder with unfinished downloads.
        redact: removes the configured secrets from a text.
    """

    source: JobSource
    clock: SteadyClock
    rng: random.Random
    clock_watch: ClockWatch
    redact: Redactor
    database: Database
    membership: Membership
    fetcher: AudioFetcher
    spool: Path
    jobs: JobService
    streams: StreamService
    loop: SourceLoop
    audio: AudioService


def build_speech(settings: Settings, source: str, clock: SteadyClock | None = None) -> SpeechParts:
    """Build everything for speech from one source; nothing is started.

    The caller starts, in this order: `migrate(database)` in a thread, `database.start()`, `await clock_watch.start()`,
    `await membership.join()`, `loop.start()`; and stops: `await clock_watch.stop()`, `await streams.stop(0)`,
    `await loop.stop()`, `await membership.leave()`, `await fetcher.aclose()`, `database.close()` in a thread.

    Raises:
        NoApiAccess: there is no such source, or its API cannot be used.
        ConfigError: a handler does not load, or an address in the settings cannot be used.
    """
    found = job_source(settings, source)
    parts = build_engine(settings, load_registry(settings), clock)
    jobs, streams, loops = build_jobs(parts, {source: found}, lambda: parts.processes.announce(Change.RUNS))
    loop = loops[source]
    return SpeechParts(
        source=found,
        clock=parts.clock,
        rng=parts.rng,
        clock_watch=parts.clock_watch,
        redact=parts.redact,
        database=parts.database,
        membership=build_membership(parts, Role.SPEECH, [loop.wake], lambda: loop.busy),
        fetcher=parts.fetcher,
        spool=spool_folder(settings, parts.storage),
        jobs=jobs,
        streams=streams,
        loop=loop,
        audio=build_audio(parts, MAX_DOWNLOADS),
    )
