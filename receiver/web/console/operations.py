"""Calls the API's operations for pages: with the same validation, the same roles and the same audit log."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NoReturn
from urllib.parse import urlencode

from starlette.types import ASGIApp, Message

from receiver.model.audit import Via
from receiver.web.api.binding import BoundOperation
from receiver.web.api.context import ApiContext
from receiver.web.api.operations import ApiResponse
from receiver.web.api.routes import ROUTES
from receiver.web.console.access import Viewer

Run = Callable[..., Awaitable[ApiResponse | ASGIApp]]
Query = Sequence[tuple[str, str]]
Parameters = Mapping[str, str]
NONE: Parameters = {}


class Operations:
    """The API's operations, each called by its function."""

    def __init__(self, context: ApiContext) -> None:
        self._bound = {operation.run: BoundOperation(operation, context, Via.CONSOLE) for operation in ROUTES}

    async def read(self, run: Run, viewer: Viewer, query: Query = (), path: Parameters = NONE) -> Any:
        """The body of an operation's response, a model; see `call`."""
        return _of_model(await self.call(run, viewer, query, path)).body

    async def change(
        self,
        run: Run,
        viewer: Viewer,
        body: Mapping[str, Any] | None,
        path: Parameters = NONE,
        headers: Sequence[tuple[bytes, bytes]] = (),
    ) -> Any:
        """As `read`, of an operation that changes something."""
        return _of_model(await self.call(run, viewer, path=path, body=body, headers=headers)).body

    async def call(
        self,
        run: Run,
        viewer: Viewer,
        query: Query = (),
        path: Parameters = NONE,
        body: Mapping[str, Any] | None = None,
        headers: Sequence[tuple[bytes, bytes]] = (),
        method: str | None = None,
    ) -> ApiResponse | ASGIApp:
        """What the operation returns for a request with these parts, sent by the viewer.

        Raises:
            ProblemError: the request is refused.
            ListingTimeout: the read took too long.
            StoreUnavailable: the store is unavailable.
        """
        bound = self._bound[run]
        scope = {
            "type": "http",
            "method": method or bound.operation.method,
            "path_params": dict(path),
            "query_string": urlencode(query).encode(),
            "headers": list(headers),
            "token": viewer.name,
            "role": viewer.role,
        }
        return await bound(scope, _never if body is None else _sending(json.dumps(body, ensure_ascii=False).encode()))


def _of_model(response: ApiResponse | ASGIApp) -> ApiResponse:
    if not isinstance(response, ApiResponse):
        raise TypeError("The operation has no model for its response.")
    return response


async def _never() -> NoReturn:
    """The page's own request is observed for a disconnect, not each of its reads."""
    await asyncio.Event().wait()
    raise AssertionError


def _sending(body: bytes) -> Callable[[], Awaitable[Message]]:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive
