"""An orderly end: no new runs, a grace period for those at work, the rest given back as if never begun."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from receiver import Context, Event, JobCompleted, JobFailed, handler
from receiver.engine.dispatcher import Bounds
from receiver.store import database as database_module
from tests.integration.engine_support import LEASE, Engine, Gate, engine, telling
from tests.integration.intake_support import Lines
from tests.patience import PATIENCE
from tests.stores import Store, WriteLock

pytestmark = [pytest.mark.anyio, pytest.mark.every_database]

Ctx = Context[Any]
SHORT = Bounds(lease_seconds=LEASE, grace_seconds=0.05)
LONG = Bounds(lease_seconds=LEASE, grace_seconds=3600)


async def begin_to_stop(up: Engine, lines: Lines) -> asyncio.Task[None]:
    """Returns when the grace period has begun."""
    stopping = asyncio.create_task(up.dispatcher.stop())
    with telling(lines, up.signal):
        await up.until(lambda: lines.of("dispatch.waiting_for_handlers"))
    return stopping


async def test_a_running_handler_finishes_within_the_grace_and_nothing_new_starts(
    store: Store, gate: Gate, lines: Lines
) -> None:
    @handler(on=Event)
    async def work(event: Event, ctx: Ctx) -> str:
        await gate.wait_open()
        return "done"

    async with engine(store, work, signal=gate._signal, bounds=LONG) as up:
        up.new("job_1")
        await up.until(lambda: gate.inside)
        stopping = await begin_to_stop(up, lines)
        up.new("job_2")
        gate.open()
        async with asyncio.timeout(PATIENCE):
            await stopping
        assert [(row["state"], row["result"], row["attempt"]) for row in up.runs()] == [
            ("succeeded", "done", 1),
            ("pending", None, 0),
        ]
        assert not up.dispatcher.busy


async def test_a_lease_is_extended_during_the_grace_as_well(store: Store, gate: Gate, lines: Lines) -> None:
    @handler(on=Event)
    async def work(event: Event, ctx: Ctx) -> None:
        await gate.wait_open()

    async with engine(store, work, signal=gate._signal, bounds=LONG) as up:
        up.new("job_1")
        await up.until(lambda: gate.inside)
        stopping = await begin_to_stop(up, lines)
        up.clock.advance(LEASE)
        await up.until(lambda: up.run()["lease_until"] == up.clock.now() + LEASE)
        gate.open()
        await stopping
        assert up.run()["state"] == "succeeded"


async def test_a_handler_that_outlasts_the_grace_is_given_back_and_the_attempt_does_not_count(
    store: Store, gate: Gate, lines: Lines
) -> None:
    @handler(on=Event, attempts=1)
    async def work(event: Event, ctx: Ctx) -> int:
        if gate.entered == 0:
            await gate.wait_open()
        return ctx.attempt

    async with engine(store, work, signal=gate._signal, bounds=SHORT) as up:
        up.new("job_1")
        await up.until(lambda: gate.inside)
        await up.dispatcher.stop()
        await up.until(lambda: gate.cancelled)
        row = up.run()
        assert (row["state"], row["lease_owner"], row["error"]) == ("pending", None, None)
        assert (row["attempt"], row["forgiven"], row["due_at"]) == (1, 1, up.clock.now())
        assert up.attempts() == [(1, "released")]
        assert lines.of("run.released")
    async with engine(store, work) as next_process:
        await next_process.until_state("succeeded")
        assert next_process.run()["result"] == 1


@pytest.mark.parametrize("kind", ["plain", "blocking"])
async def test_a_handler_that_cannot_be_cancelled_is_given_back_as_well(store: Store, gate: Gate, kind: str) -> None:
    def plain(event: Event, ctx: Ctx) -> str:
        gate.block()
        return "too late"

    async def blocking(event: Event, ctx: Ctx) -> str:
        return plain(event, ctx)

    work = handler(on=Event, name="work")(plain if kind == "plain" else blocking)
    async with engine(store, work, signal=gate._signal, bounds=SHORT) as up:
        up.new("job_1")
        await up.until(lambda: gate.inside)
        async with asyncio.timeout(PATIENCE):
            await up.dispatcher.stop()
        gate.open()
        await up.until(lambda: not gate.inside)
        assert (up.run()["state"], up.run()["result"]) == ("pending", None)
        assert up.attempts() == [(1, "released")]


async def test_of_two_handlers_one_finishes_and_the_other_is_given_back(store: Store, gate: Gate, lines: Lines) -> None:
    @handler(on=JobCompleted)
    async def slow(event: Event, ctx: Ctx) -> None:
        await asyncio.Event().wait()

    @handler(on=JobFailed)
    async def quick(event: Event, ctx: Ctx) -> None:
        await gate.wait_open()

    async with engine(store, slow, quick, signal=gate._signal, bounds=LONG) as up:
        up.new("job_1")
        up.new("job_2", type="job.failed")
        await up.until(lambda: gate.inside and up.states()["running"] == 2)
        stopping = await begin_to_stop(up, lines)
        gate.open()
        await up.until_state("succeeded")
        up.dispatcher.end_grace_period()  # as the end of the grace period
        await stopping
        assert {row["handler"]: row["state"] for row in up.runs()} == {"slow": "pending", "quick": "succeeded"}


async def test_a_second_signal_ends_the_grace_at_once(store: Store, gate: Gate, lines: Lines) -> None:
    @handler(on=Event)
    async def work(event: Event, ctx: Ctx) -> None:
        await gate.wait_open()

    async with engine(store, work, signal=gate._signal, bounds=LONG) as up:
        up.new("job_1")
        await up.until(lambda: gate.inside)
        stopping = await begin_to_stop(up, lines)
        up.dispatcher.end_grace_period()
        async with asyncio.timeout(PATIENCE):
            await stopping
        assert up.run()["state"] == "pending"


async def test_an_idle_dispatcher_stops_at_once(store: Store) -> None:
    @handler(on=Event)
    async def work(event: Event, ctx: Ctx) -> None: ...

    async with engine(store, work, bounds=LONG) as up:
        await up.poll_once()
        assert up.dispatcher.alive
        async with asyncio.timeout(PATIENCE):
            await up.dispatcher.stop()
        assert not up.dispatcher.alive


async def test_a_result_that_cannot_be_stored_does_not_hold_up_the_end(
    store: Store, gate: Gate, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "BUSY_SECONDS", 0.01)

    @handler(on=Event)
    async def work(event: Event, ctx: Ctx) -> None:
        await gate.wait_open()

    async with engine(store, work, signal=gate._signal, bounds=SHORT) as up:
        up.new("job_1")
        await up.until(lambda: gate.inside)
        lock = WriteLock(store)
        gate.open()
        await up.until(lambda: lines.of("run.result_not_stored"))
        async with asyncio.timeout(PATIENCE):
            await up.dispatcher.stop()
        lock.release()
        assert (up.run()["state"], up.run()["lease_owner"]) == ("running", "me")  # until its lease ends
