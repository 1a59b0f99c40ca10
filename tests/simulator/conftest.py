"""A running simulator, and a receiver of webhooks whose responses a test sets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from receiver.clock import SystemClock
from receiver.simulator import Simulator
from receiver.simulator.serving import LoopServer
from tests.patience import PATIENCE

QUICK = (0.01,) * 7


class SettableClock(SystemClock):
    """`time` is what the test sets; waits take the machine's time."""

    def __init__(self, time: float = 1_000_000.0) -> None:
        self.time = time

    def now(self) -> float:
        return self.time


@dataclass
class Inbox:
    """A webhook receiver: keeps what came, answers with the next of `answers`, then with 202."""

    url: str = ""
    answers: list[int] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    broken: int = 0
    pieces: int = 0
    broke: asyncio.Event = field(default_factory=asyncio.Event)

    async def take(self, request: Request) -> Response:
        body = b""
        try:
            async for piece in request.stream():
                body += piece
                self.pieces += bool(piece)
        except ClientDisconnect:
            self.broken += 1
            self.broke.set()
            return Response(status_code=400)
        self.bodies.append(body)
        self.headers.append(dict(request.headers))
        return Response(status_code=self.answers.pop(0) if self.answers else 202)


@pytest.fixture
async def inbox() -> AsyncIterator[Inbox]:
    box = Inbox()
    app = Starlette(routes=[Route("/hook", box.take, methods=["POST"])])
    async with LoopServer(app, "127.0.0.1", 0) as server:
        box.url = f"{server.url}/hook"
        yield box


@pytest.fixture
async def sim(inbox: Inbox) -> AsyncIterator[Simulator]:
    """A quick simulator whose webhooks go to `inbox`."""
    simulator = Simulator(job_seconds=0.0, retry_schedule=QUICK, webhook_url=inbox.url)
    async with simulator:
        yield simulator
    assert simulator.leaks == []


@pytest.fixture
async def api(sim: Simulator) -> AsyncIterator[httpx.AsyncClient]:
    """A customer's client, with the API key and without following redirects."""
    async with httpx.AsyncClient(
        base_url=sim.base_url,
        headers={"Authorization": f"Bearer {sim.api_key}"},
        trust_env=False,
        timeout=PATIENCE,
    ) as client:
        yield client


@pytest.fixture
async def web() -> AsyncIterator[httpx.AsyncClient]:
    """A client without any credentials."""
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE) as client:
        yield client


@asynccontextmanager
async def _client(sim: Simulator) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bearer {sim.api_key}"}
    async with httpx.AsyncClient(base_url=sim.base_url, headers=headers, trust_env=False, timeout=PATIENCE) as client:
        yield client


@pytest.fixture
def client_of() -> Callable[[Simulator], AbstractAsyncContextManager[httpx.AsyncClient]]:
    """Makes the same client as `api` for another simulator."""
    return _client
