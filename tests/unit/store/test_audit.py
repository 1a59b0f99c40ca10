"""The audit log: an entry is as its transactions were committed, lists are filtered, and what is old goes."""

from __future__ import annotations

import random
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection

from receiver.engine.audit import Auditor
from receiver.model.audit import AuditEntry, AuditOperation, AuditState, Via
from receiver.model.ids import new_change_id
from receiver.model.redact import Redactor
from receiver.model.timestamps import utc
from receiver.store import audit
from receiver.store.audit import AuditFilter
from receiver.store.database import Database
from tests.clocks import SetClock
from tests.unit.store.conftest import NOW


def entry(number: int = 0, **values: Any) -> AuditEntry:
    """One that began so many seconds from now."""
    default: dict[str, Any] = {
        "id": new_change_id(NOW + number, number), "at": NOW + number, "actor": "app", "via": Via.API,
        "operation": AuditOperation.REPLAY, "filter": {"event": "evt_1"}, "state": AuditState.COMPLETED,
    }  # fmt: skip
    return AuditEntry(**(default | values))


def listed(database: Database, **criteria: Any) -> list[dict[str, Any]]:
    return database.query_list(audit.list_entries, AuditFilter(**criteria), 100)


def times(database: Database, **criteria: Any) -> list[float]:
    return [row["at"] - NOW for row in listed(database, **criteria)]


def test_a_change_of_one_transaction_is_complete(database: Database) -> None:
    database.transact(audit.add, entry(), 3, NOW + 0.5, "job_1")
    [row] = listed(database)
    assert row == {
        "id": entry().id, "at": NOW, "actor": "app", "via": "api", "operation": "replay", "filter": {"event": "evt_1"},
        "changed": 3, "state": "completed", "updated_at": NOW + 0.5, "detail": "job_1",
    }  # fmt: skip


def test_a_change_of_several_transactions_says_what_it_has_done_so_far_and_how_it_ended(database: Database) -> None:
    many = entry(state=AuditState.UNFINISHED)
    for number in range(3):
        database.transact(audit.add, many, 10, NOW + number)
        [row] = listed(database)
        assert (row["changed"], row["state"], row["updated_at"]) == (10 * (number + 1), "unfinished", NOW + number)
    database.transact(audit.finish, many.id, AuditState.STOPPED, "Runs due: 30", NOW + 9)
    [row] = listed(database)
    assert (row["changed"], row["state"], row["updated_at"]) == (30, "stopped", NOW + 9)
    assert (row["at"], row["detail"]) == (NOW, "Runs due: 30")


def test_what_changed_nothing_has_no_entry(database: Database) -> None:
    database.transact(audit.add, entry(), 0, NOW)
    database.transact(audit.finish, entry().id, AuditState.COMPLETED, None, NOW)
    assert listed(database) == []


def test_an_entry_is_undone_with_its_change(database: Database) -> None:
    def refused(connection: Connection) -> None:
        audit.add(connection, entry(), 1, NOW)
        raise LookupError

    with pytest.raises(LookupError):
        database.transact(refused)
    assert listed(database) == []


@pytest.fixture
def filled(database: Database) -> Database:
    """Entries of two actors and two operations, one a second."""

    def fill(connection: Connection) -> None:
        for n in range(12):
            operation = AuditOperation.PRUNE if n % 3 == 0 else AuditOperation.REPLAY
            audit.add(connection, entry(n, actor="app" if n % 2 else "root@host", operation=operation), 1, NOW)

    database.transact(fill)
    return database


@pytest.mark.parametrize(
    ("criteria", "found"),
    [
        ({}, [11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0]),
        ({"actor": "app"}, [11, 9, 7, 5, 3, 1]),
        ({"actor": "nobody"}, []),
        ({"operation": AuditOperation.PRUNE}, [9, 6, 3, 0]),
        ({"operation": AuditOperation.SPEAK}, []),
        ({"actor": "app", "operation": AuditOperation.PRUNE}, [9, 3]),
        ({"since": NOW + 4, "until": NOW + 7}, [6, 5, 4]),
        ({"since": NOW + 3.9995, "until": NOW + 7.0004, "actor": "app"}, [7, 5]),
        ({"older_than": entry(7).id, "actor": "app"}, [5, 3, 1]),
        ({"older_than": entry(7).id, "until": NOW + 9, "since": NOW + 4}, [6, 5, 4]),
    ],
)
def test_a_list_has_what_matches_the_newest_first(filled: Database, criteria: dict[str, Any], found: list[int]) -> None:
    assert times(filled, **criteria) == found
    assert filled.query_list(audit.list_entries, AuditFilter(**criteria), 2) == listed(filled, **criteria)[:2]


@given(milliseconds=st.integers(1_600_000_000_000, 4_000_000_000_000), part=st.floats(0.01, 0.99))
def test_the_time_of_an_entry_finds_it_and_the_next_millisecond_does_not(milliseconds: int, part: float) -> None:
    """Whatever part of a millisecond the clock had, and though no time is exact in binary."""
    clock = SetClock((milliseconds + part) / 1000)
    made = Auditor(AuditOperation.PRUNE, "app", Via.API, Redactor(), clock, random.Random(milliseconds)).single().entry
    shown = datetime.fromisoformat(utc(made.at).isoformat()).timestamp()
    later = shown + 0.001
    assert audit._first_id(shown) < made.id < audit._first_id(later)
    assert made.at == shown


def test_what_is_old_is_deleted_page_by_page(filled: Database) -> None:
    before, after, found = NOW + 8, None, []
    while True:
        page, after = filled.query(audit.find_old, before, after, 3)
        found += page
        if after is None:
            break
    assert found == [entry(n).id for n in range(8)]
    assert filled.transact(audit.delete_old, before, [*found, entry(9).id]) == 8
    assert times(filled) == [11, 10, 9, 8]
