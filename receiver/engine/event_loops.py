"""The event loops of the process: the fastest that is installed, and a variant for handlers."""

from __future__ import annotations

import asyncio
import socket
from typing import Any


def new_loop() -> asyncio.AbstractEventLoop:
    """The fastest event loop that is installed."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def new_handlers_loop() -> asyncio.AbstractEventLoop:
    """The same for handlers, but it resolves names in its executor's threads, as asyncio's own loop does.

    uvloop resolves names in four threads for the whole process: four unanswered queries of one handler would delay
    every other handler and every download.
    """
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()

    class Loop(uvloop.Loop):
        async def getaddrinfo(
            self, host: Any, port: Any, *, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
        ) -> list[Any]:
            return await self.run_in_executor(None, socket.getaddrinfo, host, port, family, type, proto, flags)

    return Loop()
