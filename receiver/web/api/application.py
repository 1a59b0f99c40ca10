"""The private API as an ASGI application; its models are imported and built at the first request.

They take some megabytes, which a receiver without API requests does not need.
"""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from receiver.web.api.context import ApiContext
from receiver.web.api.problems import on_http_error


class LazyApi:
    """Everything of the private listener except health and metrics; also unknown paths."""

    def __init__(self, context: ApiContext) -> None:
        self._context = context
        self._app: ASGIApp | None = None
        self._building: asyncio.Future[ASGIApp] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if self._app is None:
            self._app = await self._build()
        await self._app(scope, receive, send)

    async def _build(self) -> ASGIApp:
        """In a thread of its own: it takes a quarter of a second, for which deliveries would wait."""
        if self._building is None:
            thread = ThreadPoolExecutor(1, thread_name_prefix="api")
            self._building = asyncio.get_running_loop().run_in_executor(thread, api, self._context)
            thread.shutdown(wait=False)
        building = self._building
        try:
            return await asyncio.shield(building)
        finally:
            if building.done():
                self._building = None


def api(context: ApiContext) -> Starlette:
    """The API: its operations, its OpenAPI document, its documentation page."""
    from receiver.web.api.binding import routes
    from receiver.web.api.openapi import document
    from receiver.web.api.page import POLICY, page
    from receiver.web.api.routes import ROUTES

    settings = context.settings
    described = document(ROUTES, tokens=settings.has_credentials, root_path=settings.server.root_path)
    text = json.dumps(described, ensure_ascii=False)
    shown = page(described)
    safe = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache"}
    framed = {**safe, "Content-Security-Policy": POLICY, "Referrer-Policy": "no-referrer"}

    async def openapi(request: Request) -> Response:
        return Response(text, headers=safe, media_type="application/json")

    async def docs(request: Request) -> Response:
        return Response(shown, headers=framed, media_type="text/html")

    app = Starlette(
        routes=[Route("/openapi.json", openapi), Route("/docs", docs), *routes(ROUTES, context)],
        exception_handlers={HTTPException: on_http_error},
    )
    app.router.redirect_slashes = False
    return app
