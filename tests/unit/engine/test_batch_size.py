"""The size of a batch follows what its statements take, and not what they happened to wait for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from sqlalchemy import Connection

from receiver.engine.batch_writer import BATCH_SECONDS, MAX_BATCH, MIN_BATCH, BatchWriter
from receiver.store.database import Database
from receiver.store.migrate import migrate
from tests.clocks import SetClock
from tests.stores import open_store

pytestmark = pytest.mark.anyio

ITEM_SECONDS = BATCH_SECONDS / (MAX_BATCH + 20)
"""So fast that the largest batch fits."""
SLOW_ITEM_SECONDS = BATCH_SECONDS / (MIN_BATCH + 10)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = open_store(tmp_path / "store.db")
    migrate(database)
    database.start()
    yield database
    database.close()


async def sizes(database: Database, seconds: Callable[[int, int], float], items: int = 2000) -> list[int]:
    """The sizes of batches that take `seconds(number of the batch, its size)`."""
    clock, found = SetClock(), list[int]()

    def work(connection: Connection, batch: Sequence[int]) -> None:
        clock.time += seconds(len(found), len(batch))
        found.append(len(batch))

    await BatchWriter(database, clock).write(work, range(items), lambda _: None)
    return found


async def test_batches_that_wait_now_and_then_grow_all_the_same(database: Database) -> None:
    waited = await sizes(database, lambda number, size: size * ITEM_SECONDS + (0.05 if number % 3 else 0.0))
    assert waited[0] == MIN_BATCH
    assert waited[4:-1] == [MAX_BATCH] * len(waited[4:-1])


async def test_batches_whose_statements_are_slow_stay_small_and_become_so_again(database: Database) -> None:
    slow = await sizes(database, lambda number, size: size * SLOW_ITEM_SECONDS)
    assert max(slow) <= BATCH_SECONDS / SLOW_ITEM_SECONDS
    later = await sizes(database, lambda number, size: size * (ITEM_SECONDS if number < 8 else SLOW_ITEM_SECONDS))
    assert later[7] == MAX_BATCH
    assert max(later[12:]) <= BATCH_SECONDS / SLOW_ITEM_SECONDS
