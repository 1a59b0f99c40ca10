"""Where claims begin to read, while there is a backlog."""

from __future__ import annotations

import math
import statistics

import pytest
from sqlalchemy import Connection, text, update

from receiver.model.delivery import Delivery
from receiver.model.slots import Slots
from receiver.store import claims
from receiver.store.claims import Claimed, ClaimRequest
from receiver.store.database import Database
from receiver.store.inbox import accept
from receiver.store.leases import Lease
from receiver.store.postgresql.backlog import (
    LATE_SECONDS,
    MANY_CLAIMS,
    RESCAN_SECONDS,
    RESCAN_SECONDS_PER_ENTRY,
    Backlog,
    Backlogs,
)
from receiver.store.schema import runs
from tests.unit.store.conftest import MakeDelivery

NOW = 1.8e9
SIZE = 250
TURNS = 2 * MANY_CLAIMS // 20


def due_in_order(delivery: MakeDelivery, count: int) -> list[Delivery]:
    """Deliveries whose runs are due, each a second after the one before."""
    return [
        delivery(job=f"job-{number}", handlers=("save",), received_at=NOW - 5000 + number) for number in range(count)
    ]


def claim(database: Database, now: float) -> list[float]:
    request = ClaimRequest(Slots(SIZE, {"save": None}).free({}), Lease("me", now + 30), now)
    return [found.due_at for found in database.transact(claims.claim, request).started]


@pytest.mark.postgresql
def test_a_backlog_is_claimed_in_order_and_a_run_that_is_due_before_it_within_a_second(
    database: Database, delivery: MakeDelivery
) -> None:
    deliveries = due_in_order(delivery, MANY_CLAIMS + 3 * SIZE)
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


@pytest.mark.postgresql
def test_a_suspect_is_claimed_within_a_second_of_a_backlog_and_the_next_one_at_once(
    database: Database, delivery: MakeDelivery
) -> None:
    deliveries = due_in_order(delivery, MANY_CLAIMS + 4 * SIZE)
    first, second = (item.event_id for item in deliveries[-2:])
    database.transact(accept, deliveries)
    for _ in range(MANY_CLAIMS // SIZE):
        claim(database, NOW)

    def suspect(connection: Connection) -> None:
        connection.execute(update(runs).where(runs.c.event_id.in_([first, second])).values(crashes=2))

    def cancel(connection: Connection) -> None:
        ended = {"state": "cancelled", "lease_owner": None, "lease_until": None}
        connection.execute(update(runs).where(runs.c.event_id == first).values(ended))

    database.transact(suspect)

    assert claim(database, NOW)[0] == deliveries[MANY_CLAIMS].received_at
    assert claim(database, NOW + RESCAN_SECONDS)[0] == deliveries[-2].received_at
    database.transact(cancel)
    assert claim(database, NOW + RESCAN_SECONDS)[0] == deliveries[-1].received_at


def test_each_claim_looks_for_suspects_while_there_are_any_and_while_there_is_no_backlog() -> None:
    backlogs = Backlogs()
    backlogs.looked_for_suspects(NOW, found=False)
    assert backlogs.looks_for_suspects(NOW)
    backlogs.of("save").claimed([NOW - 1] * MANY_CLAIMS, NOW, after=-math.inf, full=True)
    assert not backlogs.looks_for_suspects(NOW)
    assert backlogs.looks_for_suspects(NOW + RESCAN_SECONDS)
    assert backlogs.looks_for_suspects(NOW - 60)
    backlogs.looked_for_suspects(NOW, found=True)
    assert backlogs.looks_for_suspects(NOW)
    backlogs.looked_for_suspects(NOW, found=False)
    backlogs.of("save").claimed([NOW], NOW, after=-math.inf, full=False)
    assert backlogs.looks_for_suspects(NOW)


@pytest.mark.postgresql
@pytest.mark.direct  # a pooler's session is not this connection's
def test_what_a_held_transaction_keeps_is_not_read_by_each_claim(database: Database, delivery: MakeDelivery) -> None:
    """Each run is claimed as soon as it is stored, so that no claim finds as many as it may claim."""
    entries = text("SELECT pg_stat_get_xact_tuples_returned('ix_runs_due'::regclass)")

    def entries_read() -> int:  # by the session of the next transaction, lately
        return int(database.transact(lambda connection: connection.execute(entries).scalar_one()))

    read = []
    with database._writer_engine.begin() as held:
        held.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        held.execute(text("SELECT pg_current_xact_id()"))
        for turn in range(TURNS):
            now = NOW + turn / 20
            jobs = range(turn * 20, turn * 20 + 20)
            at = [delivery(job=f"job-{number}", handlers=("save",), received_at=now) for number in jobs]
            database.transact(accept, at)
            before = entries_read()
            assert len(claim(database, now)) == 20
            read.append(entries_read() - before)
    assert statistics.median(read[-20:]) < MANY_CLAIMS, "most claims read what is new"


def backlog_after(due: list[float], *, full: bool, now: float = NOW) -> Backlog:
    found = Backlog()
    found.claimed(due, now, after=found.start_at(now), full=full)
    return found


def test_a_claim_begins_where_the_one_before_it_ended() -> None:
    backlog = backlog_after([NOW - 9] * MANY_CLAIMS, full=True)
    assert backlog.start_at(NOW) == NOW - 9
    backlog.claimed([NOW - 5], NOW, after=NOW - 9, full=False)
    assert backlog.start_at(NOW) == NOW - 5 - LATE_SECONDS, "an event may be committed after a later one"


def test_few_claims_read_from_the_beginning() -> None:
    assert backlog_after([NOW - 9] * (MANY_CLAIMS - 1), full=True).start_at(NOW) == -math.inf


def test_the_more_entries_are_read_the_later_they_are_read_again() -> None:
    backlog = backlog_after([NOW] * MANY_CLAIMS, full=False)
    backlog.read(1000)
    assert backlog.scan_at == NOW + RESCAN_SECONDS
    backlog.read(300_000)
    assert backlog.scan_at == NOW + 300_000 * RESCAN_SECONDS_PER_ENTRY
    assert backlog.start_at(backlog.scan_at - 0.1) > -math.inf
    assert backlog.start_at(backlog.scan_at) == -math.inf


def test_a_clock_that_is_set_back_makes_a_claim_begin_anew_and_go_on_from_there() -> None:
    backlog = backlog_after([NOW - 1] * MANY_CLAIMS, full=True)
    assert backlog.start_at(NOW - 60) == -math.inf
    backlog.claimed([NOW - 61], NOW - 60, after=-math.inf, full=False)
    assert backlog.start_at(NOW - 60) == NOW - 60 - LATE_SECONDS


@pytest.mark.postgresql
def test_the_next_turn_is_soon_enough_to_find_what_was_released(database: Database, delivery: MakeDelivery) -> None:
    """A turn that did not read from the beginning does not let the dispatcher sleep until something wakes it."""
    deliveries = [
        delivery(job=f"job-{number}", handlers=("save",), received_at=NOW - 50) for number in range(MANY_CLAIMS)
    ]
    database.transact(accept, [*deliveries, delivery(job="last", handlers=("save",), received_at=NOW)])
    for _ in range(MANY_CLAIMS // SIZE):
        assert len(claim(database, NOW)) == SIZE
    assert claim(database, NOW) == [NOW]
    release = {"state": "pending", "lease_owner": None, "lease_until": None}
    released = update(runs).where(runs.c.event_id == deliveries[0].event_id).values(**release)
    database.transact(lambda connection: connection.execute(released))

    def turn(now: float) -> Claimed:
        request = ClaimRequest(Slots(SIZE, {"save": None}).free({}), Lease("me", now + 30), now)
        return database.transact(claims.claim, request)

    early = turn(NOW + 0.5)
    assert early.started == []
    assert early.due_at is not None
    assert early.due_at <= NOW + RESCAN_SECONDS
    assert [found.due_at for found in turn(early.due_at).started] == [NOW - 50]
