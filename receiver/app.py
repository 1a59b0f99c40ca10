"""The lifecycle of a receiver: startup, readiness and orderly shutdown. `receiver.assembly` builds its parts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog
from starlette.types import ASGIApp

from receiver.engine.clients import HandlerClients
from receiver.engine.clock_watch import ClockWatch
from receiver.engine.dispatcher import Dispatcher
from receiver.engine.jobs.loop import SourceLoop
from receiver.engine.jobs.service import JobService
from receiver.engine.jobs.streaming import StreamService
from receiver.engine.links import AudioLinks
from receiver.engine.maintenance import Maintenance
from receiver.engine.membership import Membership
from receiver.engine.operation_worker import OperationWorker
from receiver.engine.plugins import Registry
from receiver.engine.readiness import READY, STOPPING, Readiness
from receiver.engine.rollups import RollupWriter
from receiver.engine.runner import HandlerLoop
from receiver.engine.shared_audio import SharedAudio
from receiver.engine.storage_pause import StoragePause
from receiver.engine.voices import VoiceService
from receiver.engine.watchdog import LoopWatchdog
from receiver.errors import ListingTimeout, StoreUnavailable
from receiver.metrics import Metrics
from receiver.model.role import Role
from receiver.outbound.audio import AudioFetcher
from receiver.outbound.storage_types import Storage
from receiver.settings import Settings
from receiver.store import views
from receiver.store.database import Database
from receiver.store.migrate import migrate
from receiver.store.schema import HEAD
from receiver.web.api.feed import Feed
from receiver.web.public import STARTING, STOPPED, PublicApp

log = structlog.get_logger("receiver")

NEWER_SCHEMA = "a newer release migrated the store and says that this release can use it; nothing was changed"
STOP_SECONDS = 5.0
"""How long the shutdown waits for a blocked handler loop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receiver:
    """All parts of a receiver. Nothing runs before `start`.

    Attributes:
        role: which parts `start` starts. The others are there, and do nothing.
        handlers: the event loop of the handlers.
        clients: the handlers' own HTTP clients.
        links: addresses of stored audio; the server of `private` sets their base.
        loops: submit and poll the jobs, by source.
        public: accepts deliveries; its lifespan starts and stops the receiver.
        private: the API, metrics and health.
    """

    settings: Settings
    role: Role
    registry: Registry
    metrics: Metrics
    database: Database
    storage: Storage
    fetcher: AudioFetcher
    clock_watch: ClockWatch
    handlers: HandlerLoop
    clients: HandlerClients
    pause: StoragePause
    links: AudioLinks
    watchdog: LoopWatchdog
    dispatcher: Dispatcher
    jobs: JobService
    streams: StreamService
    loops: Mapping[str, SourceLoop]
    membership: Membership
    shared_audio: SharedAudio
    voices: VoiceService
    feed: Feed
    maintenance: Maintenance
    operations: OperationWorker
    rollups: RollupWriter
    readiness: Readiness
    public: PublicApp
    private: ASGIApp

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Start, and stop at the end. Raises as `start`."""
        await self.start()
        try:
            yield
        finally:
            await self.stop()

    async def start(self) -> None:
        """Open the store, migrate it, start all parts of the role.

        Raises:
            StoreUnavailable: the store cannot be opened.
            SchemaTooNew: a newer release wrote the store, and this one cannot use it.
        """
        self.public.close(STARTING)
        before, after = await asyncio.to_thread(migrate, self.database)
        if before != after:
            log.info("store.migrated", before=before, after=after)
        elif after != HEAD:
            log.info("store.newer_schema", schema=after, own_schema=HEAD, hint=NEWER_SCHEMA)
        for risk in await asyncio.to_thread(self.database.durability_risks):
            log.warning("store.not_durable", detail=risk)
        self.database.start()
        await self.clock_watch.start()
        if self.role.works:  # before anything can be claimed
            self.handlers.start()
            self.watchdog.start()
            await self.shared_audio.announce()
        await self.membership.join()
        await self._declare_metadata_keys()
        self.rollups.start()
        if self.role.works:
            await self._start_work()
        self.readiness.state = READY
        if self.role.receives:
            self.public.open(asyncio.get_running_loop())
        log.info(
            "receiver.started",
            role=self.role,
            sources=sorted(self.settings.sources),
            handlers=sorted(self.registry.active),
        )

    async def _start_work(self) -> None:
        await self.shared_audio.check()
        self.dispatcher.start()
        for loop in self.loops.values():
            loop.start()
        self.maintenance.start()
        self.operations.start()
        self.pause.wake()
        await self._warn_about_inactive_handlers()

    async def _declare_metadata_keys(self) -> None:
        try:
            missing = await self.membership.declare_keys()
        except StoreUnavailable as error:  # lists by a new key are refused until the next start
            log.error("search.keys_not_recorded", detail=str(error))
            return
        if missing:
            log.warning(
                "search.not_indexed", keys=missing, hint="`tts-receiver db index-metadata` indexes what is stored"
            )

    async def _warn_about_inactive_handlers(self) -> None:
        try:
            found = await self.database.read_list(views.orphaned, list(self.registry.active))
        except ListingTimeout as error:
            log.warning("handler.check_timeout", detail=str(error))
            return
        for name, count in found.items():
            log.warning("handler.not_active", handler=name, pending=count, hint="its runs wait until it is configured")

    def drain(self) -> None:
        """Report "not ready" from now on, so that a load balancer sends no more requests."""
        self.readiness.state = STOPPING
        self.feed.close()

    async def stop(self) -> None:
        """Let handlers finish within the grace period, release the other runs, close the store."""
        await self.finish()
        await self.close()

    async def finish(self) -> None:
        """Let handlers and streams end within the grace period, release the runs. Deliveries are stored until then."""
        self.drain()
        streams = asyncio.create_task(self.streams.stop(self.settings.dispatch.grace_seconds))
        await self.operations.stop()
        await self.maintenance.stop()
        await self.clock_watch.stop()
        await asyncio.gather(*(loop.stop() for loop in self.loops.values()))
        await self.voices.aclose()
        if self.role.works:
            await self.dispatcher.stop()
            self.watchdog.stop()
            await asyncio.to_thread(self._stop_handlers)
        else:
            self.handlers.stop(STOP_SECONDS)  # it closes the loop, which has no thread
        await streams

    def end_grace_period(self) -> None:
        """End the grace period of handlers and streams now."""
        self.dispatcher.end_grace_period()
        self.streams.end_grace_period()

    async def close(self) -> None:
        """Close the store."""
        self.public.close(STOPPED)
        await self.rollups.stop()
        if await self.membership.leave():
            await self.shared_audio.withdraw()
        await asyncio.to_thread(self.database.close)
        log.info("receiver.stopped")

    def _stop_handlers(self) -> None:
        async def close() -> None:
            await self.fetcher.aclose()
            await self.clients.aclose()

        closing = self.handlers.submit(close())
        try:
            closing.result(STOP_SECONDS)
            stopped = self.handlers.stop(STOP_SECONDS)
        except TimeoutError:
            stopped = False
        if not stopped:
            log.warning("handlers.still_blocked", hint="a handler blocks the loop; the process ends without it")
