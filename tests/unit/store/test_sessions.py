"""Sessions of the console in the store: found by their hash alone, bounded for each actor, and deleted when expired."""

from __future__ import annotations

from dataclasses import replace

import pytest

from receiver.store import sessions
from receiver.store.database import Database
from receiver.store.sessions import MAX_OF_ACTOR, SESSIONS, SessionRow
from tests.unit.store.conftest import NOW

pytestmark = pytest.mark.pooled

SESSION = SessionRow(
    id=f"{1:064x}", actor="anna", kind="user", credential="mac", created_at=NOW, seen_at=NOW, expires_at=NOW + 60
)


def numbered(number: int, **fields: object) -> SessionRow:
    return replace(SESSION, id=f"{number:064x}", **fields)  # type: ignore[arg-type]


def test_a_session_is_found_as_it_was_stored_until_it_is_removed(database: Database) -> None:
    stored = replace(SESSION, client="192.0.2.1")
    database.transact(sessions.create, stored)
    assert database.query(sessions.find, stored.id) == stored
    assert database.query(sessions.find, f"{2:064x}") is None
    database.transact(sessions.touch, stored.id, NOW + 9)
    assert database.query(sessions.find, stored.id) == replace(stored, seen_at=NOW + 9)
    assert database.transact(sessions.remove, [stored.id, "another"]) == 1
    assert database.transact(sessions.remove, [stored.id]) == 0
    assert database.transact(sessions.remove, []) == 0
    database.transact(sessions.touch, stored.id, NOW + 10)
    assert database.query(sessions.find, stored.id) is None


def test_another_login_ends_the_oldest_session_of_the_same_actor_alone(database: Database) -> None:
    for number in range(MAX_OF_ACTOR):
        database.transact(sessions.create, numbered(number, created_at=NOW + number))
    database.transact(sessions.create, numbered(100, actor="ben", created_at=NOW - 9))
    database.transact(sessions.create, numbered(200, created_at=NOW + 200))
    kept = {row.id for row in database.query(sessions.list_sessions, NOW, 1000)}
    assert kept == {numbered(number).id for number in (*range(1, MAX_OF_ACTOR), 100, 200)}


def test_a_login_by_a_clock_that_was_set_back_is_not_the_one_that_ends(database: Database) -> None:
    for number in range(MAX_OF_ACTOR):
        database.transact(sessions.create, numbered(number, created_at=NOW + number))
    new = numbered(300, created_at=NOW - 3600)
    database.transact(sessions.create, new)
    assert database.query(sessions.find, new.id) == new


def test_all_sessions_of_an_actor_are_removed_and_no_others(database: Database) -> None:
    for number, actor in enumerate(("anna", "anna", "ann", "annabel")):
        database.transact(sessions.create, numbered(number, actor=actor))
    assert database.transact(sessions.remove_of, "anna") == 2
    assert {row.actor for row in database.query(sessions.list_sessions, NOW, 9)} == {"ann", "annabel"}


def test_a_list_has_what_has_not_expired_and_the_longest_first(database: Database) -> None:
    for number in range(4):
        database.transact(sessions.create, numbered(number, expires_at=NOW + number))
    listed = database.query(sessions.list_sessions, NOW + 1, 9)
    assert [row.expires_at for row in listed] == [NOW + 3, NOW + 2]
    assert len(database.query(sessions.list_sessions, NOW, 1)) == 1


def test_a_session_is_found_by_the_beginning_of_its_id(database: Database) -> None:
    first, second = replace(SESSION, id="ab0" + "f" * 61), replace(SESSION, id="ab1" + "0" * 61)
    for row in (first, second):
        database.transact(sessions.create, row)
    assert database.query(sessions.find_by_prefix, "ab") == [first.id, second.id]
    assert database.query(sessions.find_by_prefix, "ab0f") == [first.id]
    assert database.query(sessions.find_by_prefix, "b0") == []


def test_expired_sessions_are_found_page_by_page_and_deleted(database: Database) -> None:
    for number in range(5):
        database.transact(sessions.create, numbered(number, expires_at=NOW + number // 2))
    found, after = database.query(SESSIONS.find, NOW + 2, None, 3)
    assert found == [numbered(number).id for number in range(3)]
    more, after = database.query(SESSIONS.find, NOW + 2, after, 3)
    assert more == [numbered(3).id]
    assert after is None
    assert database.transact(SESSIONS.delete, NOW + 2, [*found, *more]) == 4
    assert [row.id for row in database.query(sessions.list_sessions, NOW - 1, 9)] == [numbered(4).id]
