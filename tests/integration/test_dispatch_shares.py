"""One handler's slow runs keep no other handler's quick ones waiting: each has slots that the others cannot take."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from receiver import Context, Event, JobCompleted, JobFailed, handler
from receiver.engine.dispatcher import Bounds
from receiver.engine.handler import Handler
from receiver.store import runs
from receiver.store.changes import Change
from tests.integration.engine_support import Engine, Gate, Signal, ended, engine, receiving, telling
from tests.integration.intake_support import Lines, completed, configured
from tests.stores import Store

pytestmark = [pytest.mark.anyio, pytest.mark.every_database]

Ctx = Context[Any]
SIXTEEN = [f"slow_{number}" for number in range(16)]
Kind = Callable[[Gate], Handler]


def that_awaits(gate: Gate) -> Handler:
    @handler(on=JobCompleted)
    async def slow(event: Event, ctx: Ctx) -> None:
        await gate.wait_open()

    return slow


def plain(gate: Gate) -> Handler:
    @handler(on=JobCompleted)
    def slow(event: Event, ctx: Ctx) -> None:
        gate.block()

    return slow


def with_threads(gate: Gate) -> Handler:
    @handler(on=JobCompleted)
    async def slow(event: Event, ctx: Ctx) -> None:
        await asyncio.to_thread(gate.block)

    return slow


@handler(on=JobFailed)
async def quick(event: Event, ctx: Ctx) -> str:
    """Ends soon, but needs a thread for it, as a look-up of a name or a piece of a file does."""
    return await asyncio.to_thread(lambda: "done")


async def held_up(up: Engine, gate: Gate, slots: int) -> None:
    """Sixteen slow runs are due, as many of them as can be hold a slot, and the others are left where they are."""
    up.new(*SIXTEEN)
    await up.until(lambda: gate.inside >= slots)
    await up.poll_once()
    assert up.states() == {"running": slots, "pending": 16 - slots}


@pytest.mark.parametrize("kind", [that_awaits, plain, with_threads])
async def test_sixteen_slow_runs_of_one_handler_keep_no_other_handler_waiting(store: Store, kind: Kind) -> None:
    gate = Gate(Signal())
    async with engine(store, kind(gate), quick, signal=gate._signal) as up:
        await held_up(up, gate, 12)
        up.new(*(f"quick_{number}" for number in range(10)), type="job.failed")
        await up.until(lambda: len(up.runs(handler="quick", state="succeeded")) == 10)
        assert (gate.inside, len(up.runs(handler="slow", state="pending"))) == (12, 4)
        gate.open()
        await up.until_state("succeeded", 26)


async def test_with_fewer_slots_than_handlers_each_handler_has_one(store: Store) -> None:
    gate = Gate(Signal())
    async with engine(store, that_awaits(gate), quick, signal=gate._signal, bounds=Bounds(concurrency=1)) as up:
        await held_up(up, gate, 1)
        up.new("quick_1", "quick_2", type="job.failed")
        await up.until(lambda: len(up.runs(handler="quick", state="succeeded")) == 2)
        assert gate.inside == gate.peak == 1


async def test_a_handlers_own_bound_leaves_its_slots_to_the_others(store: Store) -> None:
    gate, narrow = Gate(Signal()), replace(quick, concurrency=1)
    async with engine(store, that_awaits(gate), narrow, signal=gate._signal) as up:
        await held_up(up, gate, 15)
        up.new("quick_1", type="job.failed")
        await up.until(lambda: up.runs(handler="quick", state="succeeded"))


async def test_a_retry_and_a_replay_are_not_kept_waiting_either(store: Store) -> None:
    gate = Gate(Signal())

    @handler(on=JobFailed, attempts=2)
    async def at_the_second_try(event: Event, ctx: Ctx) -> None:
        if ctx.attempt == 1:
            raise ValueError("not yet")

    async with engine(store, that_awaits(gate), at_the_second_try, signal=gate._signal) as up:
        [event_id] = up.new("quick", type="job.failed")
        await up.until(lambda: up.attempts() == [(1, "failed")])
        up.new(*SIXTEEN)
        await up.until(lambda: gate.inside >= 12)
        up.clock.advance(3600)
        await up.until(lambda: up.runs(handler="at_the_second_try", state="succeeded"))

        up.database.transact(runs.replay, [(event_id, "at_the_second_try")], up.clock.now())
        up.dispatcher.wake()
        await up.until(lambda: up.attempts()[2:] == [(3, "failed")])
        assert gate.inside == 12


async def test_slow_runs_that_are_replayed_together_keep_no_other_handler_waiting(store: Store) -> None:
    gate = Gate(Signal())
    async with engine(store, that_awaits(gate), quick, signal=gate._signal, start=False) as up:
        ids = up.add(*SIXTEEN, handlers=())
        for event_id in ids:
            up.database.transact(runs.replay, [(event_id, "slow")], up.clock.now())
        await up.start()
        await up.until(lambda: gate.inside >= 12)
        up.new("quick_1", type="job.failed")
        await up.until(lambda: up.runs(handler="quick", state="succeeded"))
        assert gate.inside == 12


async def test_a_receiver_runs_one_handler_for_each_delivery_while_another_hangs(tmp_path: Path, lines: Lines) -> None:
    gate = Gate(Signal())

    @handler(on=JobCompleted)
    def hangs(event: Event, ctx: Ctx) -> None:
        gate.block()

    @handler(on=JobCompleted)
    async def goes_on(event: Event, ctx: Ctx) -> None:
        await asyncio.to_thread(lambda: None)

    async with receiving(configured(tmp_path), hangs, goes_on) as up:
        with telling(lines, gate._signal):
            for number in range(20):
                assert (await up.post(completed(f"job_{number}"))).status_code == 202
            await ended(lines, gate._signal, 20)
        assert {line["handler"] for line in lines.of("run.succeeded")} == {"goes_on"}
        await gate._signal.until(lambda: gate.inside >= 12)  # a thread begins when the machine lets it
        assert gate.inside == 12
        gate.open()


async def test_a_place_of_all_processes_that_becomes_free_is_taken_by_another_at_once(store: Path) -> None:
    gate, others = Gate(Signal()), list[Engine]()
    narrow = replace(that_awaits(gate), concurrency=1, across="cluster")

    def wake_others(_: Change) -> None:
        for other in others:
            other.dispatcher.wake()

    async with engine(store, narrow, signal=gate._signal, owner="one", announced=wake_others) as one:
        one.new("slow_1", "slow_2")
        await one.until(lambda: gate.inside == 1)
        async with engine(store, narrow, signal=gate._signal, owner="two") as two:
            others.append(two)
            await two.poll_once()
            one.stop_later()  # it takes no other run
            await one.until(lambda: one.dispatcher._claims_ended.is_set())
            assert (gate.inside, one.states()) == (1, {"pending": 1, "running": 1})
            gate.open()
            await two.until_state("succeeded", 2)  # its clock stands still: it does not poll
    assert gate.peak == 1
