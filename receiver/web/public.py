"""The public side's application: deliveries before everything else (docs/adr/0011), and plain words for the rest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from receiver.web.intake import Intake
from receiver.web.root_path import path_within


class PublicApp(Starlette):
    """The public side: deliveries go straight to their intake, everything else through Starlette's routes."""

    def __init__(self, intakes: Mapping[str, Intake], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.router.redirect_slashes = False  # a provider follows no redirect: another path is another path
        self._intakes = intakes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http" and scope["method"] == "POST":
            intake = self._intakes.get(path_within(scope))
            if intake is not None:
                await intake(scope, receive, send)
                return
        await super().__call__(scope, receive, send)


async def plain_error(request: Request, error: Exception) -> Response:
    """Answer with the status and a word, and nothing about what is inside."""
    status, headers = (error.status_code, error.headers) if isinstance(error, HTTPException) else (500, None)
    words = {404: "not_found", 405: "method_not_allowed"}
    return JSONResponse({"error": words.get(status, "error")}, status, headers)
