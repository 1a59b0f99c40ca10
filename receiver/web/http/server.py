"""uvicorn's server with our connections: how it starts and stops."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Generator
from functools import partial
from typing import Any, cast

import uvicorn
from starlette.types import ASGIApp

from receiver.web.http.connection import HttpConnection
from receiver.web.http.connections import ConnectionTable
from receiver.web.http.limits import LINGER_SECONDS

SHUTDOWN_SECONDS = 10
"""How long current requests may still take after a listener has closed."""
POLL_SECONDS = 0.01
"""How often connections are checked while a listener stops."""


class ListenerServer(uvicorn.Server):
    """A uvicorn server that leaves signals to its caller, which stops two servers and waits for handlers.

    To stop it without losing requests of clients that keep connections open (docs/adr/0048): `drain`, then
    `should_exit`.

    Attributes:
        listening: set once connections are accepted.
    """

    def __init__(self, config: uvicorn.Config, table: ConnectionTable) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()
        self._table = table

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept connections."""
        await super().startup(sockets)
        self.listening.set()

    def drain(self) -> None:
        """Announce the end of each connection in its next answer; accept new ones as before."""
        self._table.drain(asyncio.get_running_loop().time())

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop accepting, answer what was sent, close the rest.

        The sockets are closed and not shut down: if another process has them open, such as systemd, connections wait
        there for the next process.
        """
        await self._wait_while(lambda: bool(self._table.idle), self._table.linger_until)
        for server in self.servers:
            server.close()
        for listener in sockets or ():
            listener.close()
        until = asyncio.get_running_loop().time() + LINGER_SECONDS
        await self._wait_while(self._await_first_requests, until)
        await super().shutdown()

    def _await_first_requests(self) -> bool:
        self._table.close_idle()
        return self._table.awaits_requests

    async def _wait_while(self, condition: Callable[[], bool], until: float) -> None:
        """Wait while the condition holds, until a time of the loop or until the second signal."""
        loop = asyncio.get_running_loop()
        while loop.time() < until and not self.force_exit:
            await asyncio.sleep(POLL_SECONDS)  # first: a connection that was just accepted is not in the table yet
            if not condition():
                return

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Install no signal handlers."""
        yield


def listener_server(app: ASGIApp, table: ConnectionTable) -> ListenerServer:
    """A server for one listener; run it with `serve(sockets=[…])`, end it with `should_exit`."""
    return ListenerServer(
        uvicorn.Config(
            cast("Any", app),
            http=cast("Any", partial(HttpConnection, table=table)),
            ws="none",
            lifespan="off",
            access_log=False,
            proxy_headers=False,  # the application derives the client's address
            log_config=None,
            server_header=False,
            timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        ),
        table,
    )
