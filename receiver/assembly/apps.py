"""The two ASGI applications: the public one, which accepts deliveries, and the private one with API and metrics."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import Route
from starlette.types import ASGIApp

from receiver.assembly.engine import EngineParts
from receiver.engine.gauges import StoreGauges
from receiver.engine.jobs.service import JobService
from receiver.engine.jobs.streaming import StreamService
from receiver.engine.operations import OperationService
from receiver.engine.readiness import READY, Readiness
from receiver.engine.voices import VoiceService
from receiver.errors import StoreUnavailable
from receiver.providers.protocols import WebhookProvider
from receiver.settings import Settings
from receiver.store import inbox
from receiver.web.api.application import LazyApi
from receiver.web.api.authentication import Authenticator
from receiver.web.api.context import ApiContext
from receiver.web.api.feed import Feed
from receiver.web.api.problems import on_fault, on_http_error, on_store_error
from receiver.web.body import BodyLimits
from receiver.web.client_address import ClientAddress
from receiver.web.console.application import with_console
from receiver.web.health import health_routes, metrics_route
from receiver.web.intake import Intake, IntakeContext, IntakeSource
from receiver.web.public import DeliveryWriter, PublicApp, plain_error


def public_app(
    parts: EngineParts,
    readiness: Readiness,
    wake: Callable[[], None],
    announce: Callable[[], None],
    lifespan: Callable[[Starlette], AbstractAsyncContextManager[None]],
) -> PublicApp:
    """Build the application that accepts deliveries; `wake` and `announce` as for `IntakeContext`."""
    settings, database = parts.settings, parts.database
    writer = DeliveryWriter(database, inbox.bounded(settings.store.max_quarantined))
    context = IntakeContext(
        accept=writer.write,
        handlers_for=parts.registry.names_for,
        wake=wake,
        announce=announce,
        waiting=lambda: database.waiting,
        max_waiting=settings.server.max_waiting,
        body_limits=_bodies(settings),
        telemetry=parts.telemetry,
        client=ClientAddress(settings.server.trusted_proxies),
        trust=parts.trust,
        clock=parts.clock,
        rng=parts.rng,
        metadata_keys=settings.search.metadata,
    )
    intakes = {settings.webhook_path(source.name): Intake(source, context) for source in _intake_sources(settings)}
    return PublicApp(
        intakes,
        writer,
        routes=[
            *(Route(path, intake, methods=["POST"]) for path, intake in intakes.items()),
            *health_routes(readiness.report),
        ],
        lifespan=lifespan,
        exception_handlers={HTTPException: plain_error},
    )


def _intake_sources(settings: Settings) -> list[IntakeSource]:
    """The sources that receive webhooks. The path of any other source is 404, signed or not."""
    return [
        IntakeSource(
            name,
            provider,
            source.scheme,
            source.signing_keys(),
            source.tolerance_seconds,
            source.stale == "reject",
        )
        for name, source in settings.sources.items()
        if source.scheme is not None and source.receives_webhooks
        if isinstance(provider := source.provider, WebhookProvider)
    ]


def private_app(
    parts: EngineParts,
    readiness: Readiness,
    feed: Feed,
    wake: Callable[[], None],
    jobs: JobService,
    streams: StreamService,
    voices: VoiceService,
    operations: OperationService,
) -> ASGIApp:
    """Build the authenticated API, the console, `/metrics` and health; `wake` is called after runs were made due."""
    settings = parts.settings
    gauges = StoreGauges(parts.database, parts.metrics, list(jobs.sources), parts.clock)
    app = Starlette(
        routes=[metrics_route(parts.metrics, gauges.refresh), *health_routes(readiness.report)],
        exception_handlers={HTTPException: on_http_error, StoreUnavailable: on_store_error, Exception: on_fault},
    )
    app.router.redirect_slashes = False
    client = ClientAddress(settings.server.trusted_proxies)
    context = ApiContext(
        database=parts.database,
        settings=settings,
        registry=parts.registry,
        storage=parts.storage,
        redact=parts.redact,
        feed=feed,
        operations=operations,
        body_limits=_bodies(settings),
        clock=parts.clock,
        rng=parts.rng,
        polled=jobs.sources,
        running=lambda: readiness.state == READY,
        wake=wake,
        submit=jobs.submit,
        submit_stream=streams.submit,
        open_stream=streams.open,
        wait_until_submitted=jobs.wait_until_submitted,
        watch=jobs.watch,
        cancel=jobs.cancel,
        voices=voices.voices,
        client=client,
        logins=lambda outcome: parts.metrics.console_logins.labels(outcome).inc(),
    )
    app.router.default = LazyApi(context)
    guarded = Authenticator(app, settings.api.tokens, client, required=settings.has_credentials)
    return with_console(guarded, context)


def _bodies(settings: Settings) -> BodyLimits:
    return BodyLimits(settings.server.body_seconds, settings.server.max_body_bytes)
