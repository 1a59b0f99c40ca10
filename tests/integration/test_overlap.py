"""With many slots and a store in PostgreSQL, a second turn is written beside the first: nothing else changes."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from receiver import Context, Event, handler
from receiver.engine.dispatcher import Bounds
from receiver.engine.handler import Handler
from receiver.engine.turn_claims import OVERLAP_RUNS, Overlap
from tests.integration.engine_support import LEASE, Engine, Gate, engine
from tests.integration.intake_support import Lines
from tests.patience import PATIENCE
from tests.stores import Store, query

pytestmark = pytest.mark.anyio
in_postgresql = pytest.mark.parametrize("store_kind", ["postgresql"])

Ctx = Context[Any]
SLOTS = 4 * OVERLAP_RUNS
MANY = Bounds(concurrency=SLOTS, lease_seconds=LEASE, grace_seconds=3600)
JOBS = [f"job_{number}" for number in range(12 * SLOTS)]


class Seen:
    """What the handlers see: how often each job was started, and how many were at work at one time."""

    def __init__(self) -> None:
        self.started: Counter[str] = Counter()
        self.at_work = self.peak = 0

    def handler(self, **options: Any) -> Handler:
        @handler(on=Event, **options)
        async def work(event: Event, ctx: Ctx) -> None:
            self.started[str(event.job_id)] += 1
            self.at_work += 1
            self.peak = max(self.peak, self.at_work)
            for _ in range(50):  # while other turns start runs
                await asyncio.sleep(0)
            self.at_work -= 1

        return work


@pytest.fixture
def second_turns(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """One entry for each second turn."""
    begun: list[object] = []
    begin = Overlap.begin

    def count(self: Overlap, turn: Any) -> None:
        begun.append(turn)
        begin(self, turn)

    monkeypatch.setattr(Overlap, "begin", count)
    return begun


async def all_succeeded(up: Engine) -> None:
    async with asyncio.timeout(PATIENCE):
        await up.until(lambda: up.is_idle and up.states() == {"succeeded": len(JOBS)})


@in_postgresql
async def test_turns_overlap_and_each_run_is_executed_once_within_the_slots(
    store: Store, second_turns: list[object]
) -> None:
    seen = Seen()
    async with engine(store, seen.handler(), bounds=MANY) as up:
        up.new(*JOBS)
        await all_succeeded(up)
        assert second_turns
        assert seen.started == dict.fromkeys(JOBS, 1)
        assert seen.peak <= SLOTS
        assert up.attempts() == [(1, "succeeded")] * len(JOBS)


@in_postgresql
async def test_a_handler_keeps_its_own_bound(store: Store, second_turns: list[object]) -> None:
    seen = Seen()
    async with engine(store, seen.handler(concurrency=SLOTS - 7), bounds=MANY) as up:
        up.new(*JOBS)
        await all_succeeded(up)
        assert second_turns
        assert seen.peak <= SLOTS - 7


@in_postgresql
async def test_slots_that_one_claim_leaves_free_are_filled_at_once(store: Store, gate: Gate) -> None:
    @handler(on=Event)
    async def work(event: Event, ctx: Ctx) -> None:
        await gate.wait_open()

    async with engine(store, work, bounds=MANY, signal=gate._signal) as up:
        up.new(*JOBS)
        await up.until(lambda: gate.inside == SLOTS)  # no time passes
        gate.open()
        await all_succeeded(up)
        assert gate.peak <= SLOTS


@pytest.mark.postgresql
@in_postgresql
async def test_results_outlast_a_server_that_ends_both_connections(
    store: Store, second_turns: list[object], lines: Lines
) -> None:
    seen = Seen()
    async with engine(store, seen.handler(), bounds=MANY) as up:
        up.new(*JOBS)
        await up.until(lambda: second_turns)
        query(
            store,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid != pg_backend_pid()",
        )
        await up.until(lambda: not up.dispatcher._claims_unknown and _advance(up))
        await all_succeeded(up)
        # A claim whose commit was not answered is released: it has not started.
        assert {outcome for _, outcome in up.attempts()} == {"succeeded"}
        assert len(up.attempts()) == len(JOBS)
        assert seen.started == dict.fromkeys(JOBS, 1)


def _advance(up: Engine) -> bool:
    up.clock.advance(1.0)  # what waits for the store tries again
    return True


@in_postgresql
async def test_a_stop_waits_for_both_turns(store: Store, second_turns: list[object]) -> None:
    seen = Seen()
    async with engine(store, seen.handler(), bounds=MANY) as up:
        up.new(*JOBS)
        await up.until(lambda: second_turns)
        await up.dispatcher.stop()
        states = up.states()
        assert states["running"] == 0
        assert states["succeeded"] == len(up.attempts()) == sum(seen.started.values())
        assert set(seen.started.values()) == {1}


@pytest.mark.parametrize(("store_kind", "slots"), [("sqlite", SLOTS), ("postgresql", 2 * OVERLAP_RUNS - 1)])
async def test_one_turn_at_a_time_where_two_would_be_slower(
    store: Store, slots: int, second_turns: list[object]
) -> None:
    async with engine(store, Seen().handler(), bounds=Bounds(concurrency=slots, lease_seconds=LEASE)) as up:
        up.new(*JOBS)
        await all_succeeded(up)
        assert not second_turns
