"""`create_app(settings)` in another application: mounted, started and stopped by its parent's lifespan."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Message

from receiver import Context, JobCompleted, Settings, create_app, handler
from tests.integration.engine_support import Gate, Signal
from tests.integration.intake_support import Lines, completed, configured, signature
from tests.patience import PATIENCE
from tests.stores import query

pytestmark = pytest.mark.anyio


@pytest.fixture
async def gate(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Gate]:
    """What the handler `my_podcast:publish` passes; open from the start."""
    gate = Gate(Signal())
    gate.open()

    @handler(on=JobCompleted)
    async def publish(event: JobCompleted, ctx: Context[Any]) -> dict[str, Any]:
        await gate.wait_open()
        return {"published": event.job_id}

    module = ModuleType("my_podcast")
    module.publish = publish  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "my_podcast", module)
    yield gate
    gate.open()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return configured(tmp_path, handlers={"publish": {"use": "my_podcast:publish"}})


async def hello(request: Request) -> PlainTextResponse:
    return PlainTextResponse("hello from the parent")


@asynccontextmanager
async def served(app: ASGIApp) -> AsyncIterator[httpx.AsyncClient]:
    """Start and stop the application by the lifespan messages that a server sends."""
    loop = asyncio.get_running_loop()
    received: asyncio.Queue[Message] = asyncio.Queue()
    sent: asyncio.Queue[Message] = asyncio.Queue()
    task = loop.create_task(app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, received.get, sent.put))
    await received.put({"type": "lifespan.startup"})
    async with asyncio.timeout(PATIENCE):
        assert await sent.get() == {"type": "lifespan.startup.complete"}
    try:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://parent.test") as client:
            yield client
    finally:
        await received.put({"type": "lifespan.shutdown"})
        async with asyncio.timeout(PATIENCE):
            assert await sent.get() == {"type": "lifespan.shutdown.complete"}
            await task


async def deliver(client: httpx.AsyncClient, job: str = "job_1", path: str = "/tts/webhooks/aitts") -> httpx.Response:
    body = completed(job)
    return await client.post(path, content=body, headers={"x-tts-signature": signature(body)})


def runs(settings: Settings) -> list[dict[str, Any]]:
    return query(settings.base / "data" / "receiver.db", "SELECT handler, state, attempt, result FROM runs")


DONE = {"handler": "publish", "state": "succeeded", "attempt": 1, "result": {"published": "job_1"}}


async def test_mounted_with_its_lifespan_as_the_parents(settings: Settings, gate: Gate, lines: Lines) -> None:
    mounted = create_app(settings)
    parent = Starlette(
        routes=[Route("/", hello), Mount("/tts", app=mounted)],
        lifespan=lambda parent: mounted.router.lifespan_context(mounted),
    )
    async with served(parent) as client:
        answer = await deliver(client)
        assert (answer.status_code, answer.json()["status"]) == (202, "accepted")
        await gate._signal.until(lambda: gate.entered == 1 and gate.inside == 0)
        assert (await deliver(client)).json()["status"] == "duplicate"
        assert (await client.get("/")).text == "hello from the parent"
        assert (await client.get("/tts/readyz")).status_code == 200
        assert (await client.get("/tts/webhooks/aitts")).status_code == 405
        assert (await deliver(client, path="/webhooks/aitts")).status_code == 404
    assert runs(settings) == [DONE]
    assert [line["message"] for line in lines.of("receiver.started") + lines.of("receiver.stopped")] == [
        "receiver.started",
        "receiver.stopped",
    ]


async def test_mounted_beside_the_parents_own_lifespan(settings: Settings, gate: Gate) -> None:
    mounted = create_app(settings)
    order: list[str] = []

    @asynccontextmanager
    async def lifespan(parent: Starlette) -> AsyncIterator[None]:
        order.append("the parent's database opens")
        async with mounted.router.lifespan_context(mounted):
            order.append("the receiver is up")
            yield
        order.append("the receiver has ended")

    parent = Starlette(routes=[Route("/", hello), Mount("/a/b", app=mounted)], lifespan=lifespan)
    async with served(parent) as client:
        assert (await client.get("/")).text == "hello from the parent"
        assert (await deliver(client, path="/a/b/webhooks/aitts")).status_code == 202
        await gate._signal.until(lambda: gate.entered == 1)
        assert order == ["the parent's database opens", "the receiver is up"]
    assert order[-1] == "the receiver has ended"
    assert runs(settings) == [DONE]


async def test_served_on_its_own_with_its_own_lifespan(settings: Settings, gate: Gate) -> None:
    async with served(create_app(settings)) as client:
        assert (await deliver(client, path="/webhooks/aitts")).status_code == 202
        await gate._signal.until(lambda: gate.entered == 1)
    assert runs(settings) == [DONE]


async def test_a_handler_at_work_when_the_parent_ends_has_its_grace(
    settings: Settings, gate: Gate, lines: Lines
) -> None:
    gate._open.clear()
    mounted = create_app(settings)
    parent = Starlette(
        routes=[Mount("/tts", app=mounted)], lifespan=lambda parent: mounted.router.lifespan_context(mounted)
    )
    async with served(parent) as client:
        await deliver(client)
        await gate._signal.until(lambda: gate.inside)
        asyncio.get_running_loop().call_soon(gate.open)
    assert runs(settings) == [DONE]
    assert lines.of("receiver.stopped")


async def test_two_receivers_live_in_one_parent(tmp_path: Path, gate: Gate) -> None:
    use = {"publish": {"use": "my_podcast:publish"}}
    folders = [tmp_path / name for name in ("one", "two")]
    both = [create_app(configured(folder, handlers=use)) for folder in folders]

    @asynccontextmanager
    async def lifespan(parent: Starlette) -> AsyncIterator[None]:
        one, two = both
        async with one.router.lifespan_context(one), two.router.lifespan_context(two):
            yield

    routes = [Mount("/one", app=both[0]), Mount("/two", app=both[1])]
    async with served(Starlette(routes=routes, lifespan=lifespan)) as client:
        assert (await deliver(client, path="/one/webhooks/aitts")).json()["status"] == "accepted"
        assert (await deliver(client, path="/two/webhooks/aitts")).json()["status"] == "accepted"
        await gate._signal.until(lambda: gate.entered == 2)
    for folder in folders:
        assert query(folder / "data" / "receiver.db", "SELECT count(*) AS n FROM events") == [{"n": 1}]


async def test_a_source_without_a_signing_secret_has_no_webhook_path(tmp_path: Path, lines: Lines) -> None:
    account = {"provider": "aitts", "api_key": "an-api-key-0123456789"}
    mounted = create_app(configured(tmp_path, sources={"aitts": account}))
    parent = Starlette(
        routes=[Mount("/tts", app=mounted)], lifespan=lambda parent: mounted.router.lifespan_context(mounted)
    )
    async with served(parent) as client:
        assert (await client.get("/tts/readyz")).status_code == 200
        assert (await deliver(client)).status_code == 404
        assert (await client.post("/tts/webhooks/aitts", content=completed("job_1"))).status_code == 404
        assert (await client.get("/tts/webhooks/aitts")).status_code == 404
    assert query(tmp_path / "data" / "receiver.db", "SELECT count(*) AS n FROM events") == [{"n": 0}]


async def test_a_receiver_that_cannot_start_fails_the_parents_start_with_the_reason(
    settings: Settings, tmp_path: Path, gate: Gate
) -> None:
    (tmp_path / "data" / "receiver.db").mkdir(parents=True)
    mounted = create_app(settings)
    parent = Starlette(lifespan=lambda parent: mounted.router.lifespan_context(mounted))
    received: asyncio.Queue[Message] = asyncio.Queue()
    sent: asyncio.Queue[Message] = asyncio.Queue()
    await received.put({"type": "lifespan.startup"})
    with pytest.raises(Exception, match="store"):
        await parent({"type": "lifespan", "asgi": {"version": "3.0"}}, received.get, sent.put)
    message = await sent.get()
    assert message["type"] == "lifespan.startup.failed"
    assert "StoreUnavailable" in message["message"]


async def test_a_parent_that_does_not_run_the_lifespan_gets_503_and_the_reason(
    settings: Settings, gate: Gate, lines: Lines
) -> None:
    parent = Starlette(routes=[Route("/", hello), Mount("/tts", app=create_app(settings))])
    async with served(parent) as client, asyncio.timeout(PATIENCE):
        answer = await deliver(client)
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "10"
        assert answer.json()["error"] == "not_running"
        assert "does not run its lifespan" in answer.json()["detail"]
        assert "mount-in-your-app" in answer.json()["detail"]
        assert (await client.post("/tts/webhooks/aitts", content=b"unsigned")).status_code == 503
        alive = await client.get("/tts/livez")
        assert (alive.status_code, alive.json()) == (503, answer.json())
        ready = await client.get("/tts/readyz")
        assert (ready.status_code, ready.json()["ready"]) == (503, False)
        assert ready.json()["missing"] == {"receiver": answer.json()["detail"]}
        assert (await client.get("/")).text == "hello from the parent"
    (line,) = lines.of("receiver.not_running")
    assert line["detail"] == answer.json()["detail"]
    assert not (settings.base / "data" / "receiver.db").exists()


async def test_a_delivery_after_the_parents_lifespan_ended_is_refused_and_not_left_without_an_answer(
    settings: Settings, gate: Gate
) -> None:
    mounted = create_app(settings)
    parent = Starlette(routes=[Mount("/tts", app=mounted)])
    async with served(parent) as client, asyncio.timeout(PATIENCE):
        async with mounted.router.lifespan_context(mounted):
            assert (await deliver(client)).status_code == 202
        late = await deliver(client, "job_2")
        assert (late.status_code, late.json()["error"]) == (503, "not_running")
    assert query(settings.base / "data" / "receiver.db", "SELECT job_id FROM events") == [{"job_id": "job_1"}]
