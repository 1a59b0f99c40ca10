"""Random work on a real store, beside the model: deliveries, claims, results, crashes, and what an operator does.

Two processes at a time hold runs and jobs. One that is killed may be slow to die: whatever it held is kept, and written
later with its old fencing number, as a process would that was frozen. After each step the whole store is compared.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from receiver.engine.crashes import CrashedRuns
from receiver.engine.plugins import Registry
from receiver.model.delivery import Delivery
from receiver.model.ids import event_id
from receiver.model.slots import Slots
from receiver.store import claims, feed, gauges, inbox, prune, quarantine, runs, turns, waiting_runs
from receiver.store.claims import Claim, ClaimRequest, RunKey
from receiver.store.database import Database
from receiver.store.feed import Cursor
from receiver.store.job_leases import JobClaim
from receiver.store.leases import Held, Lease, end_leases
from receiver.store.runs import RunResult
from receiver.store.states import RunState
from receiver.store.turns import Turn
from receiver.store.waiting_runs import AUDIO_STORAGE
from receiver.telemetry.hooks import Telemetry
from tests.clocks import FixedRandom
from tests.unit.store.model_of_runs import CRASHES, JITTER, ModelOfRuns
from tests.unit.store.model_rows import Key, differences, read_rows

T = TypeVar("T")

NOW = 1_700_000_000.0
LEASE = 30.0
HANDLERS = ("a", "b")
SOURCES = ("one", "two")
JOB_IDS = ("j1", "j2", "j3")
TYPES = ("job.completed", "job.failed", "voice.trained")
OUTCOMES = ("succeeded", "failed", "dead", "released", "postponed")
SLOTS = Slots(100, {"a": 1, "b": 2})
MAX_QUARANTINED = 2
MAX_STALE = 12
TICK = 1 / 128
"""Seconds between one thing and the next, so that no two are due at the same time."""


@dataclass
class Process:
    """What a process knows of what it holds."""

    owner: str
    started: dict[RunKey, Claim] = field(default_factory=dict)
    prefetched: dict[str, list[Claim]] = field(default_factory=dict)
    jobs: list[JobClaim] = field(default_factory=list)


def step(when: Callable[[Any], Any] = bool, **arguments: Any) -> Callable[[Callable[..., None]], Any]:
    """A rule that may apply when `when(self)` is true. After it the processes work, whichever rules hypothesis has
    chosen for an example: it leaves out about half of them, and without claims and results little happens."""

    def decorate(function: Callable[..., None]) -> Any:
        def run(self: Any, data: Any, **values: Any) -> None:
            self.now += TICK
            function(self, data, **values)
            self.now += TICK
            self.work(data)

        run.__name__ = function.__name__
        return precondition(when)(rule(data=st.data(), **arguments)(run))

    return decorate


class RunRules(RuleBasedStateMachine):
    """Events and runs, in a store of its own: which of two equal rows it finds first is then the same each time.

    Args:
        store: empty.
    """

    def __init__(self, store: AbstractContextManager[Database]) -> None:
        super().__init__()
        self.store = store
        self.database = store.__enter__()
        self.now = NOW
        self.numbers = 0
        self.model = ModelOfRuns()
        self.processes = [self._process(), self._process()]
        self.stale: list[tuple[str, Claim]] = []
        self.stale_jobs: list[JobClaim] = []
        self.cursor, self.unread, self.may_repeat = Cursor(), [], False
        self.crashed = CrashedRuns(
            self.database, Registry({}), backoff=CRASHES, telemetry=Telemetry(), rng=FixedRandom(JITTER)
        )

    def teardown(self) -> None:
        self.store.__exit__(None, None, None)

    def transact(self, function: Callable[..., T], *arguments: Any) -> T:
        return self.database.transact(function, *arguments)

    def transact_again(self, function: Callable[..., T], *arguments: Any) -> T:
        """As if the answer to the first commit were lost."""
        found = self.transact(function, *arguments)
        assert self.transact(function, *arguments) == found
        return found

    def number(self) -> int:
        self.numbers += 1
        self.now += TICK
        return self.numbers

    def _process(self) -> Process:
        return Process(f"process_{self.number()}")

    @invariant()
    def the_store_is_as_the_model(self) -> None:
        assert differences(self.database.query(read_rows), self.model) == []

    def has_run(self, *states: str) -> bool:
        return any(run.state in states for run in self.model.runs.values())

    def has_event(self, status: str) -> bool:
        return any(event.status == status for event in self.model.events.values())

    # time

    @step(seconds=st.sampled_from([0.5, 7.0, 31.0, 200.0]))
    def wait(self, data: Any, seconds: float) -> None:
        self.now += seconds

    # deliveries

    def delivery(self, data: Any, **values: Any) -> Delivery:
        chars = data.draw(st.sampled_from([1, 1, 1, 2]), "chars")
        job_id = values.pop("job_id", None) or data.draw(st.sampled_from(JOB_IDS), "job")
        default: dict[str, Any] = {
            "event_id": event_id(self.now, self.number()),
            "source": values.get("source") or data.draw(st.sampled_from(SOURCES), "source"),
            "type": values.get("type") or data.draw(st.sampled_from(TYPES), "type"),
            "key": job_id, "job_id": job_id, "origin": "webhook", "payload": f'{{"chars_charged": {chars}}}',
            "body": b"%d" % chars, "headers": "[]", "key_id": None, "skew": None, "received_at": self.now,
            "handlers": data.draw(st.sampled_from([HANDLERS, ("a",), ("b",), ()]), "handlers"),
        }  # fmt: skip
        return Delivery(**(default | values))

    @step(quarantined=st.lists(st.sampled_from([False, False, True]), min_size=1, max_size=4))
    def deliver(self, data: Any, quarantined: list[bool]) -> None:
        self.accept(data, quarantined)

    def accept(self, data: Any, quarantined: list[bool]) -> None:
        batch = [self.delivery(data, quarantined=value) for value in quarantined]
        receipts = self.transact(inbox.bounded(MAX_QUARANTINED), batch)
        if not any(receipt.duplicate or receipt.refused for receipt in receipts):
            assert self.transact(inbox.bounded(MAX_QUARANTINED), batch) == receipts
        self.expect_accepted(batch, MAX_QUARANTINED, receipts)

    def expect_accepted(self, batch: list[Delivery], max_quarantined: int, receipts: list[Any]) -> None:
        before = set(self.model.events)
        assert receipts == self.model.accept(batch, max_quarantined)
        self.unread += [id for id in self.model.events if id not in before]

    @step(lambda self: self.has_event("quarantined"))
    def release_from_quarantine(self, data: Any) -> None:
        id = self.any_event(data)
        released = bool(self.transact(inbox.release, {id: HANDLERS}, self.now))
        assert released == self.model.release(id, HANDLERS, self.now)

    def any_event(self, data: Any) -> str:
        return str(data.draw(st.sampled_from([*self.model.events, "evt_none"]), "event"))

    # processes

    def process(self, data: Any) -> Process:
        return self.processes[data.draw(st.sampled_from([0, 1]), "process")]

    def work(self, data: Any) -> None:
        """What the processes do between one thing and the next."""
        for what in data.draw(st.sampled_from([(), ("turn",), ("turn",), ("delivery", "turn")]), "work"):
            self.take_turn(data) if what == "turn" else self.accept(data, [False])

    def take_turn(self, data: Any) -> None:
        """The results of some of a process's runs, and new claims, in one transaction."""
        outcomes = data.draw(st.lists(st.sampled_from(OUTCOMES), max_size=4), "outcomes")
        wanted = data.draw(st.sampled_from([{}, {}, {"a": 2}, {"a": 3, "b": 1}]), "wanted")
        one = self.process(data)
        results = [
            self.result(one.owner, claim, outcome)
            for claim, outcome in zip(one.started.values(), outcomes, strict=False)
        ]
        for item in results:
            del one.started[item.claim.key]
        running = {name: sum(claim.handler == name for claim in one.started.values()) for name in HANDLERS}
        lease = Lease(one.owner, self.now + LEASE)
        request = ClaimRequest(SLOTS.free(running), lease, self.now, one.prefetched, wanted)
        written = self.transact(turns.write, Turn(one.owner, results, request=request))
        assert written.held == self.model.finish(results)
        assert written.claimed is not None
        self.model.claim(request, written.claimed)
        one.prefetched = written.claimed.prefetched
        one.started |= {claim.key: claim for claim in written.claimed.started}
        self.keep_stale((one.owner, item.claim) for item in results)

    @step(lambda self: self.stale, outcomes=st.lists(st.sampled_from(OUTCOMES), min_size=1, max_size=4))
    def write_late(self, data: Any, outcomes: list[str]) -> None:
        """Results of attempts that a process may have lost, or has written already."""
        chosen = [data.draw(st.sampled_from(self.stale), "attempt") for _ in outcomes]
        results = [self.result(*attempt, outcome) for attempt, outcome in zip(chosen, outcomes, strict=True)]
        written = self.transact_again(turns.write, Turn("any", results))
        assert written.held == self.model.finish(results)

    def result(self, owner: str, claim: Claim, outcome: str) -> RunResult:
        self.now += TICK
        rest: dict[str, Any] = {
            "succeeded": {"state": RunState.SUCCEEDED, "result": {"attempt": claim.attempt}},
            "failed": {
                "state": RunState.PENDING, "due_at": self.now + 5.0, "error": "It failed.", "error_kind": "ValueError",
                "traceback": f"in attempt {claim.attempt}",
            },
            "dead": {"state": RunState.DEAD, "error": "It failed.", "error_kind": "rejected", "reason": "no_voice"},
            "released": {"state": RunState.PENDING, "due_at": self.now, "forgiven": 1, "crashes": claim.crashes},
            "postponed": {
                "state": RunState.PENDING, "due_at": self.now + 60.0, "forgiven": 1, "waits_for": AUDIO_STORAGE,
            },
        }[outcome]  # fmt: skip
        return RunResult(claim, owner, "failed" if outcome == "dead" else outcome, ended=self.now, **rest)

    def keep_stale(self, held: Iterable[tuple[str, Claim]]) -> None:
        self.stale = [*self.stale, *held][-MAX_STALE:]

    def keep_stale_jobs(self, held: Iterable[JobClaim]) -> None:
        self.stale_jobs = [*self.stale_jobs, *held][-MAX_STALE:]

    @step(lambda self: any(one.prefetched for one in self.processes))
    def release_prefetched(self, data: Any) -> None:
        one = self.process(data)
        claimed = [claim for pool in one.prefetched.values() for claim in pool]
        self.transact(turns.write, Turn(one.owner, releases=claimed))
        self.model.release_claims(claimed, one.owner)
        one.prefetched = {}

    @step(lambda self: self.has_run("running"))
    def extend_leases(self, data: Any) -> None:
        one = self.process(data)
        held = [*one.started.values(), *(claim for pool in one.prefetched.values() for claim in pool)]
        until = self.now + LEASE
        lost = self.transact(claims.extend, [claim.key for claim in held], one.owner, until)
        assert lost == self.model.extend(held, one.owner, until)
        self.keep_stale((one.owner, one.started.pop(key)) for key in lost if key in one.started)

    @step(lambda self: self.has_run("running") or any(one.jobs for one in self.processes))
    def kill(self, data: Any) -> None:
        self.kill_process(data)

    def kill_process(self, data: Any) -> None:
        """A process dies, and another one notices; a third takes its place."""
        one = self.process(data)
        held = self.transact(end_leases, one.owner)
        assert held == Held(self.model.end_leases(one.owner), self.model.jobs.end_leases(one.owner))
        self.keep_stale((one.owner, claim) for claim in one.started.values())
        self.keep_stale_jobs(one.jobs)
        self.processes[self.processes.index(one)] = self._process()

    @step(lambda self: self.has_run("pending"), times=st.integers(1, 4))
    def crash_at_work(self, data: Any, times: int) -> None:
        """A process that dies soon after each start, however often it is started."""
        for _ in range(times):
            self.take_turn(data)
            self.kill_process(data)
            self.recover_expired()

    @step(lambda self: self.has_run("running"))
    def recover(self, data: Any) -> None:
        self.recover_expired()

    def recover_expired(self) -> None:
        """What each dispatcher does with leases that have expired."""
        lapsed = any(run.state == "running" and (run.lease_until or 0.0) < self.now for run in self.model.runs.values())
        assert self.database.query(claims.has_expired, self.now) == lapsed
        self.transact(claims.release_expired, self.now)
        found = self.database.query(claims.expired, self.now)
        asyncio.run(self.crashed.recover(found, self.now))
        self.model.recover(self.now)

    # an operator, and time

    def keys(self, data: Any) -> list[Key]:
        accepted = [event.id for event in self.model.events.values() if event.status == "accepted"]
        pairs = [(id, name) for id in [*accepted, "evt_none"] for name in HANDLERS]
        found: list[Key] = data.draw(st.lists(st.sampled_from(pairs), max_size=4, unique=True), "runs")
        return found

    @step(lambda self: self.model.runs)
    def replay(self, data: Any) -> None:
        keys = list({key[1]: key for key in self.keys(data)}.values())  # of one handler's runs only one
        assert self.transact(runs.replay, keys, self.now) == self.model.replay(keys, self.now)

    @step(lambda self: self.has_run("pending", "running"))
    def cancel(self, data: Any) -> None:
        keys = self.keys(data)
        assert sorted(self.transact(runs.cancel, keys, self.now)) == sorted(self.model.cancel(keys, self.now))

    @step(lambda self: any(run.waits_for for run in self.model.runs.values()))
    def the_audio_storage_is_back(self, data: Any) -> None:
        waiting = sum(run.waits_for is not None for run in self.model.runs.values())
        assert self.database.query(waiting_runs.count) == waiting
        assert self.transact(waiting_runs.release, 1, self.now) == 1
        self.model.release_waiting(self.now)

    @step(lambda self: self.model.prunable(self.now), age=st.sampled_from([0.0, 40.0, 300.0]))
    def prune(self, data: Any, age: float) -> None:
        before = self.now - age
        page = self.database.query(prune.find_events, before, None, 1000)
        assert page.ids == self.model.prunable(before)
        assert self.transact(prune.delete_events, before, page.ids) == len(page.ids)
        self.model.delete(page.ids)
        self.may_repeat = self.may_repeat or self.cursor.event_id in page.ids
        self.unread = [id for id in self.unread if id in self.model.events]

    # readers

    @step()
    def follow_the_feed(self, data: Any) -> None:
        """Every event once, in the order of the commits; only after a reader's last event was pruned, some again."""
        found = self.database.query(feed.events_after, self.cursor, 1000)
        ids = [summary["id"] for _, summary in found]
        again = len(ids) - len(self.unread)
        assert ids[again:] == self.unread
        assert again == 0 or self.may_repeat
        if found:
            self.cursor, self.may_repeat = found[-1][0], False
        self.unread = []

    @step()
    def look_at_the_gauges(self, data: Any) -> None:
        depth = self.database.query(gauges.depth, self.now)
        counted: dict[tuple[str, str], int] = {}
        for (_, name), run in self.model.runs.items():
            if run.state in ("pending", "running", "dead"):
                counted[name, run.state] = counted.get((name, run.state), 0) + 1
        assert depth.by_handler == counted
        held = [event.source for event in self.model.events.values() if event.status == "quarantined"]
        assert self.database.query(quarantine.counts) == {source: held.count(source) for source in set(held)}
