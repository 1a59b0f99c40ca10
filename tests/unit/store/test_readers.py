"""Who waits for whom among the store's readers, and how a list ends. Real threads, a real store."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from typing import TypeVar

import pytest
from sqlalchemy import Connection, text

from receiver.errors import ListingBusy, ListingTimeout
from receiver.store import claims
from receiver.store.database import Database
from receiver.store.readers import THREADS
from tests.patience import PATIENCE
from tests.stores import open_store, postgresql_store

pytestmark = pytest.mark.anyio

T = TypeVar("T")

Limited = Callable[[float], AbstractContextManager[Database]]

ENDLESS = text("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n")


def endless(connection: Connection) -> None:
    connection.execute(ENDLESS).all()


class Held:
    """Functions of a connection that go on until they are let go."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.go = threading.Event()

    def __call__(self, connection: Connection) -> str:
        connection.execute(text("SELECT 1")).all()
        self.begun.release()
        assert self.go.wait(PATIENCE)
        return "read"


@pytest.fixture
def held() -> Iterator[Held]:
    it = Held()
    yield it
    it.go.set()


@asynccontextmanager
async def holding_every_list_thread(database: Database, held: Held) -> AsyncIterator[list[asyncio.Task[str]]]:
    tasks = [asyncio.create_task(database.read_list(held)) for _ in range(THREADS)]
    for _ in tasks:
        assert await asyncio.to_thread(held.begun.acquire, timeout=PATIENCE)
    yield tasks
    held.go.set()
    await asyncio.gather(*tasks, return_exceptions=True)


async def within(awaitable: Awaitable[T]) -> T:
    return await asyncio.wait_for(awaitable, PATIENCE)


@pytest.fixture
def limited(store_kind: str, request: pytest.FixtureRequest) -> Limited:
    """Opens a store whose lists may take so many seconds."""
    if store_kind == "postgresql":
        server = request.getfixturevalue("postgresql")
        return lambda seconds: postgresql_store(server, seconds)
    template, folder = request.getfixturevalue("template"), request.getfixturevalue("tmp_path")

    @contextmanager
    def in_file(seconds: float) -> Iterator[Database]:
        path = folder / "limited.db"
        shutil.copyfile(template, path)
        database = open_store(path, seconds)
        yield database
        database.close()

    return in_file


async def test_what_runs_wait_for_is_read_while_every_list_thread_is_held(database: Database, held: Held) -> None:
    async with holding_every_list_thread(database, held):
        assert await within(database.read(claims.next_due, ["save_audio"], 0.0)) is None
        assert await within(database.write(lambda connection: connection.execute(text("SELECT 1")).scalar())) == 1


async def test_a_list_that_finds_every_thread_held_is_told_so(limited: Limited, held: Held) -> None:
    with limited(0.05) as database:
        async with holding_every_list_thread(database, held):
            with pytest.raises(ListingBusy, match=r"none of them ended within 0\.05 s"):
                await within(database.read_list(held))


async def test_a_list_that_takes_too_long_is_told_so_although_its_thread_is_held(limited: Limited, held: Held) -> None:
    with limited(0.05) as database:
        with pytest.raises(ListingTimeout, match=r"more than 0\.05 s"):
            await within(database.read_list(held))
        held.go.set()


async def test_a_thread_that_was_too_slow_serves_lists_again(limited: Limited) -> None:
    with limited(0.05) as database:
        for _ in range(2 * THREADS):
            with pytest.raises(ListingTimeout):
                await within(database.read_list(endless))
    with limited(PATIENCE) as database:
        waiting = [
            asyncio.create_task(database.read_list(lambda connection: connection.execute(text("SELECT 1")).scalar()))
            for _ in range(9)
        ]
        await within(asyncio.gather(*waiting))


async def test_each_further_statement_of_a_list_is_ended_too(limited: Limited) -> None:
    tried = threading.Event()

    def again_and_again(connection: Connection) -> None:
        for _ in range(3):
            with contextlib.suppress(Exception):
                endless(connection)
        tried.set()

    with limited(0.05) as database:
        with pytest.raises(ListingTimeout):
            await within(database.read_list(again_and_again))
        assert await asyncio.to_thread(tried.wait, PATIENCE)


async def test_a_list_ends_when_nobody_waits_for_it_any_more(database: Database) -> None:
    begun, ended = threading.Event(), threading.Event()

    def reads(connection: Connection) -> None:
        begun.set()
        try:
            endless(connection)
        finally:
            ended.set()

    asking = asyncio.create_task(database.read_list(reads))
    assert await asyncio.to_thread(begun.wait, PATIENCE)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert await asyncio.to_thread(ended.wait, PATIENCE)


def test_closing_the_store_ends_its_lists(limited: Limited) -> None:
    async def leave(database: Database) -> None:
        begun = threading.Event()

        def reads(connection: Connection) -> None:
            begun.set()
            endless(connection)

        asking = asyncio.create_task(database.read_list(reads))
        assert await asyncio.to_thread(begun.wait, PATIENCE)
        await asyncio.to_thread(database.close)
        with pytest.raises(ListingTimeout):
            await within(asking)

    with limited(PATIENCE) as database:
        asyncio.run(leave(database))


def test_a_list_of_the_command_line_is_ended_as_well(limited: Limited) -> None:
    with limited(0.05) as database:
        with pytest.raises(ListingTimeout):
            database.query_list(endless)
        assert database.query_list(lambda connection: 3) == 3
