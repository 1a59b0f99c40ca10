"""Servers of benchmarks that hold their responses back until the measurement starts: see `processes.held_server`."""

from __future__ import annotations

import asyncio
import sys
import threading
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Traffic:
    """The counts of all listeners, and when they may respond."""

    seconds: float = 0.0
    """The time for a response."""
    go: asyncio.Event = field(default_factory=asyncio.Event)
    connections: int = 0
    requests: int = 0


class HeldConnection(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self, traffic: Traffic) -> None:
        self._traffic = traffic
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._traffic.connections += 1
        self._transport: Any = transport

    def send(self, response: bytes) -> None:
        """Respond to a request, once responses may be sent."""
        self._buffer = b""
        self._traffic.requests += 1
        if not self._traffic.go.is_set():
            asyncio.ensure_future(self._traffic.go.wait()).add_done_callback(lambda _: self._transport.write(response))
        elif self._traffic.seconds:
            asyncio.get_running_loop().call_later(self._traffic.seconds, self._transport.write, response)
        else:
            self._transport.write(response)


async def obey_standard_input(traffic: Traffic, port: int) -> None:
    """Print the port, let responses be sent at the next line of standard input, and return at its end."""
    loop, over = asyncio.get_running_loop(), asyncio.Event()

    def listen() -> None:
        sys.stdin.readline()
        loop.call_soon_threadsafe(traffic.go.set)
        sys.stdin.read()
        loop.call_soon_threadsafe(over.set)

    threading.Thread(target=listen, daemon=True).start()
    print(port, flush=True)
    await over.wait()
