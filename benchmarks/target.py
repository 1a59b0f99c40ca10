"""The application that events are forwarded to, for the forwarding benchmark.

A process of its own, fast enough not to be the bottleneck: it reads each request whole and responds 204. It is started
by `processes.held_server`, and has no options.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

import uvloop

from benchmarks.held import HeldConnection, Traffic, obey_standard_input

RESPONSE = b"HTTP/1.1 204 No Content\r\n\r\n"


class _Target(HeldConnection):
    """Accepts each message, and keeps its id."""

    def __init__(self, traffic: Traffic, ids: set[bytes]) -> None:
        super().__init__(traffic)
        self._ids = ids

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, end, body = self._buffer.partition(b"\r\n\r\n")
        if not end:
            return
        lines = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        if len(body) == int(lines[b"content-length"]):
            self._ids.add(lines[b"webhook-id"])
            self.send(RESPONSE)


async def main() -> None:
    sys.stdin.readline()
    traffic, ids = Traffic(), set[bytes]()
    server = await asyncio.get_running_loop().create_server(lambda: _Target(traffic, ids), "127.0.0.1", 0)
    await obey_standard_input(traffic, server.sockets[0].getsockname()[1])
    print(json.dumps({"connections": traffic.connections, "messages": len(ids), "cpu": time.process_time()}))


if __name__ == "__main__":
    uvloop.run(main())
