"""A TCP proxy in front of a server, which breaks and stalls connections."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from tests.patience import PATIENCE

T = TypeVar("T")

CHUNK = 1 << 16
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with no time: closing sends RST."""


class Proxy:
    """Listens on loopback and passes each connection on to the server's Unix socket. Its loop has its own thread."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self._links: list[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy")
        self._thread.start()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._server = self._run(self._listen())
        self.port = int(self._server.sockets[0].getsockname()[1])

    def cut(self, rng: random.Random, share: float) -> int:
        """Break this share of the connections, chosen at random, at whatever they are doing; how many."""

        async def cut() -> int:
            chosen = [link for link in self._links if rng.random() < share]
            for link in chosen:
                _reset(*link)
            return len(chosen)

        return self._run(cut())

    def stall(self) -> None:
        """Pass nothing on, and keep the connections, until `resume`."""
        self._loop.call_soon_threadsafe(self._flowing.clear)

    def resume(self) -> None:
        """Pass on again."""
        self._loop.call_soon_threadsafe(self._flowing.set)

    def close(self) -> None:
        """Break all connections and stop listening."""
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._accept, "127.0.0.1", 0, backlog=256)

    async def _end(self) -> None:
        self._server.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            up_reader, up_writer = await asyncio.open_unix_connection(str(self._target))
        except OSError:  # the server is down
            _reset(writer)
            return
        link = (writer, up_writer)
        self._links.append(link)
        try:
            await asyncio.gather(self._pump(reader, up_writer), self._pump(up_reader, writer))
        except (OSError, asyncio.CancelledError):
            pass  # broken at one end: the other end is broken, too
        finally:
            self._links.remove(link)
            _reset(*link)

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while data := await source.read(CHUNK):
            await self._flowing.wait()
            target.write(data)
            await target.drain()
        raise ConnectionResetError

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(PATIENCE)


def _reset(*writers: asyncio.StreamWriter) -> None:
    for writer in writers:
        raw = writer.get_extra_info("socket")
        if raw is not None and raw.family != socket.AF_UNIX and raw.fileno() >= 0:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        writer.transport.abort()
