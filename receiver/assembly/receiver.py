"""Builds a whole receiver, which `serve` and a mounted application start: each part once, in dependency order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from receiver.app import Receiver
from receiver.assembly.apps import private_app, public_app
from receiver.assembly.engine import EngineParts, build_audio, build_engine, build_jobs, build_membership
from receiver.assembly.feed import build_feed
from receiver.assembly.resources import spool_folder
from receiver.assembly.sources import job_sources
from receiver.clock import SteadyClock
from receiver.engine.clients import HandlerClients
from receiver.engine.dispatcher import Bounds, Dispatcher
from receiver.engine.event_loops import new_handlers_loop
from receiver.engine.handler_context import HandlerCalls
from receiver.engine.jobs.loop import SourceLoop
from receiver.engine.links import AudioLinks
from receiver.engine.maintenance import Maintenance
from receiver.engine.operation_worker import OperationWorker
from receiver.engine.operations import OperationService
from receiver.engine.plugins import Registry, load_registry
from receiver.engine.readiness import Readiness
from receiver.engine.rollups import RollupWriter
from receiver.engine.runner import HandlerLoop
from receiver.engine.shared_audio import SharedAudio
from receiver.engine.storage_pause import StoragePause
from receiver.engine.voices import VoiceService
from receiver.engine.watchdog import LoopWatchdog
from receiver.model.role import Role
from receiver.model.slots import Slots
from receiver.outbound.client import Client
from receiver.outbound.guard import AddressGuard
from receiver.settings import Settings
from receiver.store.changes import Change
from receiver.telemetry.hooks import Telemetry


def build_receiver(
    settings: Settings,
    registry: Registry | None = None,
    clock: SteadyClock | None = None,
    *reporting: Telemetry,
    role: Role = Role.ALL,
) -> Receiver:
    """Build a receiver from settings; nothing is started.

    Args:
        registry: the handlers, instead of those that the settings name.
        reporting: further telemetry, beside metrics and log.
        role: which parts are started.

    Raises:
        ConfigError: a handler does not load, or an address in the settings cannot be used.
    """
    parts = build_engine(settings, registry or load_registry(settings), clock, *reporting)
    dispatch = _build_dispatch(parts)
    feed = build_feed(parts.database, parts.processes)

    def committed() -> None:
        """An event with runs is in the store."""
        wake()
        feed.wake()

    def stored() -> None:
        """An event without runs is in the store."""
        parts.processes.announce(Change.EVENTS)
        feed.wake()

    wake = dispatch.dispatcher.runs_due
    parts.changes.listen(Change.RUNS, dispatch.dispatcher.wake)
    for change in (Change.RUNS, Change.EVENTS, Change.LEASES):  # a dead process may not have announced its last event
        parts.changes.listen(change, feed.wake)
    parts.changes.listen(Change.LEASES, dispatch.dispatcher.leases_ended)
    jobs, streams, loops = build_jobs(parts, job_sources(settings), committed)
    voices = VoiceService(
        settings.sources, parts.throttles, lambda source: Client(AddressGuard(source.allow_private_addresses))
    )
    operations = OperationWorker(
        parts.database,
        settings,
        parts.registry,
        parts.redact,
        parts.server_clock.reference,
        owner=parts.owner,
        runs_due=wake,
        poll_seconds=parts.changes.poll_seconds,
        released=lambda: parts.processes.announce(Change.OPERATIONS),
    )
    for change in (Change.OPERATIONS, Change.LEASES):
        parts.changes.listen(change, operations.wake)
    readiness = _build_readiness(parts, role, dispatch, loops)
    receiver = Receiver(
        settings=settings,
        role=role,
        registry=parts.registry,
        metrics=parts.metrics,
        database=parts.database,
        storage=parts.storage,
        fetcher=parts.fetcher,
        clock_watch=parts.clock_watch,
        handlers=dispatch.handlers,
        clients=dispatch.clients,
        pause=dispatch.pause,
        links=dispatch.links,
        watchdog=dispatch.watchdog,
        dispatcher=dispatch.dispatcher,
        jobs=jobs,
        streams=streams,
        loops=loops,
        membership=build_membership(
            parts,
            role,
            [dispatch.dispatcher.leases_ended, feed.wake, operations.wake, *(loop.wake for loop in loops.values())],
            lambda: dispatch.dispatcher.busy or any(loop.busy for loop in loops.values()),
        ),
        shared_audio=SharedAudio(
            parts.database,
            parts.storage,
            spool_folder(settings, parts.storage),
            parts.owner,
            parts.server_clock.reference,
        ),
        voices=voices,
        feed=feed,
        maintenance=Maintenance(
            parts.database,
            settings.store,
            parts.fetcher.sweep,
            parts.server_clock.reference,
            parts.trust,
            owner=parts.owner,
        ),
        operations=operations,
        rollups=RollupWriter(parts.database, parts.counted, parts.server_clock.reference, parts.rng),
        readiness=readiness,
        public=public_app(parts, readiness, committed, stored, lambda app: receiver.running()),
        private=private_app(parts, readiness, feed, wake, jobs, streams, voices, _build_service(parts)),
    )
    return receiver


def _build_service(parts: EngineParts) -> OperationService:
    return OperationService(
        parts.database, parts.server_clock.reference, lambda: parts.changes.changed(Change.OPERATIONS)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Dispatch:
    """The parts that run handlers."""

    handlers: HandlerLoop
    clients: HandlerClients
    pause: StoragePause
    links: AudioLinks
    watchdog: LoopWatchdog
    dispatcher: Dispatcher


def _build_dispatch(parts: EngineParts) -> _Dispatch:
    settings, limits = parts.settings, parts.settings.dispatch
    handlers = HandlerLoop(new_handlers_loop, parts.metrics.abandoned.inc, parts.redact)
    clients = HandlerClients(parts.registry.with_private_addresses(), parts.registry.with_tls())
    pause = StoragePause(
        parts.database,
        parts.fetcher.writable,
        parts.metrics,
        handlers.loop,
        parts.clock,
        on_release=lambda: parts.changes.changed(Change.RUNS),
    )
    links = AudioLinks(settings.api.url)
    audio = build_audio(parts, max_concurrent_downloads(settings, parts.registry.active), pause, links)
    watchdog = LoopWatchdog(handlers, parts.metrics, lambda: dispatcher.busy)
    dispatcher = Dispatcher(
        parts.database,
        parts.registry,
        HandlerCalls(parts.registry, handlers, clients, audio, traced=settings.console.trace_url is not None),
        handlers.loop,
        owner=parts.owner,
        bounds=Bounds(limits.concurrency, limits.lease_seconds, limits.grace_seconds),
        telemetry=parts.telemetry,
        redact=parts.redact,
        clock=parts.server_clock,
        rng=parts.rng,
        watch=watchdog,
        on_storage_wait=pause.wake,
        processes=parts.processes,
    )
    return _Dispatch(
        handlers=handlers, clients=clients, pause=pause, links=links, watchdog=watchdog, dispatcher=dispatcher
    )


def max_concurrent_downloads(settings: Settings, handlers: Iterable[str]) -> int:
    """The most events to download at one time: as many as one handler may have runs.

    With several sources, one source then always has fewer downloads than a handler has runs.
    """
    concurrency = settings.dispatch.concurrency
    return min(Slots(concurrency, dict.fromkeys(handlers)).limits.values(), default=concurrency)


def _build_readiness(parts: EngineParts, role: Role, dispatch: _Dispatch, loops: dict[str, SourceLoop]) -> Readiness:
    alive = {
        "dispatcher": lambda: dispatch.dispatcher.alive,
        "poller": lambda: all(loop.alive for loop in loops.values()),
    }
    paused = {
        "audio": lambda: dispatch.pause.cause,
        "clock": lambda: parts.server_clock.paused,
        "handlers": lambda: dispatch.watchdog.blocked,
    }
    return Readiness(
        parts.database,
        parts.redact,
        max_waiting=parts.settings.server.max_waiting,
        alive=alive if role.works else {},
        paused=paused if role.works else {},
    )
