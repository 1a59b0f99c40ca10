"""The console as an ASGI application beside the API; everything else of it is imported at the first request."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from receiver.web.api.context import ApiContext
from receiver.web.console.paths import PATH
from receiver.web.root_path import path_within


def with_console(app: ASGIApp, context: ApiContext) -> ASGIApp:
    """The application, with the console at `/console`; unchanged if `console.enabled` is false.

    The console decides by itself who may use it: a browser sends no API token.
    """
    if not context.settings.console.enabled:
        return app
    console = LazyConsole(context)

    async def routed(scope: Scope, receive: Receive, send: Send) -> None:
        wanted = scope["type"] == "http" and (path_within(scope) + "/").startswith(f"{PATH}/")
        await (console if wanted else app)(scope, receive, send)

    return routed


class LazyConsole:
    """The console, made at the first request: its libraries take some megabytes."""

    def __init__(self, context: ApiContext) -> None:
        self._context = context
        self._app: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if self._app is None:
            from receiver.web.console.site import console

            self._app = console(self._context)
        await self._app(scope, receive, send)
