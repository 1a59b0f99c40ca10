"""Between two steps there is a pause; it is longer while deliveries wait, and a little longer only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from sqlalchemy import Connection

from receiver.engine.batch_writer import MAX_BATCH, MAX_PAUSES, MIN_BATCH, PAUSE_FACTOR, BatchWriter
from receiver.store.database import Database
from receiver.store.migrate import migrate
from tests.clocks import SetClock
from tests.stores import Store, open_store

pytestmark = pytest.mark.anyio

STEP_SECONDS = 0.01


@pytest.fixture
def database(store: Store) -> Iterator[Database]:
    database = open_store(store)
    migrate(database)
    database.start()
    yield database
    database.close()


class Steps:
    """Steps that each take the same time, however much they change."""

    def __init__(self, database: Database) -> None:
        self.clock = SetClock()
        self.sizes: list[int] = []
        self.writer = BatchWriter(database, self.clock)

    async def write(self, items: int) -> None:
        """Write so many items."""
        await self.writer.write(self._step, range(items), lambda _: None)

    async def read(self) -> None:
        """Read once."""
        await self.writer.read(self._step, ())

    def _step(self, connection: Connection, batch: Sequence[int]) -> None:
        self.sizes.append(len(batch))
        self.clock.time += STEP_SECONDS


async def test_there_is_a_pause_between_two_steps_and_none_after_the_last(database: Database) -> None:
    steps = Steps(database)
    await steps.write(3 * MIN_BATCH - 1)
    assert steps.clock.waited == pytest.approx([PAUSE_FACTOR * STEP_SECONDS] * (len(steps.sizes) - 1))
    await steps.read()
    assert len(steps.clock.waited) == len(steps.sizes) - 1


async def test_where_deliveries_wait_all_the_time_pauses_are_longer_and_come_to_an_end(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Database, "waiting", 1)
    steps = Steps(database)
    await steps.read()
    await steps.read()
    assert steps.clock.waited == pytest.approx([PAUSE_FACTOR * STEP_SECONDS] * MAX_PAUSES)


@pytest.mark.postgresql
@pytest.mark.parametrize("store_kind", ["postgresql"])
async def test_beside_other_writes_answers_of_a_server_do_not_keep_batches_small(database: Database) -> None:
    steps = Steps(database)
    await steps.write(1000)
    assert steps.sizes[0] == MIN_BATCH
    assert max(steps.sizes) == MAX_BATCH


@pytest.mark.postgresql
@pytest.mark.parametrize("store_kind", ["postgresql"])
async def test_a_batch_is_not_in_the_transaction_of_other_writes(database: Database) -> None:
    def session(connection: Connection, *_: Any) -> int:
        return int(connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one())

    found: list[int] = []
    await BatchWriter(database, SetClock()).write(session, [1], found.append)
    assert found != [await database.write(session)]
