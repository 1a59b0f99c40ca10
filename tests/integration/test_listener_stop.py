"""A listener stops so that clients which keep their connections, such as proxies, lose no request."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import pytest

from receiver.metrics import Metrics
from receiver.web.http.connections import ConnectionTable
from receiver.web.http.server import ListenerServer, listener_server
from tests.integration.listener_support import GENEROUS, Application, Client
from tests.patience import PATIENCE

pytestmark = pytest.mark.anyio

GET = b"GET /one HTTP/1.1\r\nHost: receiver\r\n\r\n"


@dataclass
class Running:
    """A listener on a socket that outlives it."""

    server: ListenerServer
    application: Application
    passed: socket.socket
    task: asyncio.Task[None]

    async def open(self) -> Client:
        address = self.passed.getsockname()
        return Client(*await asyncio.open_connection(*address))

    async def stop(self) -> None:
        self.server.should_exit = True
        async with asyncio.timeout(PATIENCE):
            await self.task


@pytest.fixture
def passed() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


@asynccontextmanager
async def listening(passed: socket.socket) -> AsyncIterator[Running]:
    """A listener with its own descriptor of the socket, as a process has that was passed one."""
    application = Application()
    server = listener_server(application, ConnectionTable("public", GENEROUS, Metrics()))
    own = passed.dup()
    own.setblocking(False)
    task = asyncio.create_task(server.serve(sockets=[own]))
    await server.listening.wait()
    running = Running(server, application, passed, task)
    try:
        yield running
    finally:
        server.force_exit = True
        await running.stop()


async def closed(client: Client) -> bool:
    async with asyncio.timeout(PATIENCE):
        with suppress(ConnectionError):
            return await client.reader.read() == b""
        return True


async def test_an_idle_connection_still_gets_its_next_request_answered_and_is_told_to_close(
    passed: socket.socket,
) -> None:
    with passed:
        async with listening(passed) as running:
            kept = await running.open()
            await kept.send(GET)
            assert "connection" not in (await kept.answer()).headers
            running.server.drain()
            stopping = asyncio.create_task(running.stop())
            await kept.send(GET)
            answer = await kept.answer()
            assert (answer.status, answer.headers["connection"]) == (200, "close")
            assert await closed(kept)
            await stopping
            kept.close()


async def test_a_request_at_work_is_answered_and_told_to_close(passed: socket.socket) -> None:
    with passed:
        async with listening(passed) as running:
            gate = running.application.gates["/one"] = asyncio.Event()
            client = await running.open()
            await client.send(GET)
            async with asyncio.timeout(PATIENCE):
                while not running.application.seen:
                    await asyncio.sleep(0)
            running.server.drain()
            stopping = asyncio.create_task(running.stop())
            gate.set()
            answer = await client.answer()
            assert (answer.status, answer.headers["connection"]) == (200, "close")
            await stopping
            client.close()


async def test_a_draining_listener_accepts_connections_for_one_request_each(passed: socket.socket) -> None:
    with passed:
        async with listening(passed) as running:
            running.server.drain()
            client = await running.open()
            await client.send(GET)
            assert (await client.answer()).headers["connection"] == "close"
            assert await closed(client)
            client.close()


async def test_a_connection_that_stays_idle_is_closed_and_the_socket_goes_on_listening_for_the_next(
    passed: socket.socket,
) -> None:
    with passed:
        async with listening(passed) as running:
            idle = await running.open()
            await idle.send(GET)
            await idle.answer()
            running.server.drain()
            await running.stop()
            assert await closed(idle)
            idle.close()
            waiting = await running.open()  # nobody accepts now; the kernel keeps it
            await waiting.send(GET)
        async with listening(passed):
            assert (await waiting.answer()).status == 200
            waiting.close()


async def test_a_connection_just_accepted_has_a_moment_to_send_its_request(passed: socket.socket) -> None:
    with passed:
        async with listening(passed) as running:
            client = await running.open()
            await client.send(GET[:10])
            async with asyncio.timeout(PATIENCE):
                while not running.server.server_state.connections:
                    await asyncio.sleep(0)
            running.server.drain()
            stopping = asyncio.create_task(running.stop())
            async with asyncio.timeout(PATIENCE):
                while running.server.servers[0].is_serving():
                    await asyncio.sleep(0)
            await client.send(GET[10:])
            answer = await client.answer()
            assert (answer.status, answer.headers["connection"]) == (200, "close")
            await stopping
            client.close()
