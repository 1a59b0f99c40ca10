"""What a receiver counts is in the store a minute later, or when it stops; an idle one writes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from sqlalchemy import Connection

from receiver import Settings
from receiver.assembly.resources import open_database
from receiver.engine.rollups import MAX_WAITING, RollupWriter
from receiver.errors import StoreUnavailable
from receiver.store.database import Database
from receiver.store.migrate import migrate
from receiver.store.rollups import MINUTE, Kind, Series, Total, add, totals
from receiver.telemetry.rollups import MAX_SERIES, OTHER, RollupTelemetry
from tests.integration.engine_support import ManualClock, Signal
from tests.integration.intake_support import completed, configured, running, signature
from tests.stores import Store, address_of, open_store

pytestmark = [pytest.mark.anyio, pytest.mark.every_database]

AT = 1_700_000_040.0


@pytest.fixture
def settings(tmp_path: Path, store: Store) -> Settings:
    return configured(tmp_path, store={"url": address_of(store)})


@pytest.fixture
def database(store: Store) -> Iterator[Database]:
    database = open_store(store)
    migrate(database)
    database.start()
    yield database
    database.close()


def counts(settings: Settings) -> dict[Series, int]:
    """What is in the store."""
    database = open_database(settings)
    try:
        found = database.query(totals, MINUTE, Kind, 0.0, float("inf"))
    finally:
        database.close()
    return {series: total.count for series, total in found.items()}


async def test_counts_add_up_over_restarts(settings: Settings) -> None:
    for job in ("one", "two"):
        async with running(settings) as up:
            assert (await up.post(completed(job))).status_code == 202
            assert (await up.post(completed(job))).status_code == 202
            forged = signature(completed(job), "another-secret-0123456789")
            assert (await up.post(completed(job), x_tts_signature=forged)).status_code == 401
    found = counts(settings)
    assert {label: count for (kind, name, label), count in found.items() if kind is Kind.DELIVERIES} == {
        "accepted": 2, "duplicate": 2, "mismatch": 2,
    }  # fmt: skip
    assert found[Series(Kind.EVENTS, "aitts", "job.completed")] == 2
    assert found[Series(Kind.RUNS, "log", "succeeded")] == 2
    assert sum(count for (kind, name, _), count in found.items() if (kind, name) == (Kind.RUN_SECONDS, "log")) == 2


class Writes:
    """The part of a database that the writer uses; refuses while `available` is false."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.available = True
        self.calls = 0

    async def write(self, function: object, *args: object) -> None:
        self.calls += 1
        if not self.available:
            raise StoreUnavailable("The disk is full.")
        await self._database.write(function, *args)  # type: ignore[arg-type]


async def test_a_minute_is_written_once_it_has_ended_and_an_idle_one_never(
    database: Database, signal: Signal
) -> None:  # fmt: skip
    clock, counted, writes = ManualClock(signal, AT + 20), RollupTelemetry(), Writes(database)
    writer = RollupWriter(writes, counted, clock, Random(1))  # type: ignore[arg-type]
    writer.start()
    for minute in range(4):
        await signal.until(lambda: len(clock._waiting) == 1)
        if minute == 1:
            counted.job_polled("aitts", "job", "running", None)
        waits = clock.seconds.total()
        clock.advance(MINUTE)
        await signal.until(lambda waits=waits: clock.seconds.total() > waits)  # type: ignore[misc]
    assert writes.calls == 1
    await writer.stop()
    assert writes.calls == 1
    assert database.query(totals, MINUTE, [Kind.POLLS], 0.0, float("inf")) == {
        Series(Kind.POLLS, "aitts", "running"): Total(1, AT + MINUTE)
    }


async def test_counts_wait_for_a_store_that_is_unavailable(database: Database, signal: Signal) -> None:
    clock, counted, writes = ManualClock(signal, AT), RollupTelemetry(), Writes(database)
    writer = RollupWriter(writes, counted, clock, Random(1))  # type: ignore[arg-type]
    writes.available = False
    for minute in range(MAX_WAITING + 10):
        counted.job_polled("aitts", "job", "running", None)
        writer._take(AT + minute * MINUTE)
        await writer._write()
    writes.available = True
    await writer._write()
    await writer._write()
    assert database.query(totals, MINUTE, [Kind.POLLS], 0.0, float("inf"))[
        Series(Kind.POLLS, "aitts", "running")
    ] == Total(MAX_WAITING + 10, AT + (MAX_WAITING - 1) * MINUTE)
    assert writes.calls == MAX_WAITING + 10 + 1


async def test_processes_that_add_at_the_same_time_do_not_stop_each_other(settings: Settings) -> None:
    async with running(settings) as one, running(settings) as other:
        databases = [one.receiver.database, other.receiver.database]

        def count(connection: Connection) -> None:
            add(connection, [(AT, {Series(kind, name, "x"): 1 for kind in Kind for name in "abc"})])

        await asyncio.gather(*(database.write(count) for _ in range(10) for database in databases))
    assert {count for (_, name, _), count in counts(settings).items() if name in "abc"} == {20}


def test_the_number_of_series_is_bounded() -> None:
    counted = RollupTelemetry()
    for number in range(MAX_SERIES + 7):
        counted.job_polled(f"source-{number}", None, "running", None)
    found = counted.take()
    assert len(found) == MAX_SERIES + 1
    assert found[Series(Kind.POLLS, OTHER, OTHER)] == 7
    assert counted.take() == {}
