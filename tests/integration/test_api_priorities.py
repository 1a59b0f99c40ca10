"""Who waits for whom: handlers, leases and deliveries never for a list; lists for each other, but not for long."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, text

from receiver import Context, JobCompleted, Settings, handler
from receiver.store import views
from receiver.web.api import rows
from tests.integration.api_support import Api, api, deliver, event_number, listening, problem
from tests.integration.intake_support import completed, configured, running
from tests.patience import PATIENCE
from tests.stores import query

pytestmark = pytest.mark.anyio

LISTS = 4


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return configured(tmp_path, handlers={}, dispatch={"lease_seconds": 0.5})


@asynccontextmanager
async def held_lists(client: Api, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[asyncio.Task[Any]]]:
    """Several lists at a time, of which each that is being read goes on until the end of this."""
    go, begun = threading.Event(), threading.Semaphore(0)

    def list_events(connection: Connection, *_: Any) -> list[Any]:
        begun.release()
        assert go.wait(PATIENCE)
        return []

    monkeypatch.setattr(views, "list_events", list_events)
    asking = [asyncio.create_task(client.get("/v1/events")) for _ in range(LISTS)]
    try:
        for _ in range(2):
            assert await asyncio.to_thread(begun.acquire, timeout=PATIENCE)
        yield asking
    finally:
        go.set()
        await asyncio.gather(*asking)


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not holds():
            await asyncio.sleep(0.01)


async def test_handlers_start_and_leases_are_extended_while_lists_hold_their_threads(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str | None] = []
    go = asyncio.Event()

    @handler(on=JobCompleted)
    async def work(event: JobCompleted, ctx: Context) -> None:
        started.append(event.job_id)
        while not go.is_set():
            await asyncio.sleep(0.01)

    def leases() -> set[float]:
        rows = query(settings.base / "data" / "receiver.db", "SELECT lease_until FROM runs WHERE state = 'running'")
        return {row["lease_until"] for row in rows}

    async with api(settings, work) as client:
        try:
            async with held_lists(client, monkeypatch):
                for number in range(1, 4):
                    await deliver(client.up, completed(f"job-{number}"))
                    await until(lambda number=number: len(started) == number)
                for _ in range(3):
                    before = leases()
                    await until(lambda before=before: not before & leases())
        finally:
            go.set()
    assert started == ["job-1", "job-2", "job-3"]


@pytest.mark.parametrize(
    "path",
    [
        "/v1/events",
        "/v1/events?type=other",
        "/v1/events/{}",
        "/v1/events/{}/audio",
        "/v1/jobs",
        "/v1/jobs/job_{}",
        "/v1/stream",
    ],
)
async def test_what_finds_every_list_thread_held_is_told_so(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    async with api(settings) as client:
        client.up.receiver.database._lists._seconds = 0.05
        [id] = await client.add(1)
        async with held_lists(client, monkeypatch) as lists:
            answer = await client.get(path.format(id.removeprefix("evt_") if "job_" in path else id))
            assert problem(answer) == (503, "listing_busy")
            assert "none of them ended" in answer.json()["detail"]
            assert int(answer.headers["retry-after"]) > 0
            problems = [problem(await asked_) for asked_ in lists]
        assert sorted(set(problems)) == [(503, "listing_busy"), (503, "listing_timeout")]


async def test_metrics_that_find_every_list_thread_held_say_so(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with api(settings) as client:
        client.up.receiver.database._lists._seconds = 0.05
        async with held_lists(client, monkeypatch):
            assert "tts_receiver_store_read 0.0" in (await client.get("/metrics")).text.splitlines()
        assert "tts_receiver_store_read 1.0" in (await client.get("/metrics")).text.splitlines()


async def test_a_list_whose_client_has_gone_is_ended(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, ended = threading.Event(), threading.Event()

    def list_events(connection: Connection, *_: Any) -> list[Any]:
        begun.set()
        try:
            return list(
                connection.execute(
                    text("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i FROM n) SELECT * FROM n WHERE i = 2")
                )
            )
        finally:
            ended.set()

    monkeypatch.setattr(views, "list_events", list_events)
    async with running(settings) as up:
        up.receiver.database._lists._seconds = PATIENCE
        async with listening(up.receiver.private) as url:
            host, port = url.removeprefix("http://").split(":")
            _, writer = await asyncio.open_connection(host, int(port))
            writer.write(f"GET /v1/events HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
            assert await asyncio.to_thread(begun.wait, PATIENCE)
            writer.close()
            assert await asyncio.to_thread(ended.wait, PATIENCE / 2)


async def test_what_may_be_large_is_read_and_written_out_beside_the_loop(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[str] = []
    document_of = rows.document_of

    def noted(body: bytes) -> Any:
        threads.append(threading.current_thread().name)
        return document_of(body)

    monkeypatch.setattr(rows, "document_of", noted)
    async with api(settings) as client:
        await client.add(1)
        assert (await client.json(f"/v1/events/{event_number(1)}"))["document"] == {}
    assert [name.startswith("store-list") for name in threads] == [True]
