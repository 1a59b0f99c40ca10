"""The writer: 2xx only after the commit, a bad write fails alone, an outage acknowledges nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, exc, text

from receiver.errors import StoreFull, StoreLocked, StoreUnavailable
from receiver.model.delivery import Delivery
from receiver.store import database as database_module
from receiver.store import inbox
from receiver.store.database import Database
from receiver.store.sqlite.backend import sqlite_path
from tests.faults import limit_pages
from tests.integration.intake_support import logged
from tests.stores import WriteLock, file_of, open_store, query

pytestmark = [pytest.mark.anyio, pytest.mark.sqlite]

Make = Callable[..., Delivery]


def ids(path: Path) -> set[str]:
    """Ids of the events that another process would see."""
    return {row["id"] for row in query(path, "SELECT id FROM events")}


async def outcomes(*futures: asyncio.Future[Any]) -> list[Any]:
    return await asyncio.gather(*futures, return_exceptions=True)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that does not wait long for another process's lock."""
    monkeypatch.setattr(database_module, "BUSY_SECONDS", 0.01)


async def test_a_delivery_is_seen_by_another_connection_once_its_future_is_done(
    database: Database, delivery: Make
) -> None:
    for number in range(20):
        one = delivery(f"job_{number}")
        receipt = await database.batch(inbox.accept, one)
        assert receipt.event_id == one.event_id
        assert one.event_id in ids(file_of(database))


async def test_nothing_is_acknowledged_before_the_commit(database: Database, delivery: Make) -> None:
    lock = WriteLock(file_of(database))
    futures = [database.batch(inbox.accept, delivery(f"job_{number}")) for number in range(3)]
    await asyncio.sleep(0)
    assert not any(future.done() for future in futures)
    assert database.waiting == 3
    assert ids(file_of(database)) == set()
    lock.release()
    receipts = await asyncio.gather(*futures)
    assert {receipt.event_id for receipt in receipts} == ids(file_of(database))
    assert database.waiting == 0


async def test_writes_that_gather_behind_a_commit_share_the_next(database: Database, delivery: Make) -> None:
    batches: list[int] = []

    def spy(connection: Connection, deliveries: list[Delivery]) -> list[inbox.Receipt]:
        batches.append(len(deliveries))
        return inbox.accept(connection, deliveries)

    lock = WriteLock(file_of(database))
    futures = [database.batch(spy, delivery(f"job_{number}")) for number in range(200)]
    lock.release()
    await asyncio.gather(*futures)
    assert sum(batches) == 200
    assert len(batches) < 200
    assert len(ids(file_of(database))) == 200


async def test_fifty_copies_handed_in_at_once_are_one_event(database: Database, delivery: Make) -> None:
    receipts = await asyncio.gather(*(database.batch(inbox.accept, delivery()) for _ in range(50)))
    assert len({receipt.event_id for receipt in receipts}) == 1
    assert [receipt.duplicate for receipt in receipts].count(False) == 1
    assert len(ids(file_of(database))) == 1


async def test_one_poisoned_write_in_a_shared_transaction_fails_alone(database: Database, delivery: Make) -> None:
    good = [delivery(f"job_{number}") for number in range(4)]
    poisoned = delivery("poison", payload=None)  # the column is NOT NULL
    lock = WriteLock(file_of(database))  # so that all five share one transaction
    futures = [database.batch(inbox.accept, item) for item in [*good[:2], poisoned, *good[2:]]]
    lock.release()
    first, second, failed, third, fourth = await outcomes(*futures)
    assert isinstance(failed, exc.IntegrityError)
    assert [receipt.event_id for receipt in (first, second, third, fourth)] == [item.event_id for item in good]
    assert ids(file_of(database)) == {item.event_id for item in good}


async def test_a_function_that_raises_fails_alone_beside_deliveries(database: Database, delivery: Make) -> None:
    def broken(connection: Connection) -> None:
        connection.execute(text("DELETE FROM events"))
        raise LookupError("mine")

    await database.batch(inbox.accept, before := delivery("before"))
    lock = WriteLock(file_of(database))
    broken_write = asyncio.ensure_future(database.write(broken))
    await asyncio.sleep(0)
    accepted = database.batch(inbox.accept, after := delivery("after"))
    lock.release()
    failed, receipt = await outcomes(broken_write, accepted)
    assert isinstance(failed, LookupError)
    assert receipt.event_id == after.event_id
    assert ids(file_of(database)) == {before.event_id, after.event_id}, "what the broken one deleted is rolled back"


async def test_a_lock_that_another_process_keeps_is_an_outage(
    impatient: None, template: Path, tmp_path: Path, delivery: Make
) -> None:
    path = tmp_path / "locked.db"
    path.write_bytes(template.read_bytes())
    database = open_store(path)
    database.start()
    lock = WriteLock(path)
    failed = await outcomes(*(database.batch(inbox.accept, delivery(f"job_{number}")) for number in range(3)))
    assert [type(error) for error in failed] == [StoreLocked] * 3
    assert {error.reason for error in failed} == {"store_locked"}
    assert database.waiting == 0
    lock.release()
    assert ids(path) == set()
    receipt = await database.batch(inbox.accept, again := delivery("job_0"))
    assert receipt.event_id == again.event_id
    assert not receipt.duplicate
    database.close()


async def test_a_full_disk_is_an_outage_and_what_was_not_committed_is_not_there(
    database: Database, delivery: Make
) -> None:
    await database.batch(inbox.accept, kept := delivery("kept"))

    await limit_pages(database, 1)
    big = [delivery(f"big_{number}", body=b"x" * 100_000) for number in range(3)]
    failed = await outcomes(*(database.batch(inbox.accept, item) for item in big))
    assert [type(error) for error in failed] == [StoreFull] * 3
    assert "full" in str(failed[0])
    assert ids(file_of(database)) == {kept.event_id}
    assert await database.read(lambda c: c.execute(text("SELECT count(*) FROM runs")).scalar_one()) == 1
    await limit_pages(database, 1_000_000)
    receipts = await asyncio.gather(*(database.batch(inbox.accept, item) for item in big))
    assert not any(receipt.duplicate for receipt in receipts)
    assert len(ids(file_of(database))) == 4


async def test_a_store_that_was_moved_away_takes_nothing_until_it_is_back(
    template: Path, tmp_path: Path, delivery: Make
) -> None:
    """SQLite would go on writing into the moved file, which the next start would not see."""
    path, elsewhere = tmp_path / "receiver.db", tmp_path / "elsewhere.db"
    path.write_bytes(template.read_bytes())
    database = open_store(path)
    database.start()
    await database.batch(inbox.accept, delivery("before"))
    path.rename(elsewhere)
    [failed] = await outcomes(database.batch(inbox.accept, delivery("gone")))
    assert isinstance(failed, StoreUnavailable)
    assert str(path) in str(failed)
    elsewhere.rename(path)
    await database.batch(inbox.accept, delivery("after"))
    await asyncio.to_thread(database.close)
    assert len(ids(path)) == 2


async def test_a_cancelled_wait_leaves_the_write_standing_and_the_count_right(
    database: Database, delivery: Make
) -> None:
    lock = WriteLock(file_of(database))
    gone = database.batch(inbox.accept, one := delivery("gone"))
    stays = database.batch(inbox.accept, delivery("stays"))
    gone.cancel()
    lock.release()
    await stays
    assert database.waiting == 0
    assert one.event_id in ids(file_of(database))


async def test_closing_commits_what_is_waiting(template: Path, tmp_path: Path, delivery: Make) -> None:
    path = tmp_path / "closing.db"
    path.write_bytes(template.read_bytes())
    database = open_store(path)
    database.start()
    futures = [database.batch(inbox.accept, delivery(f"job_{number}")) for number in range(10)]
    await asyncio.to_thread(database.close)
    receipts = await asyncio.gather(*futures)
    assert {receipt.event_id for receipt in receipts} == ids(path)


async def test_what_reads_cannot_write(database: Database) -> None:
    with pytest.raises(StoreUnavailable):
        await database.read(lambda connection: connection.execute(text("DELETE FROM events")))


async def test_commits_are_durable_and_integrity_is_on(database: Database) -> None:
    def pragmas(connection: Connection) -> list[Any]:
        names = ("journal_mode", "synchronous", "foreign_keys")
        return [connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in names]

    assert await database.write(pragmas) == ["wal", 2, 1]


async def test_a_file_that_is_no_database_is_an_outage_with_a_message(tmp_path: Path) -> None:
    path = tmp_path / "no.db"
    path.write_bytes(b"this is not a database, it only looks like a file" * 100)
    database = open_store(path)
    with pytest.raises(StoreUnavailable, match="not a database"):
        database.query(lambda connection: connection.execute(text("SELECT 1")))
    database.close()


@pytest.mark.parametrize(
    ("url", "file"),
    [("sqlite:///data/r.db", "/base/data/r.db"), ("sqlite:////abs/r.db", "/abs/r.db"), ("postgresql://h/d", None)],
)
async def test_an_address_names_a_file_from_the_base_folder(url: str, file: str | None) -> None:
    assert sqlite_path(url, Path("/base")) == (Path(file) if file else None)


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "", "data/receiver.db", "://"])
async def test_an_address_that_is_not_durable_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"names no file|database address"):
        sqlite_path(url, Path("/base"))


@pytest.mark.anyio
async def test_a_write_that_comes_while_the_transaction_is_begun_shares_it(database: Database) -> None:
    shared: list[list[int]] = []

    def note(connection: Connection, items: list[int]) -> list[int]:
        shared.append(list(items))
        return items

    lock = WriteLock(database)
    first = database.batch(note, 1)
    while database.health._waiting_since is None:
        await asyncio.sleep(0)
    rest = [database.batch(note, number) for number in (2, 3)]
    lock.release()
    assert [await one for one in (first, *rest)] == [1, 2, 3]
    assert shared == [[1, 2, 3]]


async def test_a_writer_is_told_when_only_the_commit_is_left(database: Database) -> None:
    """The caller's loop gets what the write returned before the future is done."""
    seen: list[str] = []

    def write(connection: Connection) -> str:
        connection.execute(text("UPDATE events SET duplicates = duplicates"))
        return "written"

    assert await database.write(write, committing=seen.append) == "written"
    assert seen == ["written"]


async def test_a_commit_that_fails_was_announced_and_stores_nothing(database: Database) -> None:
    seen: list[int] = []
    calls = 0

    def write(connection: Connection) -> int:
        nonlocal calls
        calls += 1
        connection.exec_driver_sql("PRAGMA defer_foreign_keys=ON")
        connection.execute(text("INSERT INTO runs (event_id, handler, state, due_at) VALUES ('none', 'h', 'dead', 0)"))
        return calls

    with pytest.raises(exc.IntegrityError):  # found by the commit
        await database.write(write, committing=seen.append)
    assert seen == list(range(1, calls + 1))
    assert await database.read(lambda connection: connection.execute(text("SELECT * FROM runs")).all()) == []


def test_of_the_writes_whose_loop_was_closed_only_those_that_committed_are_told_of(
    database: Database, delivery: Make
) -> None:
    with logged() as lines:
        for reaches_the_store in (False, True):
            loop = asyncio.new_event_loop()
            lock = WriteLock(file_of(database))
            loop.run_until_complete(_begin(database, delivery(f"job_{reaches_the_store}"), reaches_the_store))
            loop.close()
            lock.release()
            while database.waiting:
                time.sleep(0.001)
        database.close()  # the writer's thread has ended
        assert [line["writes"] for line in lines.of("store.committed_late")] == [1]


async def _begin(database: Database, made: Delivery, reaches_the_store: bool) -> None:
    database.batch(inbox.accept if reaches_the_store else _refuse, made)


def _refuse(connection: Connection, items: list[Delivery]) -> list[None]:
    raise StoreUnavailable("away")
