"""The public listener's application: deliveries past the router (docs/adr/0011), and short errors for the rest."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import structlog
from sqlalchemy import Connection
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from receiver.errors import NotRunning, StoreStalled
from receiver.model.delivery import Delivery
from receiver.store.database import Database
from receiver.store.inbox import Receipt
from receiver.web.intake import RETRY_AFTER_SECONDS, Intake
from receiver.web.root_path import path_within

log = structlog.get_logger("receiver")

NOT_STARTED = (
    "The receiver was not started: the application that mounts it does not run its lifespan. "
    "See docs/how-to/mount-in-your-app.md."
)
STARTING = "The receiver is starting."
STOPPED = "The receiver has stopped."


MAX_WAIT_SECONDS = 20.0
"""How long a delivery waits for its commit: longer than a lock, or a server that hangs and is connected to again, takes
to be found (15 s). So it is a disk."""
CHECK_SECONDS = 1.0
"""How often that is checked, while deliveries wait."""


class DeliveryWriter:
    """Stores deliveries while the receiver runs.

    Attributes:
        closed: why nothing can be stored, in a sentence; None while the receiver runs.
        loop: the receiver's event loop; None before it runs.

    Args:
        accept: stores a batch of deliveries in a transaction; one receipt each.
    """

    def __init__(self, database: Database, accept: Callable[[Connection, list[Delivery]], Sequence[Receipt]]) -> None:
        self.closed: str | None = NOT_STARTED
        self.loop: asyncio.AbstractEventLoop | None = None
        self._database = database
        self._accept = accept
        self._waiting: deque[tuple[float, asyncio.Future[Receipt]]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def write(
        self, delivery: Delivery, abandoned: Callable[[Receipt | BaseException], None]
    ) -> asyncio.Future[Receipt]:
        """Store a delivery; done after its commit.

        Args:
            abandoned: as for `Database.batch`; also called if the future has failed with `StoreStalled`.

        Raises:
            NotRunning: the receiver does not run.
            StoreUnavailable: from the future: the delivery was not committed.
            StoreStalled: from the future: it is not committed yet.
        """
        if self.closed is not None:  # it was closed while the body was read
            raise NotRunning(self.closed)
        stored = self._database.batch(self._accept, delivery, self.loop, abandoned)
        loop = stored.get_loop()
        self._waiting.append((loop.time(), stored))
        if self._timer is None:
            self._timer = loop.call_later(CHECK_SECONDS, self._refuse_overdue, loop)
        return stored

    def _refuse_overdue(self, loop: asyncio.AbstractEventLoop) -> None:
        """Fail what waits for too long. It stays in the writer's queue: nothing can take it back."""
        self._timer = None
        waiting, overdue = self._waiting, loop.time() - MAX_WAIT_SECONDS
        while waiting and (waiting[0][1].done() or waiting[0][0] <= overdue):
            _, stored = waiting.popleft()
            if not stored.done():
                stored.set_exception(
                    StoreStalled(
                        f"The store {self._database.location} has not committed the delivery within "
                        f"{MAX_WAIT_SECONDS:g} s, and may still do so: its disk or its server is slow, or does not "
                        "respond."
                    )
                )
        if waiting:
            self._timer = loop.call_later(CHECK_SECONDS, self._refuse_overdue, loop)


class PublicApp(Starlette):
    """The public listener: deliveries go straight to their intake, everything else through Starlette's routes.

    While the receiver does not run every request is answered 503: a delivery could not be committed.

    Args:
        writer: stores the deliveries of all intakes.
    """

    def __init__(self, intakes: Mapping[str, Intake], writer: DeliveryWriter, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.router.redirect_slashes = False  # a provider does not follow redirects
        self._closed_logged = False
        self._intakes = intakes
        self._writer = writer

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Accept deliveries from now on, on this loop."""
        self._writer.loop, self._writer.closed = loop, None

    def close(self, why: str) -> None:
        """Refuse every request from now on; `why` is the sentence in the response."""
        self._writer.closed = why

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if self._writer.closed is not None and scope["type"] == "http":
            await self._unavailable(self._writer.closed, scope)(scope, receive, send)
            return
        if scope["type"] == "http" and scope["method"] == "POST":
            intake = self._intakes.get(path_within(scope))
            if intake is not None:
                await intake(scope, receive, send)
                return
        await super().__call__(scope, receive, send)

    def _unavailable(self, why: str, scope: Scope) -> Response:
        path = path_within(scope)
        if scope["method"] == "POST" and (intake := self._intakes.get(path)):
            intake.report_unread(scope, 503, NotRunning(why))
        if not self._closed_logged:
            self._closed_logged = True
            log.error("receiver.not_running", detail=why)
        if path == "/readyz":
            return JSONResponse({"ready": False, "missing": {"receiver": why}}, 503)
        return JSONResponse({"error": "not_running", "detail": why}, 503, {"Retry-After": str(RETRY_AFTER_SECONDS)})


async def plain_error(request: Request, error: Exception) -> Response:
    """Answer with the status and a slug, without details of the implementation."""
    status, headers = (error.status_code, error.headers) if isinstance(error, HTTPException) else (500, None)
    words = {404: "not_found", 405: "method_not_allowed"}
    return JSONResponse({"error": words.get(status, "error")}, status, headers)
