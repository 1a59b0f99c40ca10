"""Is it alive, is it ready, and what do the metrics say."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from receiver.engine.readiness import Report
from receiver.errors import ListingTimeout
from receiver.metrics import CONTENT_TYPE, Metrics
from receiver.web.api.problems import unavailable

NOT_COUNTED = (
    "The store was not counted within its time limit, so no metric is shown; the counters are kept. Try again."
)


def health_routes(check: Callable[[], Awaitable[Report]]) -> list[Route]:
    """`/livez` answers as long as the loop turns; `/readyz` says what is not ready, with 503."""

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
    """`/metrics`; `refresh` sets the gauges that come from the store.

    If they cannot be read it answers 503: Prometheus then has `up == 0` and no samples, never old ones that look new.
    """

    async def show(request: Request) -> Response:
        try:
            await refresh()
        except ListingTimeout as error:
            return unavailable(NOT_COUNTED, reason=error.reason).response()
        return Response(metrics.render(), media_type=None, headers={"content-type": CONTENT_TYPE})

    return Route("/metrics", show)
