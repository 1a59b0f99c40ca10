"""The rule for crashes over the real store, in simulated time: who becomes a dead letter, and after how many crashes.

A process is claims, ends and a death; everything that it holds is then taken up, as at the next start.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterator, Set
from dataclasses import dataclass, field
from typing import Any

import pytest

from receiver import Context, Event, handler
from receiver.engine.crashes import CrashedRuns
from receiver.model.delivery import Delivery
from receiver.model.retry import RetryPolicy
from receiver.model.slots import Slots
from receiver.store import claims, inbox, runs
from receiver.store.claims import Claim
from receiver.store.database import Database
from receiver.store.runs import RunResult
from receiver.store.states import RunState
from receiver.telemetry.hooks import Telemetry
from tests.claiming import claim_due
from tests.integration.engine_support import NOW, fresh_store, registry
from tests.stores import Store, open_store, query

pytestmark = [pytest.mark.anyio, pytest.mark.every_database]

RESTART = 1.5
"""Seconds from a death to the next start."""
NEVER = float("inf")


@handler(on=Event)
async def work(event: Event, ctx: Context[Any]) -> None: ...


@dataclass
class World:
    """A store, what its runs do, and when somebody kills the process.

    Attributes:
        seconds: job to how long its run takes.
        poison: jobs whose run ends the process when its time is over.
        kills: seconds after each start at which the process is killed; without an end, but for `poison`, once used up.
    """

    database: Database
    crashed: CrashedRuns
    seconds: dict[str, float]
    poison: set[str] = field(default_factory=set)
    kills: list[float] = field(default_factory=list)
    now: float = NOW
    crashes: int = 0

    async def add(self, jobs: dict[str, float], poison: Set[str] = frozenset()) -> None:
        """New events: job to how long its run takes."""
        self.seconds |= jobs
        self.poison |= poison
        deliveries = [
            Delivery(
                event_id=f"evt_{len(self.seconds):016x}{n:016x}", source="aitts", type="job.completed", key=job,
                job_id=job, origin="webhook", payload="{}", body=b"{}", headers="[]", key_id=None, skew=0.0,
                received_at=self.now, handlers=("work",),
            )
            for n, job in enumerate(jobs)
        ]  # fmt: skip
        await self.database.write(inbox.accept, deliveries)

    async def live(self) -> None:
        """One process, from its start to its death or to where nothing is left to do."""
        owner, slots = f"process-{self.crashes}", Slots(16, {"work": None})
        dies_at = self.now + self.kills.pop() if self.kills else NEVER
        held: dict[tuple[float, str], Claim] = {}
        while True:
            free = slots.free({"work": len(held)})
            for claim in await self.database.write(claim_due, free, owner, self.now, self.now + 30):
                job = str(claim.event["job_id"])
                held[self.now + self.seconds[job], job] = claim
            due = await self.database.read(claims.next_due, ["work"], self.now) if free.available("work") else None
            ends_at, job = min(held, default=(NEVER, ""))
            following = min(ends_at, dies_at, NEVER if due is None else max(due, self.now + 0.001))
            if following == NEVER:
                return
            self.now = following
            if dies_at <= self.now or (ends_at <= self.now and job in self.poison):
                break
            if ends_at <= self.now:
                ended = RunResult(held.pop((ends_at, job)), owner, "succeeded", RunState.SUCCEEDED, self.now)
                assert await self.database.batch(runs.finish, ended)
        self.crashes += 1
        self.now += RESTART
        await self.crashed.recover([(claim, owner) for claim in held.values()], self.now)

    def ended(self) -> dict[str, dict[str, Any]]:
        """Job to its run's row."""
        statement = "SELECT job_id, runs.*, attempt - forgiven AS counted FROM runs JOIN events ON id = event_id"
        return {row["job_id"]: row for row in query(self.database, statement)}

    def in_state(self, state: str) -> set[str]:
        """Jobs whose run is in this state."""
        return {job for job, row in self.ended().items() if row["state"] == state}


@pytest.fixture
async def world(store: Store) -> AsyncIterator[World]:
    database = open_store(fresh_store(store))
    database.start()
    rng = random.Random(8)
    yield World(
        database,
        CrashedRuns(database, registry(work), backoff=RetryPolicy(), telemetry=Telemetry(), rng=rng),
        seconds={},
    )
    database.close()


async def until_done(world: World, max_crashes: int) -> None:
    """Live on until all runs have ended, with at most so many crashes more."""
    before = world.crashes
    while world.in_state("pending") or world.in_state("running"):
        await world.live()
        assert world.crashes - before <= max_crashes


async def test_one_poisoned_run_among_ten_is_the_only_dead_letter(world: World) -> None:
    await world.add({f"innocent_{n}": 1.0 for n in range(10)} | {"poison": 0.1}, {"poison"})
    await until_done(world, max_crashes=2 + work.attempts)
    assert world.in_state("dead") == {"poison"}
    assert world.in_state("succeeded") == {f"innocent_{n}" for n in range(10)}
    rows = world.ended()
    assert {row["counted"] for job, row in rows.items() if job != "poison"} == {1}
    assert rows["poison"]["counted"] == work.attempts


async def test_runs_that_take_longer_than_the_poisons_waits_are_not_counted_as_its_victims(world: World) -> None:
    await world.add({f"long_{n}": 60.0 for n in range(4)} | {"poison": 0.1}, {"poison"})
    await until_done(world, max_crashes=2 + work.attempts)
    assert world.in_state("dead") == {"poison"}
    assert {row["counted"] for job, row in world.ended().items() if job != "poison"} == {1}


async def test_a_clock_that_stepped_back_does_not_make_a_crashed_run_wait(world: World) -> None:
    await world.add({"job": 1.0})
    free = Slots(16, {"work": None}).free({})
    [claim] = await world.database.write(claim_due, free, "process", NOW, NOW + 30)
    await world.crashed.recover([(claim, "process")], NOW - 3600)
    assert world.ended()["job"]["due_at"] == NOW - 3600


@pytest.mark.parametrize("restart_waits", [0.0, 600.0], ids=["restarted at once", "restarted after ten minutes"])
async def test_a_new_poison_costs_a_suspect_beside_it_two_attempts_at_most(world: World, restart_waits: float) -> None:
    await world.add({"innocent": 5.0})
    world.kills = [1.0, 1.0]
    await world.live()
    await world.live()
    assert world.ended()["innocent"]["crashes"] == 2
    await world.add({"poison": 0.1}, {"poison"})
    while world.in_state("pending"):
        await world.live()
        world.now += restart_waits
    assert world.in_state("succeeded") == {"innocent"}
    assert world.ended()["innocent"]["counted"] <= 3


async def test_a_hundred_kills_every_five_seconds_make_no_dead_letter(world: World) -> None:
    rng = random.Random(8)
    for n in range(100):
        jobs = {f"job_{n}_{m}": rng.choice([0.05, 0.5, 1.0, 4.0]) for m in range(4)}
        if n % 20 == 0:
            jobs[f"job_{n}_long"] = 30.0  # cannot end between two kills
        await world.add(jobs)
        world.kills = [5.0]
        await world.live()
    assert world.in_state("dead") == set()
    await until_done(world, max_crashes=0)
    assert world.in_state("dead") == set()


@pytest.mark.parametrize("seed", range(3))
async def test_several_poisons_and_kills_make_dead_letters_of_the_poisons_alone(world: World, seed: int) -> None:
    rng = random.Random(seed)
    poison = {f"poison_{n}" for n in range(3)}
    jobs = {job: rng.uniform(0, 2) for job in poison} | {f"job_{n}": rng.uniform(0, 5) for n in range(20)}
    shuffled = list(jobs.items())
    rng.shuffle(shuffled)
    await world.add(dict(shuffled), poison)
    world.kills = [rng.uniform(0.5, 10) for _ in range(10)]
    await until_done(world, max_crashes=10 + 3 * (2 + work.attempts))
    assert world.in_state("dead") == poison
    counted = Counter(row["counted"] for job, row in world.ended().items() if job not in poison)
    assert max(counted) <= 4
