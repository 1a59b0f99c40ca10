"""The path prefix under which a proxy serves a listener, whether it keeps the prefix or strips it."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send


def under(root_path: str, app: ASGIApp) -> ASGIApp:
    """The application under the prefix; unchanged without a prefix.

    The server's own `root_path` option would prepend the prefix to every path, and repeat it behind a proxy that keeps
    it.
    """
    if not root_path:
        return app

    async def prefixed(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope["root_path"] = root_path
        await app(scope, receive, send)

    return prefixed


def path_within(scope: Scope) -> str:
    """The request's path without the prefix, as Starlette's routes see it."""
    path: str = scope["path"]
    prefix: str = scope.get("root_path", "")
    if prefix and (path == prefix or path.startswith(f"{prefix}/")):
        return path[len(prefix) :]
    return path
