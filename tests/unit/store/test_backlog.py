"""Where claims begin to read, while there is a backlog."""

from __future__ import annotations

import math

import pytest
from sqlalchemy import update

from receiver.model.slots import Slots
from receiver.store import claims
from receiver.store.claims import ClaimRequest
from receiver.store.database import Database
from receiver.store.inbox import accept
from receiver.store.leases import Lease
from receiver.store.postgresql.backlog import MANY_CLAIMS, RESCAN_SECONDS, Backlog
from receiver.store.schema import runs
from tests.unit.store.conftest import MakeDelivery

NOW = 1.8e9
SIZE = 250


def claim(database: Database, now: float) -> list[float]:
    request = ClaimRequest(Slots(SIZE, {"save": None}).free({}), Lease("me", now + 30), now)
    return [found.due_at for found in database.transact(claims.claim, request).started]


@pytest.mark.postgresql
def test_a_backlog_is_claimed_in_order_and_a_run_that_is_due_before_it_within_a_second(
    database: Database, delivery: MakeDelivery
) -> None:
    deliveries = [
        delivery(job=f"job-{number}", handlers=("save",), received_at=NOW - 5000 + number)
        for number in range(MANY_CLAIMS + 3 * SIZE)
    ]
    database.transact(accept, deliveries)
    got = [due for _ in range(MANY_CLAIMS // SIZE) for due in claim(database, NOW)]
    assert got == [NOW - 5000 + number for number in range(MANY_CLAIMS)]
    again = runs.c.event_id == deliveries[0].event_id
    database.transact(
        lambda connection: connection.execute(
            update(runs).where(again).values(state="pending", lease_owner=None, lease_until=None)
        )
    )

    assert claim(database, NOW) == [NOW - 5000 + number for number in range(MANY_CLAIMS, MANY_CLAIMS + SIZE)]
    assert claim(database, NOW + RESCAN_SECONDS)[0] == NOW - 5000
    assert len(claim(database, NOW + RESCAN_SECONDS)) == SIZE
    assert claim(database, NOW + RESCAN_SECONDS) == [NOW - 5000 + MANY_CLAIMS + 3 * SIZE - 1]


def test_a_claim_that_finds_less_than_it_may_claim_makes_the_next_one_begin_anew() -> None:
    backlog = Backlog()
    assert backlog.start_at(NOW) == -math.inf
    backlog.claimed([NOW - 1] * MANY_CLAIMS, full=True)
    assert backlog.start_at(NOW) == NOW - 1
    backlog.claimed([NOW], full=False)
    assert backlog.start_at(NOW) == -math.inf


def test_a_clock_that_is_set_back_makes_a_claim_begin_anew() -> None:
    backlog = Backlog()
    backlog.start_at(NOW)
    backlog.claimed([NOW - 1] * MANY_CLAIMS, full=True)
    assert backlog.start_at(NOW - 60) == -math.inf
