"""Positions of the feed: events of one transaction, and a store that comes from another cluster of PostgreSQL."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from receiver.errors import StoreUnavailable
from receiver.store import feed, inbox
from receiver.store.backends import backend_of
from receiver.store.database import Database
from receiver.store.feed import Cursor
from receiver.store.migrate import migrate
from receiver.store.postgresql import positions
from receiver.web.api.feed import Feed
from tests.patience import PATIENCE
from tests.postgresql_server import PostgresqlServer, running_server
from tests.unit.store.conftest import MakeDelivery

pytestmark = pytest.mark.anyio

FAR = 1_000_000_000
"""How far the transactions of the other cluster were."""


def ids(database: Database, cursor: Cursor = Cursor()) -> list[str]:  # noqa: B008 - it is frozen
    return [summary["id"] for _, summary in database.query(feed.events_after, cursor, 1000)]


@contextmanager
def opened(url: str) -> Iterator[Database]:
    database = Database(backend_of(url, Path("/")))
    try:
        yield database
    finally:
        database.close()


@pytest.fixture
def url(postgresql: PostgresqlServer) -> Iterator[str]:
    """The address of an empty store in PostgreSQL."""
    name = postgresql.copy()
    yield postgresql.url(name)
    postgresql.drop(name)


async def test_a_stream_gets_every_event_of_one_transaction(database: Database, delivery: MakeDelivery) -> None:
    shared = Feed(database)
    stream = await shared.subscribe(None)
    stored = [delivery(f"j{n}") for n in range(5)]
    # Stored in an order that is not that of the ids, and in two transactions.
    database.transact(inbox.accept, [stored[3], stored[1]])
    database.transact(inbox.accept, [stored[4], stored[0], stored[2]])
    shared.wake()
    seen: list[str] = []
    async with asyncio.timeout(PATIENCE):
        async for item in shared.follow(stream, lambda: PATIENCE):
            if item is not None:
                seen.append(item.row["id"])
            if len(seen) == len(stored):
                break
    assert sorted(seen) == sorted(item.event_id for item in stored)
    shared.close()


def come_from_afar(url: str) -> None:
    """The store becomes that of a cluster that is far ahead, as after a restore."""
    with psycopg.connect(url) as connection:
        connection.execute(f"UPDATE events SET xid = xid + {FAR}".encode())


def test_events_of_a_cluster_that_was_ahead_are_shown_and_before_all_new_ones(url: str, delivery: MakeDelivery) -> None:
    old, new, newer = [delivery(f"old-{n}") for n in range(3)], delivery("new"), delivery("newer")
    with opened(url) as database:
        for item in old:
            database.transact(inbox.accept, [item])
    for item in (new, newer):  # a second time, too: the store is moved again
        come_from_afar(url)
        with opened(url) as database:
            last = database.query(feed.cursor_of, old[-1].event_id)
            database.transact(inbox.accept, [item])
            expected = [new.event_id] if item is new else [new.event_id, newer.event_id]
            assert ids(database) == [*(event.event_id for event in old), *expected]
            assert ids(database, last) == expected
            assert ids(database, database.query(feed.newest)) == []


def test_a_store_that_is_not_ahead_is_left_as_it_is(url: str, delivery: MakeDelivery) -> None:
    with opened(url) as database:
        database.transact(inbox.accept, [delivery("one")])
    with opened(url) as database, psycopg.connect(url) as other:
        other.execute(b"LOCK TABLE events IN SHARE ROW EXCLUSIVE MODE")  # would be waited for
        database.test_write()
        assert other.execute(b"SELECT receiver_feed_offset()").fetchone() == (0,)


def test_a_transaction_that_waits_for_the_new_offset_stores_behind_it(url: str, delivery: MakeDelivery) -> None:
    """It began before, has a lower number, and has its statement prepared."""
    with opened(url) as database:
        for n in range(8):
            database.transact(inbox.accept, [delivery(f"old-{n}")])
    come_from_afar(url)
    late = delivery("late")
    insert = (
        "INSERT INTO events (id, source, type, key, origin, status, received_at, headers, payload, body)"
        " VALUES (%s, 's', 't', %s, 'webhook', 'accepted', 1, '[]', '{}', '')"
    )
    with psycopg.connect(url) as waiting, psycopg.connect(url) as first, ThreadPoolExecutor(2) as pool:
        waiting.execute(b"SELECT pg_current_xact_id()")
        # Planned before with the old value, and nothing of it stays.
        waiting.execute(b"SAVEPOINT before")
        waiting.execute(insert, ("evt_x", "x"), prepare=True)
        waiting.execute(b"ROLLBACK TO before")
        first.execute(b"LOCK TABLE events IN SHARE ROW EXCLUSIVE MODE")
        with opened(url) as database:
            following = pool.submit(database.test_write)
            _wait_for_locks(url, 1)
            inserting = pool.submit(waiting.execute, insert.encode(), (late.event_id, "late"), prepare=True)
            _wait_for_locks(url, 2)
            first.rollback()
            following.result(PATIENCE)
            inserting.result(PATIENCE)
            waiting.commit()
            assert ids(database)[-1] == late.event_id


def _wait_for_locks(url: str, number: int) -> None:
    waits = b"SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with psycopg.connect(url, autocommit=True) as watcher:
        deadline = time.monotonic() + PATIENCE
        while watcher.execute(waits).fetchone() != (number,):
            assert time.monotonic() < deadline


def test_a_role_that_cannot_change_the_offset_is_told_so(
    url: str, postgresql: PostgresqlServer, delivery: MakeDelivery
) -> None:
    with opened(url) as database:
        database.transact(inbox.accept, [delivery("one")])
    come_from_afar(url)
    role = f"guest_{os.getpid()}"
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute(f"CREATE ROLE {role} LOGIN".encode())
        owner.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}".encode())
    try:
        with opened(url.replace("//postgres", f"//{role}", 1)) as guest, pytest.raises(StoreUnavailable, match="owner"):
            guest.test_write()
    finally:
        with psycopg.connect(url, autocommit=True) as owner:
            owner.execute(f"DROP OWNED BY {role}; DROP ROLE {role}".encode())


def test_an_empty_database_has_nothing_to_compare(postgresql: PostgresqlServer) -> None:
    name = postgresql.create()
    with opened(postgresql.url(name)) as database:
        migrate(database)
        assert database.query(feed.newest) == Cursor()
    postgresql.drop(name)


@pytest.fixture(scope="module")
def other_cluster() -> Iterator[PostgresqlServer]:
    with running_server() as server:
        yield server


@pytest.fixture
def program(other_cluster: PostgresqlServer) -> Callable[..., None]:
    """Runs a program of PostgreSQL."""

    def run(name: str, *arguments: str) -> None:
        command = [other_cluster.program(name), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
        assert done.returncode == 0, done.stderr

    return run


def test_streams_continue_after_a_dump_and_restore_in_a_younger_cluster(
    url: str, other_cluster: PostgresqlServer, program: Callable[..., None], delivery: MakeDelivery, tmp_path: Path
) -> None:
    old = [delivery(f"old-{n}") for n in range(6)]
    with psycopg.connect(url, autocommit=True) as connection:  # numbers of 20,000 transactions are used up
        connection.execute(
            b"CREATE TEMPORARY TABLE used (n int);"
            b" DO $$ BEGIN FOR n IN 1..20000 LOOP BEGIN INSERT INTO used VALUES (n); RAISE SQLSTATE 'UU001';"
            b" EXCEPTION WHEN SQLSTATE 'UU001' THEN NULL; END; END LOOP; END $$"
        )
    with opened(url) as database:
        database.transact(inbox.accept, [old[1], old[0]])
        database.transact(inbox.accept, old[2:])
    name = other_cluster.create()
    restored = other_cluster.url(name)
    dump = str(tmp_path / "dump")
    program("pg_dump", "--format=custom", f"--file={dump}", url)
    program("pg_restore", "--no-owner", "--exit-on-error", f"--dbname={restored}", dump)
    with psycopg.connect(restored) as connection:
        ahead = connection.execute(b"SELECT min(xid) > pg_current_xact_id()::text::bigint FROM events").fetchone()
        assert ahead == (True,), "the test is about this"
    with opened(restored) as database:
        last = database.query(feed.cursor_of, old[-1].event_id)
        new = [delivery(f"new-{n}") for n in range(3)]
        for item in new:
            database.transact(inbox.accept, [item])
        assert ids(database) == [item.event_id for item in (*old, *new)]
        assert ids(database, last) == [item.event_id for item in new]
        middle = database.query(feed.cursor_of, old[2].event_id)
        assert ids(database, middle) == [item.event_id for item in (*old[3:], *new)]


@pytest.mark.postgresql
def test_the_offset_is_the_value_of_a_constant_in_a_plan(url: str) -> None:
    with psycopg.connect(url) as connection:
        plan = connection.execute(b"EXPLAIN (VERBOSE) SELECT receiver_feed_offset()").fetchall()
    assert "receiver_feed_offset" not in str(plan)
    assert "receiver_feed_offset" in positions._FOLLOW
