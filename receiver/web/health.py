"""Liveness, readiness and metrics over HTTP."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from receiver.engine.readiness import Report
from receiver.errors import ListingTimeout, StoreUnavailable
from receiver.metrics import CONTENT_TYPE, Metrics


def health_routes(check: Callable[[], Awaitable[Report]]) -> list[Route]:
    """`/livez` answers as long as the event loop runs; `/readyz` answers 503 with what is not ready."""

    async def livez(request: Request) -> Response:
        return JSONResponse({"alive": True})

    async def readyz(request: Request) -> Response:
        report = await check()
        body: dict[str, Any] = {"ready": not report.missing, "missing": report.missing}
        if report.paused:
            body["paused"] = report.paused
        return JSONResponse(body, 503 if report.missing else 200)

    return [Route("/livez", livez), Route("/readyz", readyz)]


def metrics_route(metrics: Metrics, refresh: Callable[[], Awaitable[None]]) -> Route:
    """`/metrics`; `refresh` reads the gauges from the store.

    If they cannot be read they are left out, and Prometheus records no samples of them, instead of old values.
    """

    async def show(request: Request) -> Response:
        try:
            await refresh()
        except (ListingTimeout, StoreUnavailable):
            metrics.store_read.set(0)
            text = metrics.render_own()
        else:
            metrics.store_read.set(1)
            text = metrics.render()
        return Response(text, media_type=None, headers={"content-type": CONTENT_TYPE})

    return Route("/metrics", show)
