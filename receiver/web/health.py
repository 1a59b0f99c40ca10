"""Is it alive, is it ready, and what do the metrics say."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from receiver.metrics import CONTENT_TYPE, Metrics

Checks = Callable[[], Awaitable[dict[str, str]]]
"""Names what is not ready, with a sentence each; empty when all is."""


def health_routes(checks: Checks) -> list[Route]:
    """`/livez` answers as long as the loop turns; `/readyz` says what is not ready, with 503."""

    async def livez(request: Request) -> Response:
        return JSONResponse({"alive": True})

    async def readyz(request: Request) -> Response:
        missing = await checks()
        return JSONResponse({"ready": not missing, "missing": missing}, 503 if missing else 200)

    return [Route("/livez", livez), Route("/readyz", readyz)]


def metrics_route(metrics: Metrics, refresh: Callable[[], Awaitable[None]]) -> Route:
    """`/metrics`; `refresh` sets the gauges that come from the store."""

    async def show(request: Request) -> Response:
        await refresh()
        return Response(metrics.render(), media_type=None, headers={"content-type": CONTENT_TYPE})

    return Route("/metrics", show)
