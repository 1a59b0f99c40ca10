"""Counts by the minute and the hour: they add up, and old ones are deleted."""

from __future__ import annotations

from receiver.store.database import Database
from receiver.store.rollups import HOUR, MINUTE, ROLLUPS, Counts, Kind, Series, Total, add, totals
from receiver.store.schema import rollups
from tests.stores import query

AT = 1_700_000_040.0
"""A full minute, of the hour that began at `HOUR_AT`."""
HOUR_AT = 1_699_999_200.0
ACCEPTED = Series(Kind.DELIVERIES, "aitts", "accepted")
MISMATCH = Series(Kind.DELIVERIES, "aitts", "mismatch")
SUCCEEDED = Series(Kind.RUNS, "log", "succeeded")


def counted(database: Database, *counts: tuple[float, Counts]) -> None:
    database.transact(add, counts)


def test_counts_of_several_processes_and_minutes_add_up(database: Database) -> None:
    counted(database, (AT, {ACCEPTED: 3, SUCCEEDED: 7}), (AT + MINUTE, {ACCEPTED: 1}))
    counted(database, (AT, {ACCEPTED: 2, MISMATCH: 1}))
    assert database.query(totals, MINUTE, [Kind.DELIVERIES], AT, AT + HOUR) == {
        ACCEPTED: Total(6, AT + MINUTE), MISMATCH: Total(1, AT),
    }  # fmt: skip
    assert database.query(totals, MINUTE, [Kind.DELIVERIES], AT + 1, AT + HOUR) == {ACCEPTED: Total(1, AT + MINUTE)}
    assert database.query(totals, HOUR, [Kind.DELIVERIES, Kind.RUNS], HOUR_AT, AT) == {
        ACCEPTED: Total(6, HOUR_AT), MISMATCH: Total(1, HOUR_AT), SUCCEEDED: Total(7, HOUR_AT),
    }  # fmt: skip
    # What a clock that was ahead has counted is not of now.
    assert database.query(totals, MINUTE, [Kind.DELIVERIES], AT, AT + 59) == {
        ACCEPTED: Total(5, AT), MISMATCH: Total(1, AT),
    }  # fmt: skip
    assert len(query(database, rollups)) == 4 + 3


def test_nothing_counted_writes_nothing(database: Database) -> None:
    counted(database)
    assert query(database, rollups) == []


def test_old_counts_of_each_length_are_found_in_pages_and_deleted(database: Database) -> None:
    for minute in range(5):
        counted(database, (AT + minute * MINUTE, {ACCEPTED: 1, SUCCEEDED: 1, MISMATCH: 1}))
    before, rows = AT + 3 * MINUTE, ROLLUPS[MINUTE]
    deleted, after = 0, None
    for pages in range(1, 10):  # noqa: B007 - used after the loop
        ids, after = database.query(rows.find, before, after, 4)
        deleted += database.transact(rows.delete, before, ids)
        if after is None:
            break
    assert (deleted, pages) == (3 * 3, 2)
    assert database.query(totals, MINUTE, Kind, 0.0, AT + HOUR) == {
        series: Total(2, AT + 4 * MINUTE) for series in (ACCEPTED, MISMATCH, SUCCEEDED)
    }
    assert database.query(totals, HOUR, Kind, 0.0, AT + HOUR)[ACCEPTED].count == 5
    ids, after = database.query(ROLLUPS[HOUR].find, HOUR_AT + 1, None, 4)
    assert database.transact(ROLLUPS[HOUR].delete, HOUR_AT, ids) == 0
    assert database.transact(ROLLUPS[HOUR].delete, HOUR_AT + 1, ids) == 3
