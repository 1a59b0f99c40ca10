"""What jobs cost is counted once, whatever becomes of them, and reservations never exceed the budget."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, select

from receiver.model.budget import Budget, BudgetExceeded, Usage, day_of
from receiver.model.charge import NO_CHARGE, Charge
from receiver.store import inbox, job_leases, jobs, prune, usage
from receiver.store.database import Database
from receiver.store.job_leases import JobClaim
from receiver.store.jobs import NewJob
from receiver.store.leases import Lease
from receiver.store.schema import jobs as jobs_table
from receiver.store.states import JobState
from tests.unit.store.conftest import NOW, MakeDelivery
from tests.unit.store.interleaving import interleave
from tests.unit.store.test_races import at_once

DAY = 86_400.0
_examples = itertools.count()


def new_job(id_: str, characters: int, budget: Budget | None, source: str = "aitts", **values: Any) -> NewJob:
    default: dict[str, Any] = {"client_key": None, "submit_key": "s", "now": NOW, "deadline_at": NOW + 60}
    request = {"text": "x" * characters}
    return NewJob(id=id_, source=source, request=request, characters=characters, budget=budget, **(default | values))


def stored(database: Database, source: str = "aitts", day: str = day_of(NOW)) -> Usage:
    """What the ledger alone says, without the jobs that are not reconciled."""
    rows = database.query(lambda connection: connection.execute(usage.usage.select()).mappings().all())
    [row] = [row for row in rows if (row["source"], row["day"]) == (source, day)] or [None]
    if row is None:
        return Usage()
    return Usage(row["jobs"], row["characters"], row["reserved"], Decimal(row["credits"]))


def claim_one(connection: Connection, id_: str, source: str = "aitts", now: float = NOW) -> JobClaim:
    """Claim this job of all that are due."""
    claimed = job_leases.claim(connection, source, 1000, now, Lease("me", now + 60))
    for other in claimed:
        if other.id != id_:
            job_leases.release(connection, other, now, now)
    return next(found for found in claimed if found.id == id_)


def submit(database: Database, id_: str, charge: Charge = NO_CHARGE, job_id: str = "p1") -> None:
    def write(connection: Connection) -> None:
        claimed = claim_one(connection, id_)
        job_leases.begin_submit(connection, claimed)
        job_leases.mark_submitted(connection, claimed, job_id, NOW, NOW, NOW + 60, charge)

    database.transact(write)


@pytest.mark.pooled
def test_reservations_of_several_processes_never_exceed_the_budget(database: Database) -> None:
    budget = Budget(characters_per_day=100)

    def enqueue(id_: str) -> int:
        try:
            database.transact(jobs.enqueue, new_job(id_, 9, budget))
        except BudgetExceeded:
            return 0
        return 1

    for n in range(4):
        accepted = at_once(*(lambda n=n, k=k: sum(enqueue(f"job_{n}_{k}_{m}") for m in range(2)) for k in range(4)))
        assert sum(accepted) == (8, 3, 0, 0)[n]
    assert stored(database) == Usage(11, 99, 99)


def test_a_day_begins_with_a_whole_budget(database: Database) -> None:
    budget = Budget(characters_per_day=10)
    database.transact(jobs.enqueue, new_job("job_1", 10, budget))
    with pytest.raises(BudgetExceeded) as refused:
        database.transact(jobs.enqueue, new_job("job_2", 1, budget))
    assert (refused.value.used, refused.value.limit, refused.value.requested) == ("10", "10", 1)
    assert refused.value.resets_at.isoformat() == "2023-11-15T00:00:00+00:00"
    assert "10 of 10 characters of today are used" in str(refused.value)
    assert database.query(jobs.get, "job_2") is None
    database.transact(jobs.enqueue, new_job("job_3", 10, budget, now=NOW + DAY))


def test_credits_are_compared_with_what_was_spent(
    database: Database, accept: Callable[..., Any], delivery: MakeDelivery
) -> None:
    budget = Budget(credits_per_day=Decimal("0.3"))
    for n in (1, 2):
        database.transact(jobs.enqueue, new_job(f"job_{n}", 5, budget))
        submit(database, f"job_{n}", job_id=f"p{n}")
    accept(delivery("p1", payload='{"status":"completed","credits_used":0.1}'))
    database.transact(jobs.enqueue, new_job("job_3", 5, budget))
    accept(delivery("p2", payload='{"status":"completed","credits_used":"0.2"}'))
    with pytest.raises(BudgetExceeded) as refused:
        database.transact(jobs.enqueue, new_job("job_4", 5, budget))
    assert (refused.value.unit, refused.value.used, refused.value.requested) == ("credits", "0.3", None)


def test_the_ledger_stays_when_the_jobs_are_deleted(database: Database) -> None:
    database.transact(jobs.enqueue, new_job("job_1", 7, None))
    database.transact(jobs.watch, "job_2", "other", "p2", NOW, NOW, NOW + 60)
    for id_ in ("job_1", "job_2"):
        assert database.transact(jobs.cancel, id_, NOW)
    assert database.transact(prune.delete_jobs, NOW + DAY, ["job_1", "job_2"]) == 2
    assert stored(database) == Usage()  # it was never sent
    assert stored(database, "other") == Usage(1)


def test_a_job_that_another_transaction_holds_is_not_deleted_before_it_is_counted(database: Database) -> None:
    database.transact(jobs.enqueue, new_job("job_1", 7, None))
    database.transact(
        job_leases.mark_not_submitted, database.transact(claim_one, "job_1"), JobState.FAILED, NOW, "x", "x"
    )
    held = select(jobs_table.c.id).with_for_update()
    _, deleted = interleave(
        database,
        lambda connection: connection.execute(held).all(),
        lambda connection: prune.delete_jobs(connection, NOW + DAY, ["job_1"]),
    )
    assert deleted == (0 if database.folder is None else 1)
    assert database.transact(prune.delete_jobs, NOW + DAY, ["job_1"]) == 1 - deleted


def test_a_job_that_is_found_to_be_another_is_counted_once(database: Database) -> None:
    database.transact(jobs.watch, "job_1", "aitts", "p1", NOW, NOW, NOW + 60)
    database.transact(usage.reconcile, "aitts")
    database.transact(jobs.enqueue, new_job("job_2", 7, None))
    submit(database, "job_2", Charge(9))
    database.transact(usage.reconcile, "aitts")
    assert stored(database) == Usage(1, 9, 0)


def test_a_repeated_request_is_answered_although_the_budget_is_used_up(database: Database) -> None:
    budget = Budget(characters_per_day=10)
    first = new_job("job_1", 10, budget, client_key="mine")
    database.transact(jobs.enqueue, first)
    for id_ in ("job_1", "job_2"):
        again = new_job(id_, 10, budget, client_key="mine")
        database.query(jobs.require_budget, again)
        assert database.transact(jobs.enqueue, again)[0]["id"] == "job_1"
    with pytest.raises(BudgetExceeded):
        database.query(jobs.require_budget, new_job("job_3", 1, budget))
    assert stored(database) == Usage(1, 10, 10)


@pytest.mark.parametrize(("lost", "kept"), [(0, Usage()), (1, Usage(1, 7, 7))])
def test_a_refusal_releases_the_characters_unless_an_earlier_answer_was_lost(
    database: Database, lost: int, kept: Usage
) -> None:
    database.transact(jobs.enqueue, new_job("job_1", 7, Budget(characters_per_day=9)))

    def send(connection: Connection, *, refused: bool) -> None:
        claimed = claim_one(connection, "job_1")
        job_leases.begin_submit(connection, claimed)
        if refused:
            job_leases.mark_not_submitted(connection, claimed, JobState.FAILED, NOW, "code", "why")
        else:
            job_leases.reschedule_submit(connection, claimed, NOW, NOW, "code", "why", refused=False)

    for _ in range(lost):
        database.transact(lambda connection: send(connection, refused=False))
    database.transact(lambda connection: send(connection, refused=True))
    database.transact(usage.reconcile, "aitts")
    assert stored(database) == kept


# any order of what can happen to jobs


@dataclass
class ModelJob:
    """What is known of a job, and what it must count."""

    characters: int
    created: float
    state: str = "submitting"
    requests: int = 0
    charged: int | None = None
    credits: Decimal = Decimal(0)

    def used(self) -> Usage:
        if self.state == "cancelled" or (self.state == "refused" and self.requests <= 1):
            return Usage()
        if self.charged is not None:
            return Usage(1, self.charged, 0, self.credits)
        return Usage(1, self.characters, self.characters, self.credits)


@dataclass
class Model:
    """The jobs of one source, in the store and in the model."""

    database: Database
    delivery: MakeDelivery
    source: str
    budget: Budget | None
    now: float = NOW
    jobs: dict[str, ModelJob] = field(default_factory=dict)

    def used(self, day: str) -> Usage:
        found = [job.used() for job in self.jobs.values() if day_of(job.created) == day]
        return (
            Usage(*(sum(values, start=type(values[0])(0)) for values in zip(*found, strict=True))) if found else Usage()
        )

    def pick(self, n: int, *states: str) -> str | None:
        ids = [id_ for id_, job in self.jobs.items() if job.state in states]
        return ids[n % len(ids)] if ids else None

    def enqueue(self, characters: int) -> None:
        id_ = f"job_{self.source}_{len(self.jobs)}"
        before, limit = self.used(day_of(self.now)), self.budget
        chars = None if limit is None else limit.characters_per_day
        credits = None if limit is None else limit.credits_per_day
        refused = (chars is not None and before.characters + characters > chars) or (
            credits is not None and before.credits >= credits
        )
        new = new_job(id_, characters, limit, self.source, now=self.now, deadline_at=self.now + 60)
        if refused:
            with pytest.raises(BudgetExceeded):
                self.database.transact(jobs.enqueue, new)
            return
        for _ in range(2):  # the answer to the first commit may be lost
            self.database.transact(jobs.enqueue, new)
        self.jobs[id_] = ModelJob(characters, self.now)

    def request(self, n: int, outcome: str, charge: int | None) -> None:
        """A submit: `lost`, `refused`, `unknown` or `accepted`."""
        id_ = self.pick(n, "submitting")
        if id_ is None:
            return
        job = self.jobs[id_]
        job.requests += 1

        def write(connection: Connection) -> None:
            claimed = claim_one(connection, id_, self.source, self.now)
            job_leases.begin_submit(connection, claimed)
            if outcome == "lost":
                job_leases.reschedule_submit(connection, claimed, self.now, self.now, "c", "e", refused=False)
            elif outcome == "accepted":
                known = Charge(charge)
                until = self.now + 60
                job_leases.mark_submitted(connection, claimed, f"p-{id_}", self.now, self.now, until, known)
            else:
                state = JobState.FAILED if outcome == "refused" else JobState.UNKNOWN
                job_leases.mark_not_submitted(connection, claimed, state, self.now, "c", "e")

        self.database.transact(write)
        job.state = {"lost": "submitting", "accepted": "watching"}.get(outcome, outcome)
        if outcome == "accepted":
            job.charged = charge

    def end(self, n: int, charge: int | None, credits: str | None, type_: str) -> None:
        """The end of a job, reported twice, and once more by the opposite."""
        id_ = self.pick(n, "watching")
        if id_ is None:
            return
        payload = {"chars_charged": charge, "credits_used": credits}
        known = json.dumps({"status": "completed"} | {name: of for name, of in payload.items() if of is not None})
        opposite = "job.failed" if type_ == "job.completed" else "job.completed"
        for of, text in ((type_, known), (type_, known), (opposite, '{"chars_charged":999}')):
            made = self.delivery(f"p-{id_}", of, self.source, payload=text, event_id=f"evt_{id_}_{of}_{text[:3]}")
            self.database.transact(inbox.accept, [made])
        job = self.jobs[id_]
        job.state = "ended"
        job.charged = job.charged if charge is None else charge
        job.credits = Decimal(credits or 0)

    def poll_end(self, n: int, charge: int | None) -> None:
        id_ = self.pick(n, "watching")
        if id_ is None:
            return

        def write(connection: Connection) -> None:
            claimed = claim_one(connection, id_, self.source, self.now)
            known = Charge(charge)
            for _ in range(2):
                job_leases.complete(connection, claimed, JobState.COMPLETED, self.now, "evt", known, polls=1)

        self.database.transact(write)
        self.jobs[id_].state = "ended"
        self.jobs[id_].charged = self.jobs[id_].charged if charge is None else charge

    def operate(self, n: int, what: str) -> None:
        """What an operator does."""
        if what == "adopt":
            id_ = self.pick(n, "unknown")
            if id_ is not None:
                self.database.transact(jobs.adopt, id_, f"p-{id_}", self.now, self.now + 60)
                self.jobs[id_].state = "watching"
        else:
            id_ = self.pick(n, "unknown", "submitting", "watching", "ended", "refused")
            if id_ is not None and self.database.transact(jobs.cancel, id_, self.now):
                job = self.jobs[id_]
                job.state = "ended" if job.state == "watching" else "cancelled"

    def reconcile(self, *, killed: bool) -> None:
        def write(connection: Connection) -> None:
            usage.reconcile(connection, self.source)
            if killed:
                raise KeyboardInterrupt

        if killed:
            with pytest.raises(KeyboardInterrupt):
                self.database.transact(write)
        else:
            self.database.transact(write)

    def check(self) -> None:
        rows = self.database.query(usage.list_usage, "", self.source)
        days = {day_of(job.created) for job in self.jobs.values()}
        assert {row.day: row.used for row in rows} == {day: of for day in days if (of := self.used(day)) != Usage()}


NUMBER = st.integers(0, 9)
CHARGE = st.none() | st.integers(0, 40)
STEP = st.one_of(
    st.tuples(st.just("enqueue"), st.integers(1, 40)),
    st.tuples(st.just("enqueue"), st.integers(1, 40)),
    st.tuples(st.just("request"), NUMBER, st.sampled_from(["lost", "refused", "unknown", "accepted"]), CHARGE),
    st.tuples(st.just("request"), NUMBER, st.just("accepted"), CHARGE),
    st.tuples(
        st.just("end"),
        NUMBER,
        CHARGE,
        st.sampled_from([None, "0.1", "0.25", "3"]),
        st.sampled_from(["job.completed", "job.failed"]),
    ),
    st.tuples(st.just("poll_end"), NUMBER, CHARGE),
    st.tuples(st.just("operate"), NUMBER, st.sampled_from(["adopt", "cancel"])),
    st.tuples(st.sampled_from(["reconcile", "kill", "tomorrow"])),
)
BUDGET = st.none() | st.builds(
    Budget,
    st.none() | st.integers(1, 120),
    st.none() | st.sampled_from([Decimal("0.1"), Decimal("0.3"), Decimal(4)]),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(budget=BUDGET, steps=st.lists(STEP, max_size=25))
def test_each_job_counts_once_whatever_happens(
    database: Database, delivery: MakeDelivery, budget: Budget | None, steps: list[tuple[Any, ...]]
) -> None:
    model = Model(database, delivery, f"s{next(_examples)}", budget)
    for name, *arguments in steps:
        if name == "tomorrow":
            model.now += DAY
        elif name in ("reconcile", "kill"):
            model.reconcile(killed=name == "kill")
        else:
            getattr(model, name)(*arguments)
        model.check()
    model.reconcile(killed=False)
    for day in {day_of(job.created) for job in model.jobs.values()}:
        assert stored(database, model.source, day) == model.used(day)
