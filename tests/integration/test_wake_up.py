"""What wakes an idle process on PostgreSQL for the runs of others: a word, a lost connection, and the rare poll.

The clock stands still: a process polls only when the test moves it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from receiver import Context, Event, handler
from receiver.engine.changes import Changes
from receiver.store.backend import Processes
from receiver.store.backends import backend_of
from receiver.store.changes import QUIET_POLL_SECONDS, Change
from tests.clocks import SetClock
from tests.integration.engine_support import Engine, ManualClock, Signal, engine
from tests.stores import Store, address_of, execute

pytestmark = [pytest.mark.anyio, pytest.mark.postgresql]


@pytest.fixture
def store_kind() -> str:
    """The processes of a SQLite store poll."""
    return "postgresql"


@handler(on=Event)
async def work(event: Event, ctx: Context[Any]) -> None: ...


@asynccontextmanager
async def idle(store: Store) -> AsyncIterator[Engine]:
    """A process that has joined the others, and waits while no process holds leases."""
    signal = Signal()
    clock = ManualClock(signal)
    processes = backend_of(address_of(store), Path("/")).processes("me", clock, random.Random(0))
    changes = Changes(processes)
    async with engine(store, work, signal=signal, clock=clock, processes=processes, start=False) as made:
        changes.listen(Change.RUNS, made.dispatcher.wake)
        changes.start()
        await asyncio.to_thread(processes.join)
        await asyncio.to_thread(processes.find_dead)
        await made.start()
        await made.until(lambda: clock.seconds[QUIET_POLL_SECONDS])
        try:
            yield made
        finally:
            await asyncio.to_thread(processes.close)


async def test_the_word_of_another_process_wakes_one_that_waits(store: Store) -> None:
    other: Processes = backend_of(address_of(store), Path("/")).processes("other", SetClock(), random.Random(0))
    async with idle(store) as up:
        await asyncio.to_thread(other.join)
        up.add("job_1")
        assert up.run()["state"] == "pending"
        other.announce(Change.RUNS)
        await up.until_state("succeeded")
        await asyncio.to_thread(other.close)


async def test_a_word_that_is_lost_with_the_connection_is_made_up_for_when_that_is_noticed(store: Store) -> None:
    async with idle(store) as up:
        up.add("job_1")  # as if the word about it had been on its way
        assert up.run()["state"] == "pending"
        execute(
            store,
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND database ="
            " (SELECT oid FROM pg_database WHERE datname = current_database())",
        )
        await up.until_state("succeeded")


async def test_a_word_that_was_never_sent_is_made_up_for_by_the_rare_poll(store: Store) -> None:
    async with idle(store) as up:
        up.add("job_1")
        up.clock.advance(QUIET_POLL_SECONDS - 1)
        assert up.run()["state"] == "pending"
        up.clock.advance(1)
        await up.until_state("succeeded")
