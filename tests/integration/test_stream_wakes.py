"""What wakes the stream of new events of an idle replica on PostgreSQL: an announcement, not a poll each second."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Connection

from receiver import Settings
from receiver.store import changes
from receiver.store import feed as stored
from receiver.web.api.feed import POLL_INTERVAL_SECONDS, Feed, Stream
from tests.integration.api_support import Api, api, deliver
from tests.integration.intake_support import completed, configured, until_waiting
from tests.patience import PATIENCE
from tests.stores import Store, address_of

pytestmark = [pytest.mark.anyio, pytest.mark.postgresql]


@pytest.fixture
def store_kind() -> str:
    """The processes of a SQLite store announce nothing."""
    return "postgresql"


@pytest.fixture
def settings(tmp_path: Path, store: Store) -> Settings:
    return configured(tmp_path, handlers={}, store={"url": address_of(store)})


async def next_event(feed: Feed, stream: Stream) -> str:
    """The id of the stream's next event."""
    async with asyncio.timeout(PATIENCE):
        async for item in feed.follow(stream, lambda: PATIENCE):
            if item is not None:
                return str(item.row["id"])
    raise AssertionError("the stream has ended")


@asynccontextmanager
async def idle(settings: Settings) -> AsyncIterator[Api]:
    """A replica whose stream polls so rarely that no poll happens in the test, unless it has a reason of its own."""
    async with api(settings) as replica:
        replica.up.receiver.feed._quiet_seconds = lambda: 3600.0  # type: ignore[method-assign]
        yield replica


async def test_an_event_without_runs_that_another_replica_stores_comes_by_its_announcement(settings: Settings) -> None:
    async with api(settings) as storing, idle(settings) as following:
        feed = following.up.receiver.feed
        stream = await feed.subscribe(None)
        id = await deliver(storing.up, completed("job_1"))
        assert await next_event(feed, stream) == id
        feed.unsubscribe(stream)


async def test_an_event_that_an_older_transaction_hides_comes_soon_after_that_has_ended(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden, has_hidden = asyncio.Event(), stored.has_hidden
    loop = asyncio.get_running_loop()

    def noticed(connection: Connection) -> bool:
        found = has_hidden(connection)
        if found:
            loop.call_soon_threadsafe(hidden.set)
        return found

    monkeypatch.setattr(stored, "has_hidden", noticed)
    async with idle(settings) as following:
        feed = following.up.receiver.feed
        stream = await feed.subscribe(None)
        async with await psycopg.AsyncConnection.connect(settings.store.url) as older:
            await older.execute("SELECT pg_current_xact_id()")
            [id] = await following.add(1)
            await asyncio.wait_for(hidden.wait(), PATIENCE)
        assert await next_event(feed, stream) == id
        feed.unsubscribe(stream)


async def test_an_idle_replica_polls_rarely_for_its_streams(settings: Settings) -> None:
    async with api(settings) as replica:
        feed = replica.up.receiver.feed
        until_quiet, allowed = feed._poll_seconds, list[float]()

        def recorded(usual: float) -> float:
            allowed.append(until_quiet(usual))
            return allowed[-1]

        feed._poll_seconds = recorded
        stream = await feed.subscribe(None)
        async with asyncio.timeout(PATIENCE):
            while not allowed or allowed[-1] < changes.QUIET_POLL_SECONDS:
                feed.wake()
                await replica.up.receiver.database.read(lambda connection: None)
        assert POLL_INTERVAL_SECONDS < feed._quiet_seconds() <= changes.QUIET_POLL_SECONDS
        feed.unsubscribe(stream)


async def test_an_event_whose_sender_has_gone_before_the_commit_comes_without_a_poll(settings: Settings) -> None:
    go = threading.Event()
    async with idle(settings) as replica:
        feed, database = replica.up.receiver.feed, replica.up.receiver.database
        stream = await feed.subscribe(None)
        held = asyncio.ensure_future(database.write(lambda _: go.wait(PATIENCE)))
        sending = asyncio.ensure_future(deliver(replica.up, completed("job_1")))
        await until_waiting(replica.up.receiver)
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        go.set()
        assert await held
        assert await next_event(feed, stream) == replica.up.rows()[0]["id"]
        feed.unsubscribe(stream)
