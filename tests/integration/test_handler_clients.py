"""`ctx.http` is each handler's own: its connections, its cookies, its certificates shared."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from receiver import Context, Event, JobCompleted, JobFailed, handler
from receiver.assembly.receiver import build_receiver
from receiver.engine.handler import Handler
from receiver.engine.plugins import ActiveHandler, Registry
from receiver.settings import Settings
from tests.integration.engine_support import Gate, Signal, ended, receiving, telling
from tests.integration.intake_support import Lines, Running, completed, configured, started

pytestmark = pytest.mark.anyio

Ctx = Context[Any]
CONNECTIONS = 100
"""As many as httpx opens at one time for one client."""


FAILED = b'{"event":"job.failed","data":{"job_id":"%s"}}'


class Service:
    """What handlers call: `/slow` answers when the test lets it, anything else at once; each sets a cookie."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.heads: list[str] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.heads.append(head)
        if head.startswith("GET /slow"):
            await self.gate.wait_open()
        cookie = head.split()[1].strip("/").encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\nSet-Cookie: of=%s\r\n\r\n" % cookie)
        writer.close()


def receiving_with_private_addresses(settings: Settings, *handlers: Handler) -> AbstractAsyncContextManager[Running]:
    active = {found.name: ActiveHandler(found, None, "here", allow_private_addresses=True) for found in handlers}
    return started(build_receiver(settings, Registry(active)))


@asynccontextmanager
async def serving(service: Service) -> AsyncIterator[str]:
    server = await asyncio.start_server(service, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_one_handlers_slow_calls_keep_no_other_handlers_calls_waiting(tmp_path: Path, lines: Lines) -> None:
    gate = Gate(Signal())
    service = Service(gate)
    async with serving(service) as url:

        @handler(on=JobCompleted)
        async def slow(event: Event, ctx: Ctx) -> None:
            await asyncio.gather(*(ctx.http.get(f"{url}/slow") for _ in range(CONNECTIONS)))

        @handler(on=JobFailed)
        async def quick(event: Event, ctx: Ctx) -> int:
            return (await ctx.http.get(f"{url}/quick")).status_code

        async with receiving_with_private_addresses(configured(tmp_path), slow, quick) as up:
            with telling(lines, gate._signal):
                await up.post(completed("job_1"))
                await gate._signal.until(lambda: gate.inside == CONNECTIONS)
                await up.post(FAILED % b"job_2")
                await ended(lines, gate._signal, 1)
                assert lines.of("run.succeeded")[0]["handler"] == "quick"
                gate.open()
                await ended(lines, gate._signal, 2)
                await up.post(FAILED % b"job_3")
                await ended(lines, gate._signal, 3)
    first, second = [head.lower() for head in service.heads if "/quick" in head]
    assert "cookie" not in first
    assert "cookie: of=quick\r\n" in second, "its own come back, and no other handler's"


async def test_a_handler_has_one_client_for_all_its_runs(tmp_path: Path, lines: Lines) -> None:
    clients: list[Any] = []

    @handler(on=JobCompleted)
    async def with_client(event: Event, ctx: Ctx) -> None:
        clients.append(ctx.http)

    @handler(on=JobCompleted)
    def other(event: Event, ctx: Ctx) -> None:
        clients.append(ctx.http)

    async with receiving(configured(tmp_path), with_client, other) as up:
        signal = Signal()
        with telling(lines, signal):
            await up.post(completed("job_1"))
            await up.post(completed("job_2"))
            await ended(lines, signal, 4)
    assert len(clients) == 4
    assert len({id(client) for client in clients}) == 2
    assert all(client.is_closed for client in clients)
