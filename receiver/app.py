"""The one place where settings become objects.

`Receiver` owns everything that runs; `create_app` gives its public side as an ASGI application with a lifespan, to be
served or mounted.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import Route
from starlette.types import ASGIApp

from receiver.assembly import (
    audio_desk,
    audio_fetcher,
    execution,
    job_sources,
    longest_waits,
    max_concurrent_downloads,
    membership,
    new_handlers_loop,
    source_loop,
    why_not_askable,
)
from receiver.engine.clients import HandlerClients
from receiver.engine.clock import SteadyClock
from receiver.engine.clock_trust import ClockTrust
from receiver.engine.clock_watch import ClockWatch
from receiver.engine.dispatcher import Bounds, Dispatcher
from receiver.engine.gauges import StoreGauges
from receiver.engine.jobs.desk import JobDesk
from receiver.engine.maintenance import Maintenance
from receiver.engine.outcome import Outcome
from receiver.engine.plugins import Registry, load_registry
from receiver.engine.readiness import Readiness
from receiver.engine.runner import HandlerLoop
from receiver.engine.storage_pause import StoragePause
from receiver.engine.voices import VoiceDesk
from receiver.engine.watch import Watch
from receiver.errors import ListingTimeout, StoreUnavailable
from receiver.metrics import Metrics
from receiver.model.delivery import Delivery
from receiver.model.redact import Redactor
from receiver.places import open_audio, open_database
from receiver.settings import Settings
from receiver.store import jobs, quarantine, views
from receiver.store.claims import Claim
from receiver.store.inbox import Receipt
from receiver.store.migrate import migrate
from receiver.store.processes import new_owner
from receiver.web.api.application import LazyApi
from receiver.web.api.context import ApiContext
from receiver.web.api.feed import Feed
from receiver.web.api.guard import Guard
from receiver.web.api.problems import on_fault, on_http_error, on_store_error
from receiver.web.body import Bodies
from receiver.web.client_address import ClientAddress
from receiver.web.health import health_routes, metrics_route
from receiver.web.intake import Intake, IntakeContext, IntakeSource
from receiver.web.public import STARTING, STOPPED, PublicApp, plain_error

log = structlog.get_logger("receiver")

STOP_SECONDS = 5.0
"""How long a blocked handler loop is waited for at the end."""


class Receiver:
    """Everything that runs, made from settings. Starts nothing until `start`.

    Raises:
        ConfigError: a handler does not load, or an address in the settings cannot be used.
    """

    def __init__(self, settings: Settings, registry: Registry | None = None, clock: SteadyClock | None = None) -> None:
        self.settings = settings
        self.registry = registry or load_registry(settings)
        self.metrics = Metrics()
        self.clock = clock or SteadyClock()
        self.trust = ClockTrust(self.clock)
        self.database = open_database(settings)
        self.storage = open_audio(settings)
        self.redact = Redactor(settings.secrets())
        self.handlers = HandlerLoop(new_handlers_loop, self.metrics.abandoned.inc)
        self.fetcher = audio_fetcher(settings, self.storage)
        downloads = max_concurrent_downloads(settings, self.registry.active)
        self.pause = StoragePause(self.database, self.fetcher.writable, self.metrics, self.handlers.loop, self.clock)
        desk = self.database, self.fetcher, self.storage, self.metrics, downloads, self.pause
        self.audio = audio_desk(settings, *desk)
        self._http = HandlerClients()
        self.owner = new_owner()
        limits = settings.dispatch
        self.watch = Watch(self.handlers, self.metrics, lambda: self.dispatcher.busy)
        self.dispatcher = Dispatcher(
            self.database,
            self.registry,
            self._execute,
            self.handlers.loop,
            owner=self.owner,
            bounds=Bounds(limits.concurrency, limits.lease_seconds, limits.grace_seconds),
            metrics=self.metrics,
            redact=self.redact,
            clock=self.clock,
            watch=self.watch,
            waits=self.pause.look,
        )
        askable = job_sources(settings)
        self.jobs = JobDesk(
            self.database, askable, self._look, lambda name: why_not_askable(settings, name), clock=self.clock
        )
        self.loops = {
            name: source_loop(
                settings,
                self.database,
                source,
                owner=self.owner,
                handlers_for=self.registry.names_for,
                wake=self._committed,
                metrics=self.metrics,
                changed=self.jobs.changed,
                clock=self.clock,
                trust=self.trust,
            )
            for name, source in askable.items()
        }
        wakes = [self.dispatcher.leases_ended, *(loop.look for loop in self.loops.values())]
        self.membership = membership(self.database, self.owner, wakes)
        self.voices = VoiceDesk(self.database, settings.sources, clock=self.clock)
        self.feed = Feed(self.database)
        self.maintenance = Maintenance(self.database, settings.store, self.fetcher.sweep, self.clock, self.trust)
        self.clock_watch = ClockWatch(self.database, self.clock, self.trust, longest_waits(settings), self.metrics)
        self._state = "starting"
        self._loop: asyncio.AbstractEventLoop | None = None
        self.readiness = Readiness(
            self.database,
            self.redact,
            state=lambda: self._state,
            max_waiting=settings.server.max_waiting,
            alive={
                "dispatcher": lambda: self.dispatcher.alive,
                "poller": lambda: all(loop.alive for loop in self.loops.values()),
            },
            paused={"audio": lambda: self.pause.cause, "handlers": lambda: self.watch.blocked},
        )
        self.public = self._public()
        self.private = self._private()

    async def start(self) -> None:
        """Open the store, migrate it, begin to dispatch.

        Raises:
            StoreUnavailable: the store cannot be opened.
            SchemaTooNew: a newer release wrote the store.
        """
        self._loop = asyncio.get_running_loop()
        self.public.closed = STARTING
        before, after = await asyncio.to_thread(migrate, self.database)
        if before != after:
            log.info("store.migrated", before=before, after=after)
        self.database.start()
        await self.clock_watch.start()
        self.handlers.start()
        self.watch.start()
        await self.membership.join()
        self.dispatcher.start()
        for loop in self.loops.values():
            loop.start()
        self.maintenance.start()
        self.pause.look()
        await self._name_missing_handlers()
        self._state = "ready"
        self.public.closed = None
        log.info("receiver.started", sources=sorted(self.settings.sources), handlers=sorted(self.registry.active))

    async def _name_missing_handlers(self) -> None:
        try:
            found = await self.database.read_list(views.orphaned, list(self.registry.active))
        except ListingTimeout as error:
            log.warning("handler.not_looked_for", detail=str(error))
            return
        for name, count in found.items():
            log.warning("handler.not_active", handler=name, pending=count, hint="its runs wait until it is configured")

    def drain(self) -> None:
        """Say "not ready" from now on, so that a load balancer sends nothing more."""
        self._state = "stopping"
        self.feed.close()

    async def stop(self) -> None:
        """Let handlers finish within the grace period, give back the rest, close the store."""
        await self.finish()
        await self.close()

    async def finish(self) -> None:
        """Let handlers finish within the grace period, give back the rest. Deliveries are stored until `close`."""
        self.drain()
        await self.maintenance.stop()
        await self.clock_watch.stop()
        await asyncio.gather(*(loop.stop() for loop in self.loops.values()))
        await self.voices.aclose()
        await self.dispatcher.stop()
        self.watch.stop()
        await asyncio.to_thread(self._stop_handlers)

    async def close(self) -> None:
        """Close the store."""
        self.public.closed = STOPPED
        await self.membership.leave()
        await asyncio.to_thread(self.database.close)
        log.info("receiver.stopped")

    def _stop_handlers(self) -> None:
        async def close() -> None:
            await self.fetcher.aclose()
            await self._http.aclose()

        closing = self.handlers.submit(close())
        try:
            closing.result(STOP_SECONDS)
            stopped = self.handlers.stop(STOP_SECONDS)
        except TimeoutError:
            stopped = False
        if not stopped:
            log.warning("handlers.still_blocked", hint="a handler blocks the loop; the process ends without it")

    def _execute(self, claim: Claim) -> Coroutine[Any, Any, Outcome]:
        return execution(self.registry[claim.handler], claim, self.handlers, self._http, self.audio)

    def _committed(self) -> None:
        """An event with runs is in the store."""
        self.dispatcher.wake()
        self.feed.wake()

    def _look(self, source: str) -> None:
        self.loops[source].look()

    def _public(self) -> PublicApp:
        settings = self.settings
        bounded = quarantine.bounded(settings.store.max_quarantined)

        def accept(delivery: Delivery) -> asyncio.Future[Receipt]:
            if self.public.closed is not None:  # since its body was read
                raise StoreUnavailable(self.public.closed)
            stored = self.database.batch(bounded, delivery, self._loop)
            if self.feed.active:
                stored.add_done_callback(self.feed.wake)
            return stored

        context = IntakeContext(
            accept=accept,
            handlers_for=self.registry.names_for,
            wake=self.dispatcher.wake,
            waiting=lambda: self.database.waiting,
            max_waiting=settings.server.max_waiting,
            bodies=self._bodies(),
            metrics=self.metrics,
            client=ClientAddress(settings.server.trusted_proxies),
            trust=self.trust,
            now=self.clock.now,
        )
        intakes: dict[str, Intake] = {}
        for name, source in settings.sources.items():
            scheme = source.scheme
            if scheme is None or not source.receives_webhooks:
                continue  # it has no route: its path is answered 404, signed or not
            keys, reject_stale = source.signing_keys(), source.stale == "reject"
            about = IntakeSource(name, source.spoken, scheme, keys, source.tolerance_seconds, reject_stale)
            intakes[settings.webhook_path(name)] = Intake(about, context)

        @asynccontextmanager
        async def lifespan(app: Starlette) -> AsyncIterator[None]:
            await self.start()
            try:
                yield
            finally:
                await self.stop()

        return PublicApp(
            intakes,
            routes=[
                *(Route(path, intake, methods=["POST"]) for path, intake in intakes.items()),
                *health_routes(self.readiness.report),
            ],
            lifespan=lifespan,
            exception_handlers={HTTPException: plain_error},
        )

    def _bodies(self) -> Bodies:
        return Bodies(self.settings.server.body_seconds, self.settings.server.max_body_bytes)

    def _private(self) -> ASGIApp:
        gauges = StoreGauges(self.database, self.metrics, list(self.loops), self.clock)
        app = Starlette(
            routes=[metrics_route(self.metrics, gauges.refresh), *health_routes(self.readiness.report)],
            exception_handlers={HTTPException: on_http_error, StoreUnavailable: on_store_error, Exception: on_fault},
        )
        app.router.redirect_slashes = False
        app.router.default = LazyApi(self._api())
        tokens = {token.id: token.token.get_secret_value() for token in self.settings.api.tokens}
        return Guard(app, tokens, ClientAddress(self.settings.server.trusted_proxies))

    def _api(self) -> ApiContext:
        async def cancel(id: str) -> jobs.Row | None:
            now = self.clock.now()
            # The row is read where it is written: that the job was cancelled must not be lost to a list that is late.
            row = await self.database.write(
                lambda connection: jobs.get(connection, id) if jobs.cancel(connection, id, now) else None
            )
            self.jobs.changed(id)
            return row

        return ApiContext(
            database=self.database,
            settings=self.settings,
            registry=self.registry,
            storage=self.storage,
            redact=self.redact,
            feed=self.feed,
            bodies=self._bodies(),
            now=self.clock.now,
            running=lambda: self._state == "ready",
            wake=self.dispatcher.wake,
            submit=self.jobs.submit,
            settled=self.jobs.settled,
            watch=self.jobs.watch,
            cancel=cancel,
            voices=self.voices.voices,
        )


def create_app(settings: Settings) -> Starlette:
    """The receiver's public side as an ASGI application; its lifespan starts and stops everything.

    Serve it, or mount it: a mounted application's lifespan is its parent's to run, as in
    `lifespan=lambda parent: mounted.router.lifespan_context(mounted)`.

    Raises:
        ConfigError: with every problem at once.
    """
    return Receiver(settings).public
