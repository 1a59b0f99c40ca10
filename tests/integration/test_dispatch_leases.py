"""Leases: kept while a handler works, lost to another owner, taken up after a death, and what a store outage does."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from typing import Any

import pytest

from receiver import Context, Event, handler
from receiver.engine.dispatcher import Bounds
from receiver.store import database as database_module
from receiver.store import runs
from tests.integration.engine_support import HEARTBEAT, LEASE, NOW, Engine, Gate, ManualClock, Signal, engine
from tests.integration.intake_support import Lines
from tests.stores import Store, WriteLock, execute

pytestmark = [pytest.mark.anyio, pytest.mark.every_database]

Ctx = Context[Any]


def take(up: Engine, owner: str = "other") -> None:
    """Another process claims the run, as if this one's lease had ended."""
    statement = "UPDATE runs SET attempt = attempt + 1, lease_owner = :owner, lease_until = :until"
    execute(up.store, statement, owner=owner, until=up.clock.now() + 1000)


# kept


async def test_a_heartbeat_extends_the_lease_of_a_long_handler(store: Store, gate: Gate) -> None:
    @handler(on=Event)
    async def work(event: Event, ctx: Ctx) -> None:
        await gate.wait_open()

    async with engine(store, work, signal=gate._signal) as up:
        up.new("job_1")
        await up.until(lambda: gate.inside)
        assert (up.run()["lease_owner"], up.run()["lease_until"]) == ("me", NOW + LEASE)
        for beat in range(1, 10):  # three leases long
            await up.beat()
            assert up.run()["lease_until"] == NOW + beat * HEARTBEAT + LEASE
        gate.open()
        await up.until_state("succeeded")
        assert up.attempts() == [(1, "succeeded")]


async def test_a_handler_that_blocks_the_loop_keeps_its_lease(store: Store, gate: Gate) -> None:
    @handler(on=Event)
    async def work(event: Event, ctx: Ctx) -> None:
        gate.block()

    async with engine(store, work, signal=gate._signal) as up:
        up.new("job_1")
        await up.until(lambda: gate.inside)
        for beat in range(1, 5):
            await up.beat()
            assert up.run()["lease_until"] == NOW + beat * HEARTBEAT + LEASE
        gate.open()
        await up.until_state("succeeded")


# lost


async def test_an_attempt_whose_lease_was_lost_is_cancelled_and_its_result_discarded(
    store: Store, lines: Lines, gate: Gate
) -> None:
    @handler(on=Event)
    async def work(event: Event, ctx: Ctx) -> str:
        await gate.wait_open()
        return "too late"

    async with engine(store, work, signal=gate._signal) as up:
        up.new("job_1")
        await up.until(lambda: gate.inside)
        take(up)
        theirs = up.run()
        up.clock.advance(HEARTBEAT)
        await up.until(lambda: gate.cancelled and up.is_idle)
        assert up.run() == theirs
        assert up.attempts() == []
        assert lines.of("run.lease_lost")


async def test_a_result_that_comes_after_the_lease_was_lost_is_discarded(
    store: Store, lines: Lines, gate: Gate
) -> None:
    @handler(on=Event)
    async def work(event: Event, ctx: Ctx) -> str:
        await gate.wait_open()
        return "too late"

    async with engine(store, work, signal=gate._signal) as up:
        [event_id] = up.new("job_1")
        await up.until(lambda: gate.inside)
        take(up)
        theirs = up.run()
        gate.open()  # it returns before the next heartbeat
        await up.until(lambda: up.is_idle)
        assert (up.run(), up.attempts()) == (theirs, [])
        [line] = lines.of("run.lease_lost")
        assert (line["event"], line["handler"], line["outcome"]) == (event_id, "work", "succeeded")


async def test_a_run_that_is_cancelled_by_hand_stops_its_handler_at_the_next_heartbeat(
    store: Store, gate: Gate
) -> None:
    @handler(on=Event)
    async def work(event: Event, ctx: Ctx) -> None:
        await gate.wait_open()

    async with engine(store, work, signal=gate._signal) as up:
        [event_id] = up.new("job_1")
        await up.until(lambda: gate.inside)
        assert up.database.transact(runs.cancel, [(event_id, "work")], NOW)
        up.clock.advance(HEARTBEAT)
        await up.until(lambda: gate.cancelled and up.is_idle)
        assert (up.run()["state"], up.run()["error"]) == ("cancelled", "cancelled by an operator")


# taken up after a death


def dead_owner(up: Engine, attempt: int = 1, crashes: int = 0) -> None:
    """A process claimed the run and was killed, and was so before, if the run has crashes already."""
    execute(
        up.store,
        "UPDATE runs SET state = 'running', attempt = :attempt, lease_owner = 'killed', lease_until = :until, "
        "started_at = :now, crashes = :crashes",
        attempt=attempt, until=up.clock.now() + LEASE, now=up.clock.now(), crashes=crashes,
    )  # fmt: skip


async def test_the_run_of_a_process_that_died_is_taken_up_after_its_lease_and_no_attempt_counts(
    store: Store, lines: Lines
) -> None:
    seen: list[int] = []

    @handler(on=Event, attempts=2)
    async def work(event: Event, ctx: Ctx) -> None:
        seen.append(ctx.attempt)

    async with engine(store, work, start=False) as up:
        [event_id] = up.add("job_1")
        dead_owner(up)
        await up.start()
        for _ in range(3):  # the lease is not over yet at exactly its end
            await up.beat()
            assert (up.run()["state"], seen) == ("running", [])
        await up.beat()
        await up.until_state("succeeded")
        assert seen == [1]
        assert up.attempts() == [(1, "crashed"), (2, "succeeded")]
        assert (up.run()["crashes"], up.run()["due_at"]) == (0, NOW)  # in its old place
        [line] = lines.of("run.crashed")
        assert (line["event"], line["owner"], line["crashes"], line["suspect"]) == (event_id, "killed", 1, False)
        assert (line["counts"], line["dead"]) == (False, False)
        assert up.metric('tts_receiver_runs_total{handler="work",outcome="crashed"}') == 1


async def test_a_run_that_kills_its_process_again_and_again_is_dead_after_the_limit(store: Store) -> None:
    @handler(on=Event, attempts=2)
    async def work(event: Event, ctx: Ctx) -> None:
        raise AssertionError("it must not run a third time")

    async with engine(store, work, start=False) as up:
        up.add("job_1")
        dead_owner(up, attempt=2, crashes=3)
        await up.start()
        await up.poll_once()
        await up.beat(LEASE + 1)
        assert up.run()["error"] == "The process ended 4 times in a row while this ran. The attempts are used up."
        assert (up.run()["state"], up.attempts()) == ("dead", [(2, "crashed")])


async def test_a_suspect_waits_at_least_half_of_its_backoff_after_a_crash(store: Store, lines: Lines) -> None:
    @handler(on=Event, attempts=3)
    async def work(event: Event, ctx: Ctx) -> None: ...

    async with engine(store, work, start=False, chance=0.999) as up:
        up.add("job_1")
        dead_owner(up, crashes=2)
        await up.start()
        await up.poll_once()
        await up.beat(LEASE + 1)
        assert (up.run()["state"], up.run()["crashes"]) == ("pending", 3)
        assert 2.5 < up.run()["due_at"] - up.clock.now() < 2.51
        [line] = lines.of("run.crashed")
        assert (line["suspect"], line["counts"], line["dead"], line["again_in"]) == (True, True, False, 2.5)


async def test_a_suspect_that_is_given_back_stays_one(store: Store, gate: Gate) -> None:
    @handler(on=Event)
    async def work(event: Event, ctx: Ctx) -> None:
        await gate.wait_open()

    async with engine(store, work, signal=gate._signal, start=False) as up:
        up.add("job_1")
        execute(up.store, "UPDATE runs SET crashes = 2")
        await up.start()
        await up.until(lambda: gate.inside)
        await up.stop()
        assert (up.run()["state"], up.run()["crashes"], up.attempts()) == ("pending", 2, [(1, "released")])


async def test_a_process_that_froze_for_longer_than_a_lease_does_not_take_its_own_runs_for_crashed(
    store: Store, gate: Gate
) -> None:
    @handler(on=Event)
    async def work(event: Event, ctx: Ctx) -> None:
        await gate.wait_open()

    async with engine(store, work, signal=gate._signal) as up:
        up.new("job_1")
        await up.until(lambda: gate.inside)
        await up.beat(LEASE * 10)
        assert up.run()["lease_until"] == NOW + LEASE * 11
        gate.open()
        await up.until_state("succeeded")
        assert (gate.entered, up.attempts()) == (1, [(1, "succeeded")])


# two processes


async def test_two_dispatchers_on_one_store_run_nothing_twice(store: Store) -> None:
    at_once: Counter[str] = Counter()
    ran: Counter[str] = Counter()
    lock = threading.Lock()

    def note(event: Event) -> None:
        with lock:
            at_once[event.id] += 1
            assert at_once[event.id] == 1
            ran[event.id] += 1

    def done(event: Event) -> None:
        with lock:
            at_once[event.id] -= 1

    @handler(on=Event)
    async def work(event: Event, ctx: Ctx) -> None:
        note(event)
        await asyncio.sleep(0)
        done(event)

    signal = Signal()
    clock = ManualClock(signal)
    few = Bounds(concurrency=4, lease_seconds=LEASE)
    async with (
        engine(store, work, signal=signal, clock=clock, owner="one", bounds=few, start=False) as one,
        engine(store, work, signal=signal, clock=clock, owner="two", bounds=few, start=False) as two,
    ):
        ids = one.add(*(f"job_{number}" for number in range(100)))
        await one.start()
        await two.start()
        await one.until_state("succeeded", 100)
        await two.until_state("succeeded", 100)
        assert ran == dict.fromkeys(ids, 1)
        assert {row["attempt"] for row in one.runs()} == {1}
        done_by = [up.metric('tts_receiver_runs_total{handler="work",outcome="succeeded"}') for up in (one, two)]
        assert sum(done_by) == 100


async def test_what_one_process_holds_the_other_leaves_alone_until_it_dies(
    store: Store, lines: Lines, gate: Gate
) -> None:
    @handler(on=Event, attempts=3)
    async def work(event: Event, ctx: Ctx) -> str:
        if gate.entered:
            return "second"
        await gate.wait_open()
        return "first"

    signal = gate._signal
    clock = ManualClock(signal)
    async with (
        engine(store, work, signal=signal, clock=clock, owner="two") as two,
        engine(store, work, signal=signal, clock=clock, owner="one") as one,
    ):
        await two.poll_once()
        one.new("job_1")
        await one.until(lambda: gate.inside)
        for beat in range(1, 7):
            beats = clock.seconds[HEARTBEAT]
            clock.advance(HEARTBEAT)
            await one.until(lambda beats=beats: clock.seconds[HEARTBEAT] == beats + 2)  # both of them
            assert one.run()["lease_until"] == NOW + beat * HEARTBEAT + LEASE
            await two.poll_once()
        assert (one.run()["lease_owner"], one.attempts()) == ("one", [])
        one.dispatcher._loops[1].cancel()  # it is cut off: no heartbeat, and its handler goes on
        clock.advance(LEASE + HEARTBEAT)
        await two.until_state("succeeded")
        gate.open()
        await one.until(lambda: one.is_idle)
        assert two.run()["result"] == "second"
        assert len(lines.of("run.succeeded")) == 1  # and none of the first, which was thrown away
        [line] = lines.of("run.lease_lost")
        assert (line["outcome"], line["attempt"]) == ("succeeded", 1)
        # Either may have claimed the second attempt; the first one's result counts nowhere.
        succeeded = [up.metric('tts_receiver_runs_total{handler="work",outcome="succeeded"}') for up in (one, two)]
        assert sum(succeeded) == 1
        assert two.attempts() == [(1, "crashed"), (2, "succeeded")]


# a store outage


async def test_a_result_is_kept_while_the_store_is_away_and_written_when_it_is_back(
    store: Store, lines: Lines, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "BUSY_SECONDS", 0.01)

    @handler(on=Event)
    async def work(event: Event, ctx: Ctx) -> str:
        await gate.wait_open()
        return "done once"

    async with engine(store, work, signal=gate._signal) as up:
        up.new("job_1")
        await up.until(lambda: gate.inside)
        lock = WriteLock(store)  # somebody else's long transaction
        gate.open()
        await up.until(lambda: lines.of("run.result_not_stored"))
        assert up.run()["state"] == "running"
        for _ in range(3):
            before = len(lines.of("run.result_not_stored"))
            up.clock.advance(1)
            await up.until(lambda before=before: len(lines.of("run.result_not_stored")) > before)
        lock.release()
        up.clock.advance(1)
        await up.until_state("succeeded")
        assert (up.run()["result"], gate.entered) == ("done once", 1)
        assert up.run()["finished_at"] == NOW  # when it ended, not when it could be written


async def test_dispatch_goes_on_by_itself_after_an_outage(
    store: Store, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "BUSY_SECONDS", 0.01)

    @handler(on=Event)
    async def work(event: Event, ctx: Ctx) -> None: ...

    async with engine(store, work) as up:
        up.add("job_1")
        lock = WriteLock(store)
        up.dispatcher.wake()
        await up.until(lambda: lines.of("dispatch.store_unavailable"))
        lock.release()
        up.clock.advance(1)
        await up.until_state("succeeded")
        assert up.dispatcher.alive


async def test_leases_are_extended_again_after_an_outage(
    store: Store, lines: Lines, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "BUSY_SECONDS", 0.01)

    @handler(on=Event)
    async def work(event: Event, ctx: Ctx) -> None:
        await gate.wait_open()

    async with engine(store, work, signal=gate._signal) as up:
        up.new("job_1")
        await up.until(lambda: gate.inside)
        lock = WriteLock(store)
        await up.beat()
        assert lines.of("dispatch.leases_not_extended")
        lock.release()
        await up.beat()
        assert up.run()["lease_until"] == NOW + 2 * HEARTBEAT + LEASE
        gate.open()
        await up.until_state("succeeded")
        assert up.dispatcher.alive
