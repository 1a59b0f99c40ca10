"""The quarantine is bounded in number and in time, without reading other events."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, select, text

from receiver.model.delivery import Delivery
from receiver.store import inbox
from receiver.store.database import Database
from receiver.store.inbox import Receipt
from receiver.store.quarantine import counts, delete_old, find_old
from receiver.store.schema import events

NOW = 1_700_000_000.0
MAX_EVENTS = 3

Make = Callable[..., Delivery]


def accept(database: Database, *deliveries: Delivery, limit: int = MAX_EVENTS) -> list[Receipt]:
    return database.transact(inbox.accept_bounded, list(deliveries), limit)


def prune(database: Database, before: float) -> int:
    """Delete what is old, looked for in pages of one."""
    found, after = list[str](), None
    while True:
        page = database.query(find_old, before, after, 1)
        found += page.ids
        if (after := page.after) is None:
            return database.transact(delete_old, before, found)


def stored(database: Database) -> list[tuple[str, str, int]]:
    def run(connection: Connection) -> list[tuple[str, str, int]]:
        return [tuple(row) for row in connection.execute(select(events.c.key, events.c.status, events.c.duplicates))]

    return sorted(database.query(run))


def stale(delivery: Make, *jobs: str, **values: object) -> list[Delivery]:
    return [delivery(job, quarantined=True, **values) for job in jobs]


@pytest.mark.parametrize("one_batch", [True, False])
def test_a_further_stale_event_is_refused_and_nothing_of_it_is_kept(
    database: Database, delivery: Make, one_batch: bool
) -> None:
    given_ = stale(delivery, "a", "b", "c", "d", "e")
    receipts = accept(database, *given_) if one_batch else [accept(database, one)[0] for one in given_]
    assert [receipt.refused for receipt in receipts] == [False] * MAX_EVENTS + [True] * 2
    assert receipts[-1] == inbox.QUARANTINE_FULL
    assert stored(database) == [(job, "quarantined", 0) for job in "abc"]
    assert database.query(counts) == {"aitts": MAX_EVENTS}


def test_each_source_has_a_quarantine_of_its_own(database: Database, delivery: Make) -> None:
    accept(database, *stale(delivery, "a", "b", "c"))
    receipts = accept(database, *stale(delivery, "a", "d", source="other"), *stale(delivery, "d"))
    assert [receipt.refused for receipt in receipts] == [False, False, True]
    assert database.query(counts) == {"aitts": MAX_EVENTS, "other": 2}


def test_copies_of_what_is_there_and_fresh_deliveries_never_ask_for_room(database: Database, delivery: Make) -> None:
    accept(database, *stale(delivery, "a", "b", "c"), delivery("done"))
    receipts = accept(database, *stale(delivery, "a", "done"), delivery("new"), *stale(delivery, "new"), delivery("b"))
    assert [(receipt.duplicate, receipt.refused) for receipt in receipts] == [
        (True, False),
        (True, False),
        (False, False),
        (True, False),
        (True, False),
    ]
    assert receipts[-1].released
    assert stored(database) == [
        ("a", "quarantined", 1),
        ("b", "accepted", 1),
        ("c", "quarantined", 0),
        ("done", "accepted", 1),
        ("new", "accepted", 1),
    ]


def test_of_a_full_quarantine_the_fresh_copy_in_the_same_batch_is_taken(database: Database, delivery: Make) -> None:
    accept(database, *stale(delivery, "a", "b", "c"))
    refused, taken = accept(database, *stale(delivery, "d"), delivery("d"))
    assert (refused, taken.duplicate, taken.quarantined) == (inbox.QUARANTINE_FULL, False, False)


def test_room_that_a_release_or_a_prune_makes_is_used(database: Database, delivery: Make) -> None:
    accept(database, *stale(delivery, "a", received_at=NOW - 100), *stale(delivery, "b", "c"))
    assert accept(database, *stale(delivery, "d")) == [inbox.QUARANTINE_FULL]
    accept(database, delivery("b"))
    assert prune(database, NOW) == 1
    assert [one.refused for one in accept(database, *stale(delivery, "d", "e", "f"))] == [False, False, True]


def test_an_old_event_in_quarantine_goes_and_no_other(database: Database, delivery: Make) -> None:
    old = {"received_at": NOW - 0.001}
    accept(database, *stale(delivery, "a", **old), *stale(delivery, "b", received_at=NOW), delivery("c", **old))
    assert prune(database, NOW) == 1
    assert stored(database) == [("b", "quarantined", 0), ("c", "accepted", 0)]


def test_the_old_ones_of_every_source_are_found_in_pages_of_any_size(database: Database, delivery: Make) -> None:
    for source, ages in (("a", (5, 5, 5, 3, 0)), ("b", (0,)), ("c", (9, 5))):
        accept(
            database,
            *(delivery(f"{n}", source=source, quarantined=True, received_at=NOW - age) for n, age in enumerate(ages)),
            limit=9,
        )
    assert prune(database, NOW) == 6
    assert database.query(counts) == {"a": 1, "b": 1}


def test_an_event_that_was_released_since_it_was_found_stays(database: Database, delivery: Make) -> None:
    accept(database, *stale(delivery, "a", "b", received_at=NOW - 1))
    found = database.query(find_old, NOW, None, 10).ids
    accept(database, delivery("a"))
    assert database.transact(delete_old, NOW, found) == 1
    assert stored(database) == [("a", "accepted", 1)]


def test_counting_and_looking_for_the_old_look_at_the_quarantine_alone(
    database: Database, delivery: Make, plans: Callable[..., list[str]]
) -> None:
    accept(database, *stale(delivery, "a"))
    for function, *arguments in ((counts,), (find_old, NOW + 1, None, 10)):
        for plan in plans(function, *arguments):
            assert "ix_events_quarantined" in plan
    found = plans(inbox.accept_bounded, stale(delivery, "b"), MAX_EVENTS)
    assert any("ix_events_quarantined (source=?)" in plan for plan in found)
    assert not any(plan.startswith("SCAN events") and "ix_events_quarantined" not in plan for plan in found)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    batches=st.lists(
        st.lists(
            st.tuples(st.sampled_from("abcdefgh"), st.booleans(), st.sampled_from(["one", "two"])),
            min_size=1,
            max_size=8,
        ),
        min_size=1,
        max_size=4,
    )
)
def test_whatever_comes_the_bound_holds_and_every_fresh_delivery_is_kept(
    database: Database, delivery: Make, batches: list[list[tuple[str, bool, str]]]
) -> None:
    database.transact(lambda connection: connection.execute(text("DELETE FROM events")))
    fresh = set()
    for batch in batches:
        sent = [delivery(job, source=source, quarantined=old) for job, old, source in batch]
        for one, receipt in zip(sent, accept(database, *sent), strict=True):
            assert one.quarantined or not receipt.refused
            if not one.quarantined:
                fresh.add((one.source, one.key))
        assert all(count <= MAX_EVENTS for count in database.query(counts).values())

    def accepted(connection: Connection) -> set[tuple[str, str]]:
        found = select(events.c.source, events.c.key).where(events.c.status == "accepted")
        return {tuple(row) for row in connection.execute(found)}

    assert database.query(accepted) == fresh
