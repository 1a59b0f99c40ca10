"""How often an idle process polls the store, and what wakes it, where processes tell each other what they changed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from receiver import Context, Event, RetryLater, handler
from receiver.engine.changes import DEBOUNCE_SECONDS, Changes
from receiver.engine.dispatcher import POLL_INTERVAL_SECONDS
from receiver.store.changes import QUIET_POLL_SECONDS, Change
from tests.integration.engine_support import Announcing, Gate, engine
from tests.patience import PATIENCE
from tests.stores import Store

pytestmark = pytest.mark.anyio


class Telling(Announcing):
    """Processes that tell each other what they changed; the test says what, and whether one holds leases."""

    quiet = True

    def __init__(self) -> None:
        super().__init__("me", lambda _: None)
        self.tell: Callable[[Change | None], None] = lambda _: None

    def subscribe(self, subscriber: Callable[[Change | None], None]) -> None:
        """The test is who tells."""
        self.tell = subscriber


async def test_while_no_process_holds_leases_the_dispatcher_polls_rarely_and_a_change_wakes_it(store: Store) -> None:
    processes = Telling()
    changes = Changes(processes)
    async with engine(store, processes=processes) as idle:
        changes.listen(Change.RUNS, idle.dispatcher.wake)
        changes.start()
        await idle.until(lambda: idle.clock.seconds[QUIET_POLL_SECONDS] > 0)
        processes.quiet = False
        assert changes.poll_seconds(1.0) == 1.0
        await asyncio.to_thread(processes.tell, Change.RUNS)
        await idle.until(lambda: idle.clock.seconds[POLL_INTERVAL_SECONDS] > 0)


async def test_a_change_calls_its_listeners_and_what_may_have_been_missed_calls_all(store: Store) -> None:
    processes, called = Telling(), list[str]()
    changes = Changes(processes)
    for change in (Change.RUNS, Change.JOBS):
        changes.listen(change, lambda change=change: called.append(change))  # type: ignore[misc]
    changes.start()
    processes.tell(Change.JOBS)
    await asyncio.sleep(0)
    assert called == [Change.JOBS]
    changes.call_all()
    assert called == [Change.JOBS, Change.RUNS, Change.JOBS]


async def test_what_a_lost_answer_may_have_stored_is_told_to_all(store: Store) -> None:
    announced, called = list[Change](), list[str]()
    changes = Changes(Announcing("me", announced.append))
    changes.listen(Change.LEASES, lambda: called.append("leases"))
    changes.start()
    await asyncio.to_thread(changes.changed_perhaps)
    await asyncio.sleep(0)
    assert (announced, called) == ([Change.RUNS, Change.JOBS], ["leases"])


async def test_a_burst_of_changes_calls_a_listener_at_once_and_rarely_after_that(store: Store) -> None:
    processes, called = Telling(), list[Change]()
    changes = Changes(processes)
    ended = asyncio.Event()
    changes.listen(Change.RUNS, lambda: called.append(Change.RUNS))
    changes.listen(Change.JOBS, ended.set)
    changes.start()
    began = asyncio.get_running_loop().time()
    for _ in range(500):
        processes.tell(Change.RUNS)
        await asyncio.sleep(0)
        assert called
    processes.tell(Change.JOBS)
    await asyncio.wait_for(ended.wait(), PATIENCE)
    assert len(called) <= (asyncio.get_running_loop().time() - began) / DEBOUNCE_SECONDS + 2


async def test_other_processes_are_told_of_a_retry_and_of_what_is_released_and_not_of_an_end(
    store: Store, gate: Gate
) -> None:
    announced: list[Change] = []

    @handler(on=Event)
    async def work(event: Event, ctx: Context[Any]) -> None:
        if event.job_id == "again" and ctx.attempt == 1:
            raise RetryLater("in a minute", after=60)
        if event.job_id == "stopped":
            await gate.wait_open()

    async with engine(store, work, signal=gate._signal, announced=announced.append) as up:
        up.new("once")
        await up.until_state("succeeded")
        assert announced == []
        up.new("again")
        await up.until(lambda: announced)
        assert announced == [Change.RUNS]
        announced.clear()
        up.new("stopped")
        await up.until(lambda: gate.inside)
        await up.stop()
        assert announced == [Change.RUNS]
