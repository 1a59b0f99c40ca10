"""The MCP server over streamable HTTP, with the tokens of the receiver's API.

Who may use it is decided as by the private listener, for each request: with tokens, who has one; without, programs on
this machine, and no page in a browser and no proxy. There are no sessions: a request is as good as its token.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from socket import socket
from typing import Any, Self
from urllib.parse import urlsplit

from mcp.server import Server, ServerRequestContext
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from receiver.cli.mcp.receiver_api import ApiError, ReceiverApi, ToolError
from receiver.metrics import Metrics
from receiver.web.api.authentication import REALM, require_direct, require_local
from receiver.web.api.problems import ProblemError, unavailable
from receiver.web.http.connections import ConnectionTable
from receiver.web.http.limits import Limits
from receiver.web.http.server import listener_server

PATH = "/mcp"
MAX_BODY_BYTES = 1024 * 1024
"""Of a request: a long text and its metadata."""
LIMITS = Limits(connections=256, head_seconds=10.0, idle_seconds=120.0)


def token_of(context: ServerRequestContext[Any, Any]) -> str | None:
    """The API token of a request that was let in."""
    request: Any = context.request
    token: str | None = request.scope["api_token"]
    return token


class McpListener:
    """The server on one socket: `async with McpListener(…):`.

    Args:
        loopback: whether only this machine reaches the socket.
    """

    def __init__(self, server: Server[Any], api: ReceiverApi, listener: socket, *, loopback: bool) -> None:
        self._api = api
        self._loopback = loopback
        self._socket = listener
        self._manager = StreamableHTTPSessionManager(server, stateless=True, max_request_body_size=MAX_BODY_BYTES)
        self._http = listener_server(self, ConnectionTable("mcp", LIMITS, Metrics()))
        self._stack = AsyncExitStack()
        self._serving: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self._manager.run())
        self._serving = asyncio.create_task(self._http.serve(sockets=[self._socket]))
        await self._http.listening.wait()
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Stop; calls that still wait are cut off, and their jobs go on."""
        self._http.force_exit = self._http.should_exit = True
        await self._stack.aclose()
        if self._serving is not None:
            await self._serving

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            _require_path(scope)
            scope["api_token"] = await self._authenticate(scope)
        except ProblemError as refusal:
            await refusal.response()(scope, receive, send)
            return
        await self._manager.asgi_app(scope, receive, send)

    async def _authenticate(self, scope: Scope) -> str | None:
        """The API token of a request; None if the receiver has no tokens.

        Raises:
            ProblemError: 401 or 403; 503 if the receiver cannot be asked.
        """
        headers = Headers(scope=scope)
        _require_same_origin(headers)
        try:
            if await self._api.requires_token():
                token = _bearer(headers)
                await self._api.get(token, "/v1/sources")
                return token
        except ApiError as error:
            if error.status in (401, 403):
                challenge = {"WWW-Authenticate": f'{REALM}, error="invalid_token"'} if error.status == 401 else {}
                raise ProblemError(error.status, str(error), reason=error.slug, headers=challenge) from None
            raise ProblemError(502, str(error), reason=error.reason) from None
        except ToolError as error:
            raise unavailable(str(error), reason=error.reason) from None
        if not self._loopback:
            raise ProblemError(
                403, "The receiver has no tokens, so only its own machine may use it.", reason="tokens_required"
            )
        require_direct(scope)
        require_local(scope)
        return None


def _require_path(scope: Scope) -> None:
    if scope["path"] != PATH:
        raise ProblemError(404, f"The MCP server is at {PATH}.", reason="no_such_path")
    if scope["method"] != "POST":
        what = "There are no sessions: this path supports POST."
        raise ProblemError(405, what, reason="method_not_allowed", headers={"Allow": "POST"})


def _require_same_origin(headers: Headers) -> None:
    """Refuse what a page of another origin sends; a program sends no `Origin`."""
    hosts, origins = headers.getlist("host"), headers.getlist("origin")
    if origins and (len(origins) > 1 or len(hosts) != 1 or urlsplit(origins[0]).netloc.lower() != hosts[0].lower()):
        raise ProblemError(403, "A page of another origin may not use this listener.", reason="foreign_origin")


def _bearer(headers: Headers) -> str:
    given = headers.getlist("authorization")
    scheme, _, token = given[0].partition(" ") if given else ("", "", "")
    token = token.strip()
    if len(given) != 1 or scheme.lower() != "bearer" or not token or any(not "!" <= char <= "~" for char in token):
        raise ProblemError(
            401,
            "The receiver requires a token of [api] tokens: Authorization: Bearer …",
            reason="no_token",
            headers={"WWW-Authenticate": REALM},
        )
    return token
