"""uvicorn's server with our connections: it accepts, and ends in order."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from functools import partial
from typing import Any, cast

import uvicorn
from starlette.types import ASGIApp

from receiver.web.http.connection import HttpConnection
from receiver.web.http.connections import ConnectionTable

SHUTDOWN_SECONDS = 10
"""How long current requests may still take after a listener has closed."""


class ListenerServer(uvicorn.Server):
    """A uvicorn server that leaves signals to its caller, which stops two servers and waits for handlers."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Touch no signal."""
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
        )
    )
