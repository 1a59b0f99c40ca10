"""Runs that are prefetched: started in their turn, released if they cannot start soon, never at a cost."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy

from receiver import Context, Event, JobCompleted, JobFailed, handler
from receiver.engine.dispatcher import Bounds
from receiver.engine.handler import Handler
from receiver.engine.turn_claims import MAX_PREFETCH_FACTOR, PREFETCH_SECONDS
from receiver.store import runs
from receiver.telemetry.hooks import RELEASED
from tests.integration.engine_support import LEASE, Engine, Gate, ManualClock, engine, telling
from tests.integration.intake_support import Lines
from tests.integration.telemetry_support import Recorder
from tests.stores import Store

pytestmark = [pytest.mark.anyio, pytest.mark.every_database]

Ctx = Context[Any]
FOUR = Bounds(concurrency=4, lease_seconds=LEASE, grace_seconds=3600)
QUICK = [f"quick_{number}" for number in range(40)]
SLOW = [f"slow_{number}" for number in range(50)]


def quick_then_slow(gate: Gate) -> Handler:
    """Nothing holds it up at first, so that runs are prefetched; then everything does."""

    @handler(on=JobCompleted)
    async def work(event: JobCompleted, ctx: Ctx) -> int:
        if event.job_id.startswith("slow"):
            await gate.wait_open()
        return ctx.attempt

    return work


def claimed(up: Engine) -> list[dict[str, Any]]:
    """The runs that are claimed and have not started."""
    return up.runs_where("state = 'running' AND started_at IS NULL")


async def held_up(up: Engine, gate: Gate, slots: int = 4) -> list[dict[str, Any]]:
    """The quick runs have ended, slow ones hold every slot; the runs that are claimed behind them."""
    up.new(*QUICK, *SLOW)
    await up.until(lambda: gate.inside == slots and up.states()["succeeded"] == len(QUICK))
    await up.poll_once()
    prefetched = claimed(up)
    assert slots < len(prefetched) <= MAX_PREFETCH_FACTOR * slots
    assert up.states() == {"succeeded": 40, "running": slots + len(prefetched), "pending": 50 - slots - len(prefetched)}
    return prefetched


async def test_a_backlog_takes_one_commit_for_each_round_of_the_slots(store: Store) -> None:
    @handler(on=Event)
    async def work(event: Event, ctx: Ctx) -> None: ...

    async with engine(store, work, bounds=Bounds(concurrency=16)) as up:
        await up.poll_once()
        commits: list[object] = []
        sqlalchemy.event.listen(up.database._writer_engine, "commit", commits.append)
        up.new(*(f"job_{number}" for number in range(160)))
        await up.until_state("succeeded", 160)
        assert len(commits) - 1 <= 160 / 16 + 2  # one of them stored the events
        assert up.attempts() == [(1, "succeeded")] * 160


async def test_one_commit_lies_between_a_lone_event_and_its_handler(store: Store, gate: Gate) -> None:
    async with engine(store, quick_then_slow(gate), signal=gate._signal) as up:
        await up.poll_once()
        commits: list[object] = []
        up.add("slow_1")
        sqlalchemy.event.listen(up.database._writer_engine, "commit", commits.append)
        up.dispatcher.wake()
        await up.until(lambda: gate.inside)
        assert len(commits) == 1


async def test_what_is_prefetched_starts_in_its_turn_and_runs_once(store: Store, gate: Gate) -> None:
    async with engine(store, quick_then_slow(gate), signal=gate._signal, bounds=FOUR) as up:
        await held_up(up, gate)
        gate.open()
        await up.until_state("succeeded", 90)
        assert gate.peak == 4
        assert {(row["attempt"], row["result"]) for row in up.runs()} == {(1, 1)}
        assert up.attempts() == [(1, "succeeded")] * 90


async def test_a_stop_gives_back_at_once_what_has_not_started(store: Store, gate: Gate, lines: Lines) -> None:
    async with engine(store, quick_then_slow(gate), signal=gate._signal, bounds=FOUR) as up:
        prefetched = await held_up(up, gate)
        with telling(lines, up.signal):
            up.stop_later()
            await up.until(lambda: lines.of("dispatch.waiting_for_handlers"))
        assert up.states() == {"succeeded": 40, "running": 4, "pending": 46}  # the grace period has only begun
        await up.stop()
        rows = {row["event_id"]: row for row in up.runs()}
        for before in prefetched:
            row = rows[before["event_id"]]
            assert (row["attempt"], row["forgiven"], row["crashes"], row["due_at"]) == (1, 1, 0, before["due_at"])
        assert len(up.attempts()) == 44  # of those that ran, four of which were released
    async with engine(store, quick_then_slow(gate), signal=gate._signal) as following:
        gate.open()
        await following.until_state("succeeded", 90)
        assert {row["result"] for row in following.runs()} == {1}  # the first attempt that counts


async def test_every_claim_is_reported_once_and_a_start_or_its_end_follows(store: Store, gate: Gate) -> None:
    recorder = Recorder()
    async with engine(store, quick_then_slow(gate), signal=gate._signal, bounds=FOUR, reporting=(recorder,)) as up:
        prefetched = {(row["event_id"], row["handler"], row["attempt"]) for row in await held_up(up, gate)}
        claimed = [claim.key for (claim,) in recorder.arguments("run_claimed")]
        started = [claim.key for claim, _ in recorder.arguments("run_started")]
        assert len(claimed) == len(set(claimed))
        assert set(claimed) == {*started, *prefetched}
        assert recorder.arguments("claim_ended") == []
        up.stop_later()
        gate.open()
    ended = [(claim.key, reason) for claim, reason in recorder.arguments("claim_ended")]
    assert sorted(ended) == sorted((key, RELEASED) for key in prefetched)
    assert recorder.unended() == []


async def test_behind_slow_runs_nothing_stays_claimed_and_another_process_runs_it(store: Store, gate: Gate) -> None:
    signal = gate._signal
    clock = ManualClock(signal)

    @handler(on=JobCompleted, name="work")
    async def elsewhere(event: Event, ctx: Ctx) -> str:
        return "elsewhere"

    async with (
        engine(store, quick_then_slow(gate), signal=signal, clock=clock, owner="one", bounds=FOUR) as one,
        engine(store, elsewhere, signal=signal, clock=clock, owner="two", start=False) as two,
    ):
        await held_up(one, gate)
        clock.advance(2 * PREFETCH_SECONDS)
        await one.until(lambda: not claimed(one))
        assert one.states() == {"succeeded": 40, "running": 4, "pending": 46}
        await two.start()
        await two.until_state("succeeded", 86)
        assert sum(row["result"] == "elsewhere" for row in two.runs()) == 46
        gate.open()
        await one.until_state("succeeded", 90)


async def test_a_run_that_is_cancelled_while_it_is_prefetched_never_starts(
    store: Store, gate: Gate, lines: Lines
) -> None:
    async with engine(store, quick_then_slow(gate), signal=gate._signal, bounds=FOUR) as up:
        cancelled = (await held_up(up, gate))[0]["event_id"]
        assert up.database.transact(runs.cancel, [(cancelled, "work")], up.clock.now())
        gate.open()
        await up.until_state("succeeded", 89)
        assert up.states() == {"succeeded": 89, "cancelled": 1}
        assert gate.entered == 49
        [line] = lines.of("run.lease_lost")
        assert (line["event"], line["handler"], line["outcome"]) == (cancelled, "work", "not_started")


async def test_prefetched_claims_keep_no_other_handlers_runs_waiting(store: Store, gate: Gate) -> None:
    @handler(on=JobFailed)
    async def other(event: Event, ctx: Ctx) -> str:
        return "done"

    async with engine(store, quick_then_slow(gate), other, signal=gate._signal, bounds=FOUR) as up:
        up.new(*QUICK, *SLOW)
        await up.until(lambda: gate.inside == 3 and claimed(up))  # its own part and the common slots
        up.new("job_1", "job_2", "job_3", "job_4", type="job.failed")
        await up.until(lambda: len(up.runs(handler="other", state="succeeded")) == 4)
        assert (gate.inside, gate.peak) == (3, 3)
        gate.open()
        await up.until_state("succeeded", 94)
        assert gate.peak <= 3


async def test_while_the_handlers_loop_is_blocked_others_may_have_what_was_prefetched(store: Store, gate: Gate) -> None:
    async with engine(store, quick_then_slow(gate), signal=gate._signal, bounds=FOUR) as up:
        await held_up(up, gate)
        up.watch.blocked = "The handler work blocks the handlers' event loop."
        await up.poll_once()
        assert up.states() == {"succeeded": 40, "running": 4, "pending": 46}
        up.watch.blocked = None
        gate.open()
        await up.until_state("succeeded", 90)


async def test_the_lease_of_what_is_prefetched_is_extended(store: Store, gate: Gate) -> None:
    async with engine(store, quick_then_slow(gate), signal=gate._signal, bounds=FOUR) as up:
        await held_up(up, gate)
        up.clock._now += 1e-3  # too little for anything to be given back
        up.dispatcher.leases_ended()
        until = up.clock.now() + LEASE
        await up.until(lambda: {row["lease_until"] for row in claimed(up)} == {until})
