"""A TCP proxy in front of a server, which breaks and stalls connections."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import make_url

from tests.patience import PATIENCE

T = TypeVar("T")

CHUNK = 1 << 16
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with no time: closing sends RST."""


class Proxy:
    """Listens on loopback and passes each connection on to the server's Unix socket. Its loop has its own thread."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self._links: list[_Link] = []
        self._texts: tuple[bytes, ...] = ()
        self._request = b""
        self._dropping = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy")
        self._thread.start()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._server = self._run(self._listen())
        self.port = int(self._server.sockets[0].getsockname()[1])

    def address_of(self, address: str) -> str:
        """The address of a database of the server, through this proxy."""
        through = make_url(address).set(host="127.0.0.1", port=self.port, query={})
        return through.render_as_string(hide_password=False)

    def cut(self, rng: random.Random, share: float) -> int:
        """Break this share of the connections, chosen at random, at whatever they are doing; how many."""

        async def cut() -> int:
            chosen = [link for link in self._links if rng.random() < share]
            for link in chosen:
                link.reset()
            return len(chosen)

        return self._run(cut())

    def lose_commit_after(self, *texts: bytes) -> None:
        """Once: when the server has answered something that contains all texts, the answer to the connection's next
        COMMIT is lost, and the connection breaks. The server has committed, and its client cannot know."""
        self._texts = texts

    def lose_commit_of(self, text: bytes) -> None:
        """Once, as `lose_commit_after`: when a client has sent something that contains this text."""
        self._request = text

    def stall(self) -> None:
        """Pass nothing on, and keep the connections, until `resume`."""
        self._loop.call_soon_threadsafe(self._flowing.clear)

    def drop(self) -> None:
        """Lose what arrives, and the ends of connections, as a network that drops packets does, until `resume`. Then a
        connection of which something was lost breaks: the server has found by its keep-alives that it is dead."""
        self._dropping = True
        self.stall()

    def resume(self) -> None:
        """Pass on again."""
        self._loop.call_soon_threadsafe(self._flowing.set)
        self._dropping = False

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
            _Link(writer).reset()
            return
        link = _Link(writer, up_writer)
        self._links.append(link)
        try:
            await asyncio.gather(
                self._pump(reader, up_writer, link.sees_request), self._pump(up_reader, writer, link.sees_answer)
            )
        except (OSError, asyncio.CancelledError):
            pass  # broken at one end: the other end is broken, too
        finally:
            self._links.remove(link)
            link.reset()

    async def _pump(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, sees: Callable[[bytes, Proxy], None]
    ) -> None:
        while data := await source.read(CHUNK):
            lost = self._dropping
            await self._flowing.wait()
            if lost:
                raise ConnectionResetError
            sees(data, self)
            target.write(data)
            await target.drain()
        raise ConnectionResetError

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(PATIENCE)


class _Link:
    """A connection of a client, with ours to the server."""

    def __init__(self, *writers: asyncio.StreamWriter) -> None:
        self._writers = writers
        self._commits_next = False
        self._loses_answer = False

    def sees_request(self, data: bytes, proxy: Proxy) -> None:
        """Remember that the answer to this is lost."""
        if proxy._request and proxy._request in data:
            self._commits_next, proxy._request = True, b""
        self._loses_answer = self._commits_next and b"COMMIT" in data

    def sees_answer(self, data: bytes, proxy: Proxy) -> None:
        """Lose it, or remember that the answer to the next COMMIT is lost.

        Raises:
            ConnectionResetError: it is lost.
        """
        if self._loses_answer:
            raise ConnectionResetError
        if proxy._texts and all(text in data for text in proxy._texts):
            self._commits_next, proxy._texts = True, ()

    def reset(self) -> None:
        """Break both."""
        for writer in self._writers:
            raw = writer.get_extra_info("socket")
            if raw is not None and raw.family != socket.AF_UNIX and raw.fileno() >= 0:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()
