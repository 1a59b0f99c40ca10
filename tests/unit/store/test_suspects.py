"""Suspects: one runs at a time in the whole store, whichever process claims, and all others go on."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import Connection, text

from receiver.model.delivery import Delivery
from receiver.model.slots import Slots
from receiver.store import claims, runs
from receiver.store.claims import Claim
from receiver.store.database import Database
from receiver.store.inbox import Receipt
from receiver.store.runs import RunResult
from receiver.store.states import RunState
from tests.claiming import claim_due
from tests.unit.store.plans import plans_of

NOW = 1_700_000_000.0

Accept = Callable[..., list[Receipt]]
Make = Callable[..., Delivery]


def claim(database: Database, owner: str = "me", now: float = NOW, **free: int) -> list[str | None]:
    return [held.event["job_id"] for held in claim_rows(database, owner, now, **free)]


def claim_rows(database: Database, owner: str = "me", now: float = NOW, **free: int) -> list[Claim]:
    slots = Slots(10, free or {"save_audio": 10}).free({})
    return database.transact(claim_due, slots, owner, now, now + 30)


def next_due(database: Database) -> float | None:
    return database.query(claims.next_due, ["save_audio"], NOW)


def suspect(database: Database, *jobs: str, crashes: int = 2) -> None:
    def change(connection: Connection) -> None:
        for job in jobs:
            changed = "UPDATE runs SET crashes = :crashes WHERE event_id IN (SELECT id FROM events WHERE job_id = :job)"
            connection.execute(text(changed), {"crashes": crashes, "job": job})

    database.transact(change)


@pytest.fixture
def two(database: Database, accept: Accept, delivery: Make) -> None:
    """Two suspects, the one for `second` due later, and a fresh run."""
    accept(*(delivery(f"{job}", received_at=NOW - 3 + n) for n, job in enumerate(("first", "second", "fresh"))))
    suspect(database, "first", "second")


def test_one_suspect_is_claimed_beside_all_fresh_runs(database: Database, two: None) -> None:
    assert claim(database) == ["first", "fresh"]
    assert claim(database) == []


def test_a_second_process_claims_no_second_suspect(database: Database, two: None) -> None:
    assert claim(database, "one") == ["first", "fresh"]
    assert claim(database, "other") == []
    assert next_due(database) is None  # nobody looks again and again for what it must not claim


def test_a_suspect_that_has_ended_lets_the_next_one_start_and_is_cleared(database: Database, two: None) -> None:
    [held, _] = claim_rows(database)
    assert (held.event["job_id"], held.crashes) == ("first", 2)
    database.transact(runs.finish, [RunResult(held, "me", "failed", RunState.PENDING, NOW, due_at=NOW)])
    assert next_due(database) == NOW - 2
    assert claim(database) == ["second", "first"]


def test_a_run_with_one_crash_is_no_suspect(database: Database, two: None) -> None:
    suspect(database, "first", "second", crashes=1)
    assert sorted(str(job) for job in claim(database)) == ["first", "fresh", "second"]


def test_a_suspect_needs_a_slot_of_its_handler_and_uses_it_up(
    database: Database, accept: Accept, delivery: Make
) -> None:
    accept(*(delivery(job, received_at=NOW - 3 + n) for n, job in enumerate(("fresh", "suspect"))))
    suspect(database, "suspect")
    taken = Slots(9, {"save_audio": 1}).free({"save_audio": 1})
    assert database.transact(claim_due, taken, "me", NOW, NOW + 30) == []
    assert claim(database, log=5) == []
    assert claim(database, save_audio=1) == ["suspect"]


def test_a_suspect_that_is_not_due_is_not_claimed(database: Database, two: None) -> None:
    assert claim(database, now=NOW - 2.5) == ["first"]


@pytest.mark.sqlite
def test_looking_for_suspects_costs_one_look_into_their_index(database: Database) -> None:
    slots = Slots(10, dict.fromkeys("abc")).free({})
    plans = plans_of(database, claim_due, slots, "me", NOW, NOW + 30)
    [claiming] = [
        plan for plan in plans if "INDEXED BY ix_runs_suspects" in plan.statement and "UPDATE" in plan.statement
    ]
    found = [line for line in claiming.lines if " runs" in line]
    assert found
    assert all("ix_runs_suspects" in line or "sqlite_autoindex_runs" in line or "PRIMARY" in line for line in found)
