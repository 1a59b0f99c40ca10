"""`/metrics` while the store is busy: scrapes share one reading, wait behind nothing, and do not depend on it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Connection, event

from tests.integration.intake_support import Running, configured, running
from tests.patience import PATIENCE
from tests.stores import file_of

pytestmark = pytest.mark.anyio


OF_STORE = (
    "tts_receiver_runs_open", "tts_receiver_oldest_due_seconds", "tts_receiver_jobs_open", "tts_receiver_feed_delay",
    "tts_receiver_source_silent_seconds", "tts_receiver_events_quarantined",
)  # fmt: skip


@pytest.fixture
async def up(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(configured(tmp_path, handlers={})) as made:
        yield made


@asynccontextmanager
async def scraper(up: Running) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=up.receiver.private)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        yield client


@asynccontextmanager
async def occupied(read: Any) -> AsyncIterator[threading.Event]:
    """Both threads of `read` are at work until the end of the block, or until the event is set."""
    entered, free = threading.Semaphore(0), threading.Event()

    def block(connection: Connection) -> None:
        entered.release()
        assert free.wait(PATIENCE)

    held = [asyncio.ensure_future(read(block)) for _ in range(2)]
    for _ in held:
        assert await asyncio.to_thread(entered.acquire, timeout=PATIENCE)
    try:
        yield free
    finally:
        free.set()
        await asyncio.gather(*held)


async def test_scrapes_at_the_same_time_share_one_reading(up: Running) -> None:
    counted = 0

    def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        nonlocal counted
        counted += "FROM runs" in statement and "count(*)" in statement

    store = up.receiver.database
    event.listen(store._lists._engine, "before_cursor_execute", note)
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(scraper(up))
        busy = [await stack.enter_async_context(occupied(read)) for read in (store.read, store.read_list)]
        scrapes = [asyncio.ensure_future(client.get("/metrics")) for _ in range(3)]
        for _ in range(100):  # turns of the loop, after which each waits for the store
            await asyncio.sleep(0)
        scrapes[0].cancel()  # one that goes away takes nothing from the others
        for free in busy:
            free.set()
        async with asyncio.timeout(PATIENCE):
            assert [answer.status_code for answer in await asyncio.gather(*scrapes[1:])] == [200, 200]
            assert counted == 1
            assert (await client.get("/metrics")).status_code == 200
    assert counted == 2


async def test_a_scrape_does_not_take_the_threads_that_runs_wait_for(up: Running) -> None:
    async with scraper(up) as client, occupied(up.receiver.database.read), asyncio.timeout(PATIENCE):
        assert (await client.get("/metrics")).status_code == 200


async def test_counting_that_takes_too_long_leaves_out_only_what_is_counted(
    up: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scraper(up) as client:
        readers, free = up.receiver.database._lists, threading.Event()

        def block(*_: Any) -> None:
            assert free.wait(PATIENCE)

        event.listen(readers._engine, "before_cursor_execute", block)
        with monkeypatch.context() as slow:
            slow.setattr(readers, "_seconds", 0.05)
            answer = await client.get("/metrics")
        free.set()
        assert_only_own(answer)
        assert_all(await client.get("/metrics"))


async def test_counters_of_the_process_are_shown_though_the_store_cannot_be_read(up: Running) -> None:
    path = file_of(up.receiver.database)
    async with scraper(up) as client:
        up.receiver.database._lists._engine.dispose()
        hidden = path.rename(path.with_name("hidden"))
        path.mkdir()
        try:
            answer = await client.get("/metrics")
        finally:
            path.rmdir()
            hidden.rename(path)
        assert_only_own(answer)
        assert_all(await client.get("/metrics"))


def assert_only_own(answer: httpx.Response) -> None:
    """Nothing of the store is in the answer: neither old values nor zeros."""
    assert answer.status_code == 200
    assert "tts_receiver_store_read 0.0" in answer.text
    assert "tts_receiver_intake_waiting" in answer.text
    assert not any(name in answer.text for name in OF_STORE)


def assert_all(answer: httpx.Response) -> None:
    """The whole of the metrics."""
    assert answer.status_code == 200
    assert "tts_receiver_store_read 1.0" in answer.text
    assert all(name in answer.text for name in OF_STORE)
