"""Deleting what is old disturbs nobody: small batches, pauses in which deliveries are committed, a stop at any time."""

from __future__ import annotations

import asyncio
import itertools
import re
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, delete, event, insert, update

from receiver.engine.batch_writer import MAX_PAUSES
from receiver.engine.clock_trust import ClockTrust
from receiver.engine.maintenance import INTERVAL_SECONDS, Maintenance
from receiver.errors import ListingBusy
from receiver.model.delivery import Delivery
from receiver.settings import Store
from receiver.store import inbox, schema
from receiver.store.database import Database
from receiver.store.sqlite.engine import MAX_WAL_PAGES
from tests.integration.engine_support import NOW, fresh_store
from tests.integration.intake_support import Lines, logged
from tests.patience import PATIENCE
from tests.stores import AnyStore, execute, file_of, open_store, query

pytestmark = [pytest.mark.anyio, pytest.mark.every_database]

DAY = 86_400.0
OLD = NOW - 40 * DAY
MAX_BATCH = 100

_numbers = itertools.count(1)


class Clock:
    """A clock by which each look at it takes a `tick`; what happens in the pauses is the test's."""

    def __init__(self, tick: float = 0.0) -> None:
        self.tick = tick
        self.pauses: list[float] = []
        self.over = asyncio.Event()
        self.meanwhile: Callable[[], Awaitable[None]] = lambda: asyncio.sleep(0)
        self._at = 1000.0

    def now(self) -> float:
        return NOW

    def monotonic(self) -> float:
        self._at += self.tick
        return self._at

    async def wait(self, wake: asyncio.Event, seconds: float) -> None:
        if seconds == INTERVAL_SECONDS:  # all is done until the next hour
            self.over.set()
            await asyncio.Event().wait()
        self.pauses.append(seconds)
        await self.meanwhile()


class Transactions:
    """What each committed transaction did."""

    def __init__(self) -> None:
        self.deleted: list[int] = []
        self.order: list[str] = []
        self._now: dict[str, int] = {}

    def note(self, connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if re.match(r"DELETE FROM (events|jobs|audit_entries)\b", statement):
            self._now["DELETE"] = self._now.get("DELETE", 0) + cursor.rowcount

    def commit(self, connection: Any) -> None:
        self.order += self._now
        if "DELETE" in self._now:
            self.deleted.append(self._now["DELETE"])
        self._now = {}


@pytest.fixture
def transactions() -> Iterator[Transactions]:
    found = Transactions()
    event.listen(Engine, "after_cursor_execute", found.note)
    event.listen(Engine, "commit", found.commit)
    yield found
    event.remove(Engine, "after_cursor_execute", found.note)
    event.remove(Engine, "commit", found.commit)


@pytest.fixture
def database(store: AnyStore) -> Iterator[Database]:
    database = open_store(fresh_store(store))
    database.start()
    yield database
    database.close()


@pytest.fixture
def lines() -> Iterator[Lines]:
    with logged() as lines:
        yield lines


def delivery(at: float, *handlers: str, quarantined: bool = False, body: bytes = b"{}") -> Delivery:
    number = next(_numbers)
    job = f"job_{number * 7919 % 10_007}_{number}"  # in no order, as a provider's
    return Delivery(
        event_id=f"evt_{number:032x}", source="aitts", type="job.completed", key=job, job_id=job, origin="webhook",
        payload="{}", body=body, headers="[]", key_id=None, skew=0.0, received_at=at, handlers=handlers,
        quarantined=quarantined,
    )  # fmt: skip


def add(database: Database, count: int, *handlers: str, quarantined: bool = False) -> list[str]:
    """Store so many old events; their ids."""
    ids = list[str]()
    while len(ids) < count:
        made = [delivery(OLD, *handlers, quarantined=quarantined) for _ in range(min(500, count - len(ids)))]
        ids += [receipt.event_id for receipt in database.transact(inbox.accept, made)]
    return ids


def end_runs(database: Database) -> None:
    database.transact(
        lambda connection: connection.execute(
            update(schema.runs).values(state="succeeded", finished_at=OLD).where(schema.runs.c.handler == "ends")
        )
    )


def left(database: Database, table: str = "events") -> int:
    return int(query(database, f"SELECT count(*) AS n FROM {table}")[0]["n"])


@asynccontextmanager
async def maintained(database: Database, clock: Clock) -> AsyncIterator[Maintenance]:
    async def sweep(seconds: float) -> int:
        return 0

    trust = ClockTrust(clock)
    trust.compare(0.0, "aitts")
    maintenance = Maintenance(database, Store(), sweep, clock, trust, owner="me")
    maintenance.start()
    try:
        yield maintenance
    finally:
        await maintenance.stop()


async def prune(database: Database, clock: Clock) -> None:
    """One hour's deleting."""
    async with maintained(database, clock), asyncio.timeout(PATIENCE):
        await clock.over.wait()


async def test_no_transaction_deletes_more_than_a_batch(database: Database, transactions: Transactions) -> None:
    add(database, 450, "ends")
    end_runs(database)
    add(database, 150, quarantined=True)
    await prune(database, Clock())
    assert left(database) == left(database, "runs") == 0
    assert sum(transactions.deleted) == 600
    assert max(transactions.deleted) <= MAX_BATCH


async def test_the_slower_the_store_the_smaller_a_batch(database: Database, transactions: Transactions) -> None:
    add(database, 600)
    await prune(database, Clock(tick=0.2))
    slow, transactions.deleted = transactions.deleted, []
    add(database, 600)
    await prune(database, Clock())
    assert sum(slow) == sum(transactions.deleted) == 600
    assert max(slow) < 30 < max(transactions.deleted)


async def test_in_every_pause_deliveries_are_committed(database: Database, transactions: Transactions) -> None:
    clock = Clock()

    async def deliver() -> None:
        await database.write(inbox.accept, [delivery(NOW)])
        transactions.order.append("INSERT")  # committed by now; the driver itself has executed it

    clock.meanwhile = deliver
    add(database, 300)
    transactions.order.clear()
    await prune(database, clock)
    deletions = [place for place, word in enumerate(transactions.order) if word == "DELETE"]
    assert len(deletions) >= 3
    assert all(transactions.order[place + 1] == "INSERT" for place in deletions)
    assert left(database) == len(clock.pauses)


async def test_a_pause_is_several_times_as_long_as_what_it_follows(database: Database) -> None:
    clock = Clock(tick=0.01)
    add(database, 60)
    await prune(database, clock)
    assert all(seconds == pytest.approx(0.04) or seconds >= 0.08 for seconds in clock.pauses)
    assert any(seconds >= 0.08 for seconds in clock.pauses), "a deletion looks at the clock twice more"


async def test_while_deliveries_wait_the_pause_is_longer(database: Database, transactions: Transactions) -> None:
    clock = Clock()
    go, held = threading.Event(), list[asyncio.Future[None]]()
    seen: list[int] = []

    def block(connection: Connection) -> None:
        assert go.wait(PATIENCE)

    async def busy() -> None:
        if not transactions.deleted:
            return
        if not held:
            held.append(asyncio.ensure_future(database.write(block)))
            await asyncio.sleep(0)  # it is handed in
        seen.append(sum(transactions.deleted))
        if len(seen) == MAX_PAUSES:
            go.set()
            await held[0]

    clock.meanwhile = busy
    add(database, 300)
    await prune(database, clock)
    assert seen[0] == seen[MAX_PAUSES - 1] < sum(transactions.deleted) == 300


async def test_a_busy_store_is_pruned_all_the_same(database: Database) -> None:
    clock = Clock()
    handed = list[asyncio.Future[Any]]()

    async def busy() -> None:  # something always waits
        handed.append(asyncio.ensure_future(database.write(inbox.accept, [delivery(NOW)])))
        await asyncio.sleep(0)

    clock.meanwhile = busy
    add(database, 300)
    await prune(database, clock)
    await asyncio.gather(*handed)
    assert left(database) == len(handed)


@pytest.mark.parametrize("kept", ["open events", "jobs"])
async def test_what_stays_is_passed_once_and_not_for_each_batch(tmp_path: Path, kept: str) -> None:
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    def watch(connection: Any, record: Any) -> None:
        connection.set_progress_handler(count, 10)

    async def cost(stay: int, go: int) -> int:
        nonlocal steps
        database = open_store(fresh_store(tmp_path / f"{stay}-{go}.db"))
        database.start()
        if kept == "open events":
            add(database, stay, "waits")
            add(database, go)
        else:
            database.transact(_ended_jobs, add(database, stay, "waits"), OLD - 9)
            database.transact(_ended_jobs, [f"gone_{n}" for n in range(go)], OLD)
        steps = 0
        await prune(database, Clock())
        database.close()
        assert left(database) == stay
        return steps

    event.listen(Engine, "connect", watch)
    try:
        few, many = [await cost(600, go) - await cost(0, go) for go in (450, 1600)]
    finally:
        event.remove(Engine, "connect", watch)
    assert many < 1.3 * few, "one batch of 500 more, or sixteen of 100, passed them again"


def _ended_jobs(connection: Connection, events: list[str], at: float) -> None:
    rows = [
        {
            "id": f"job_{event_id}", "source": "aitts", "job_id": event_id, "state": "completed", "created_at": at,
            "due_at": at, "deadline_at": at + 60, "ended_at": at + number / 1e4, "event_id": event_id,
        }
        for number, event_id in enumerate(events)
    ]  # fmt: skip
    if rows:
        connection.execute(insert(schema.jobs), rows)


async def test_jobs_go_after_their_events_and_others_stay(database: Database, lines: Lines) -> None:
    gone, stays = add(database, 120), add(database, 3, "waits")
    database.transact(_ended_jobs, [*gone, *stays], OLD)
    execute(database, "UPDATE jobs SET state = 'unknown' WHERE event_id = :id", id=gone[0])
    await prune(database, Clock())
    rows = query(database, "SELECT event_id FROM jobs ORDER BY event_id")
    assert [row["event_id"] for row in rows] == [gone[0], *stays]
    assert [line["events"] for line in lines.of("events.pruned")] == [120]
    assert [line["jobs"] for line in lines.of("jobs.pruned")] == [119]


async def test_a_stop_ends_it_between_two_batches_and_the_next_time_goes_on(database: Database, lines: Lines) -> None:
    clock, paused = Clock(), asyncio.Event()

    async def stay() -> None:
        if left(database) < 600:
            paused.set()
            await asyncio.Event().wait()

    clock.meanwhile = stay
    add(database, 600)
    async with asyncio.timeout(PATIENCE):
        async with maintained(database, clock):
            await paused.wait()
    [line] = lines.of("store.pruning_stopped")
    assert 0 < line["events"] <= MAX_BATCH
    assert left(database) == 600 - line["events"]
    await prune(database, Clock())
    assert left(database) == 0


async def test_what_is_on_its_way_at_the_stop_is_finished_and_counted(database: Database, lines: Lines) -> None:
    clock, go = Clock(), threading.Event()
    held = list[asyncio.Future[None]]()

    def block(connection: Connection) -> None:
        assert go.wait(PATIENCE)

    async def busy() -> None:
        if not held:
            held.append(asyncio.ensure_future(database.write(block, beside=True)))
        await asyncio.sleep(0)

    writer = database._second_writer or database._writer
    clock.meanwhile = busy
    add(database, 600)
    async with asyncio.timeout(PATIENCE):
        async with maintained(database, clock) as maintenance:
            while writer.waiting < 2:  # the deletion waits behind it
                await asyncio.sleep(0)
            stopping = asyncio.ensure_future(maintenance.stop())
            await asyncio.sleep(0)
            assert not stopping.done()
            go.set()
            await stopping
        await held[0]
    [line] = lines.of("store.pruning_stopped")
    assert left(database) == 600 - line["events"] < 600


async def test_it_says_how_far_it_is_every_half_minute(database: Database, lines: Lines) -> None:
    add(database, 300)
    await prune(database, Clock(tick=5.0))
    said = [line["events"] for line in lines.of("store.pruning")]
    assert len(said) > 3
    assert said == sorted(set(said))
    assert [line["events"] for line in lines.of("events.pruned")] == [300]


@pytest.mark.sqlite
async def test_it_leaves_no_long_log_to_the_next_delivery(database: Database) -> None:
    """A commit that makes the `-wal` longer than that moves all pages into the store before it is done."""
    for _ in range(4):
        database.transact(inbox.accept, [delivery(OLD, body=bytes(3500)) for _ in range(500)])
    with database._writer_engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        assert driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall() == [(0, 0, 0)]
    [size] = query(database, "PRAGMA page_size")
    await prune(database, Clock())
    assert left(database) == 0
    assert Path(f"{file_of(database)}-wal").stat().st_size < 0.95 * MAX_WAL_PAGES * size["page_size"]


async def test_it_waits_for_its_turn_among_long_lists(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    lists, go, turned_away = database._lists, threading.Event(), list[int]()
    read = lists.read

    async def noted(function: Any, *given: Any) -> Any:
        try:
            return await read(function, *given)
        except ListingBusy:
            turned_away.append(left(database))
            if len(turned_away) == 3:
                monkeypatch.setattr(lists, "_seconds", PATIENCE)
                go.set()
            raise

    def block(connection: Connection) -> None:
        assert go.wait(PATIENCE)

    add(database, 50)
    monkeypatch.setattr(lists, "_seconds", 0.02)
    held = [asyncio.ensure_future(read(block)) for _ in range(2)]
    await asyncio.wait(held)
    monkeypatch.setattr(lists, "read", noted)
    await prune(database, Clock())
    assert turned_away[:3] == [50] * 3
    assert left(database) == 0
    await asyncio.gather(*held, return_exceptions=True)


async def test_of_all_processes_that_work_the_one_that_started_first_deletes(database: Database) -> None:
    add(database, 20, "ends")
    end_runs(database)
    row = {"role": "worker", "host": "here", "pid": 1, "version": "0", "heartbeat_at": NOW}

    def started(connection: Connection, owner: str, at: float) -> None:
        connection.execute(insert(schema.processes).values(row | {"owner": owner, "started_at": at}))

    database.transact(started, "first", NOW - 9)
    database.transact(started, "me", NOW - 5)
    await prune(database, Clock())
    assert left(database) == 20
    gone = delete(schema.processes).where(schema.processes.c.owner == "first")
    database.transact(lambda connection: connection.execute(gone))
    await prune(database, Clock())
    assert left(database) == 0
