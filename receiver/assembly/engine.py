"""Builds what `serve` and `speech` both run: store, clock, the loops of the sources, and the fetching of audio."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from receiver import __version__
from receiver.assembly.resources import open_audio, open_database, spool_folder
from receiver.assembly.sources import audio_sources, time_bounds, why_no_api_access
from receiver.clock import SteadyClock
from receiver.engine.audio import AudioService
from receiver.engine.audio_refresh import AudioUrlRefresher
from receiver.engine.changes import Changes
from receiver.engine.clock_trust import ClockTrust
from receiver.engine.clock_watch import ClockWatch
from receiver.engine.jobs.limits import MAX_OPEN_JOBS
from receiver.engine.jobs.loop import SourceLoop
from receiver.engine.jobs.service import JobService
from receiver.engine.jobs.source import JobSource
from receiver.engine.jobs.streaming import MAX_STREAMS, StreamService
from receiver.engine.links import AudioLinks
from receiver.engine.membership import Membership
from receiver.engine.plugins import Registry
from receiver.engine.server_clock import ServerClock
from receiver.engine.storage_pause import StoragePause
from receiver.engine.throttle import Throttle
from receiver.metrics import Metrics
from receiver.model.redact import Redactor
from receiver.model.role import Role
from receiver.outbound.audio import AudioFetcher
from receiver.outbound.client import Client
from receiver.outbound.guard import AddressGuard
from receiver.outbound.storage_types import Storage
from receiver.settings import Settings
from receiver.store.backend import Processes
from receiver.store.changes import Change
from receiver.store.database import Database
from receiver.store.leases import new_owner
from receiver.store.processes import ProcessInfo
from receiver.telemetry.hooks import Telemetry, combine
from receiver.telemetry.log import LogTelemetry
from receiver.telemetry.metrics import MetricsTelemetry
from receiver.telemetry.rollups import RollupTelemetry


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineParts:
    """The parts that all other parts of a process use.

    Attributes:
        server_clock: `clock`, compared with that of the store's server.
        rng: for ids and jitter, which need no secrecy.
        owner: this process's name in leases.
        processes: those that share the store.
        changes: what they tell each other.
        telemetry: what all parts report to.
        counted: the part of it that counts for the rollups.
        redact: removes the configured secrets, and those of handlers' options, from a text.
        throttles: by source; each spaces all requests to its source.
    """

    settings: Settings
    registry: Registry
    clock: SteadyClock
    server_clock: ServerClock
    rng: random.Random
    trust: ClockTrust
    clock_watch: ClockWatch
    metrics: Metrics
    telemetry: Telemetry
    counted: RollupTelemetry
    redact: Redactor
    owner: str
    database: Database
    processes: Processes
    changes: Changes
    storage: Storage
    fetcher: AudioFetcher
    throttles: Mapping[str, Throttle]


def build_engine(
    settings: Settings, registry: Registry, clock: SteadyClock | None = None, *reporting: Telemetry
) -> EngineParts:
    """Build the parts that need only settings and handlers; nothing is started.

    Args:
        reporting: further telemetry, beside metrics and log.

    Raises:
        ConfigError: the address of the store or of the storage cannot be used.
    """
    clock = clock or SteadyClock()
    rng = random.Random()  # noqa: S311 - ids and jitter need no secrecy
    trust = ClockTrust(clock)
    metrics = Metrics()
    counted = RollupTelemetry()
    own = MetricsTelemetry(metrics, _with_webhooks(settings)), LogTelemetry(), counted
    telemetry = combine(*own, *reporting, failed=lambda hook: metrics.telemetry_errors.labels(hook).inc())
    database = open_database(settings)
    storage = open_audio(settings)
    server_clock = ServerClock(database, clock, settings.dispatch.lease_seconds, metrics)
    owner = new_owner()
    processes = database.processes(owner, clock, rng)
    changes = Changes(processes)
    database.health.on_available = changes.changed_perhaps
    return EngineParts(
        settings=settings,
        registry=registry,
        clock=clock,
        server_clock=server_clock,
        rng=rng,
        trust=trust,
        clock_watch=ClockWatch(database, clock, trust, time_bounds(settings), metrics, server_clock, changes.call_all),
        metrics=metrics,
        telemetry=telemetry,
        counted=counted,
        redact=Redactor([*settings.secrets(), *registry.secrets()]),
        owner=owner,
        database=database,
        processes=processes,
        changes=changes,
        storage=storage,
        fetcher=AudioFetcher(
            storage,
            spool_folder(settings, storage),
            settings.audio.max_bytes,
            clock=clock,
            rng=rng,
            min_rate=settings.audio.min_bytes_per_second,
        ),
        throttles={
            name: Throttle(database, name, source.poll.requests_per_second, clock, telemetry)
            for name, source in settings.sources.items()
        },
    )


def _with_webhooks(settings: Settings) -> frozenset[str]:
    return frozenset(name for name, source in settings.sources.items() if source.receives_webhooks)


def build_audio(
    parts: EngineParts, downloads: int, pause: StoragePause | None = None, links: AudioLinks | None = None
) -> AudioService:
    """Build the service that fetches events' audio; `downloads`, `pause` and `links` as for `AudioService`."""
    sources = audio_sources(parts.settings)
    refresh_urls = AudioUrlRefresher(parts.fetcher, sources, parts.throttles)
    return AudioService(
        parts.database,
        parts.fetcher,
        parts.storage,
        sources,
        parts.telemetry,
        refresh_urls,
        downloads,
        clock=parts.clock,
        rng=parts.rng,
        pause=pause,
        links=links,
    )


def build_jobs(
    parts: EngineParts, sources: Mapping[str, JobSource], committed: Callable[[], None]
) -> tuple[JobService, StreamService, dict[str, SourceLoop]]:
    """Build the services that create jobs, and the loop of each source by name; they wake each other.

    Args:
        sources: those that this process submits to and polls.
        committed: called after a poll's event was committed with its runs.
    """
    loops: dict[str, SourceLoop] = {}

    def wake(name: str) -> None:
        """A job of the source is due."""
        if name in loops:
            loops[name].wake()
        parts.processes.announce(Change.JOBS)

    jobs = JobService(
        parts.database,
        sources,
        wake,
        lambda name: why_no_api_access(parts.settings, name),
        clock=parts.clock,
        rng=parts.rng,
        refused=parts.telemetry.submit_refused,
    )
    for name, source in sources.items():
        guard = AddressGuard(parts.settings.sources[name].allow_private_addresses)
        loops[name] = SourceLoop(
            parts.database,
            source,
            Client(guard, max_connections=MAX_OPEN_JOBS),
            parts.throttles[name],
            owner=parts.owner,
            handlers_for=parts.registry.names_for,
            wake=committed,
            telemetry=parts.telemetry,
            changed=jobs.changed,
            clock=parts.server_clock,
            rng=parts.rng,
            trust=parts.trust,
            released=lambda: parts.processes.announce(Change.JOBS),
            poll_seconds=parts.changes.poll_seconds,
        )
        parts.changes.listen(Change.JOBS, loops[name].wake)
        parts.changes.listen(Change.LEASES, loops[name].wake)
    streams = StreamService(
        parts.database,
        jobs,
        loops,
        wake,
        lambda name: Client(
            AddressGuard(parts.settings.sources[name].allow_private_addresses), max_connections=MAX_STREAMS
        ),
        parts.settings.audio.max_bytes,
        clock=parts.clock,
        rng=parts.rng,
    )
    return jobs, streams, loops


def build_membership(
    parts: EngineParts,
    role: Role,
    on_release: Sequence[Callable[[], None]],
    busy: Callable[[], bool],
) -> Membership:
    """Build the membership of the processes on this store; `on_release` and `busy` as for `Membership`."""
    keys, now = parts.settings.search.metadata, parts.clock.now()
    info = ProcessInfo(parts.owner, role, socket.gethostname(), os.getpid(), __version__, now, keys)
    return Membership(
        parts.database,
        parts.processes,
        info,
        on_release,
        parts.server_clock.reference,
        busy,
        on_join=parts.changes.start,
        clock_difference=lambda: parts.server_clock.difference,
    )
