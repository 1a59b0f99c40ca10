"""Runs an ASGI application with uvicorn inside the event loop that is already there.

No signal handlers, no changes to anyone's logging, no waiting for a tick to start or stop: tests
start hundreds of these.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Any, Self, cast

from starlette.types import ASGIApp
from uvicorn import Config, Server
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from receiver.clock import SystemClock

from .replies import CLOSE

BACKLOG = 2048
TICK_SECONDS = 0.5


class _Protocol(HttpToolsProtocol):
    """Tells the application how to close the connection, and writes no access log."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.access_log = False

    def on_message_begin(self) -> None:
        """Called by the parser when a request begins."""
        super().on_message_begin()
        scope = cast("dict[str, Any]", self.scope)
        scope["extensions"] = {CLOSE: self.transport.close}


class LoopServer(Server):
    """A server for one loopback socket: `async with LoopServer(app, host, port) as server`."""

    def __init__(self, app: ASGIApp, host: str, port: int) -> None:
        config = Config(app, http=_Protocol, ws="none", lifespan="off", log_config=None, log_level=None)
        super().__init__(config)
        self._socket = _bound_socket(host, port)
        bound_host, bound_port = self._socket.getsockname()[:2]
        self.url = f"http://{bound_host}:{bound_port}"
        self._up = asyncio.Event()
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Start, and return once it accepts connections."""
        self._task = asyncio.create_task(self.serve(sockets=[self._socket]))
        await self._up.wait()
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Stop; answers that are still being sent are cut."""
        self._stop.set()
        if self._task is not None:
            await self._task

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the process's signal handlers alone."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and say so."""
        await super().startup(sockets)
        self._up.set()

    async def main_loop(self) -> None:
        """Keep the `Date` header right until it is time to stop."""
        clock = SystemClock()  # uvicorn's `Date` goes by it, too
        while not self._stop.is_set():
            await self.on_tick(0)
            await clock.wait(self._stop, TICK_SECONDS)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the listener, then every connection, then wait for what was running."""
        for server in self.servers:
            server.close()
        for sock in sockets or []:
            sock.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        running = list(self.server_state.tasks)
        if running:
            _, late = await asyncio.wait(running, timeout=1.0)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)


def _bound_socket(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns Nagle's delay off only where the protocol is named
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock
