"""Runs an ASGI application with uvicorn in the running event loop.

It sets no signal handlers and no logging, and starts and stops without waiting for a tick: tests start hundreds of
servers.
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

from .responses import CLOSE_EXTENSION

BACKLOG = 2048
TICK_SECONDS = 0.5


class _Protocol(HttpToolsProtocol):
    """Gives the application a function that closes the connection, and writes no access log."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.access_log = False

    def on_message_begin(self) -> None:
        """Add the extension to the scope; the parser calls this when a request begins."""
        super().on_message_begin()
        scope = cast("dict[str, Any]", self.scope)
        scope["extensions"] = {CLOSE_EXTENSION: self.transport.close}


class LoopServer(Server):
    """A server on one socket: `async with LoopServer(app, host, port) as server`."""

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
        """Start, and return as soon as the server accepts connections."""
        self._task = asyncio.create_task(self.serve(sockets=[self._socket]))
        await self._up.wait()
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Stop; responses that are still being sent are cut off."""
        self._stop.set()
        if self._task is not None:
            await self._task

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Do not change the process's signal handlers."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and let `__aenter__` return."""
        await super().startup(sockets)
        self._up.set()

    async def main_loop(self) -> None:
        """Update the `Date` header until the server stops."""
        clock = SystemClock()  # uvicorn's `Date` goes by it, too
        while not self._stop.is_set():
            await self.on_tick(0)
            await clock.wait(self._stop, TICK_SECONDS)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the listener, then every connection, then wait for running requests."""
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
    # asyncio sets TCP_NODELAY only on sockets with an explicit protocol
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock
