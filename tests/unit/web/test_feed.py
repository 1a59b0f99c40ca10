"""Marks: places in the order of the commits, which stay true when rows are pruned or renumbered."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from receiver.store import feed
from receiver.store.database import Database
from receiver.store.feed import Cursor
from receiver.store.schema import events
from receiver.store.sqlite import feed as sqlite_feed
from tests.integration.engine_support import fresh_store
from tests.stores import execute, insert_rows, open_store

pytestmark = pytest.mark.sqlite  # its marks are row numbers


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    found = open_store(fresh_store(tmp_path / "receiver.db"))
    yield found
    found.close()


EVENT = {
    "source": "s", "type": "t", "origin": "webhook", "status": "accepted", "payload": {}, "body": b"", "headers": [],
    "received_at": 0.0,
}  # fmt: skip


def add(database: Database, *names: str) -> None:
    """Commit events with these ids, one after the other."""
    for name in names:
        insert_rows(database, events, {"id": name, "key": name} | EVENT)


def after(database: Database, mark: Cursor, limit: int = 100) -> list[str]:
    return [row["id"] for _, row in database.query(feed.events_after, mark, limit)]


def test_events_come_in_the_order_of_their_commits_and_not_of_their_ids(database: Database) -> None:
    assert database.query(feed.newest) == Cursor()
    add(database, "e5", "e1", "e3")
    assert after(database, Cursor()) == ["e5", "e1", "e3"]
    assert after(database, Cursor(), 2) == ["e5", "e1"]
    assert after(database, database.query(feed.cursor_of, "e5")) == ["e1", "e3"]
    assert after(database, database.query(feed.newest)) == []


def test_each_event_has_its_own_mark(database: Database) -> None:
    add(database, "a", "b", "c")
    (first, _), (second, _), _ = database.query(feed.events_after, Cursor(), 3)
    assert after(database, first) == ["b", "c"]
    assert after(database, second) == ["c"]


def test_the_place_of_an_event_that_was_pruned_leaves_nothing_newer_out(database: Database) -> None:
    add(database, "e2", "e4", "e3", "e5")
    execute(database, "DELETE FROM events WHERE id IN ('e2', 'e3')")
    assert after(database, database.query(feed.cursor_of, "e2")) == ["e4", "e5"]
    assert after(database, database.query(feed.cursor_of, "e3")) == ["e4", "e5"]
    assert after(database, database.query(feed.cursor_of, "e9")) == []
    assert after(database, database.query(feed.cursor_of, "")) == ["e4", "e5"]


def test_the_place_of_an_event_that_was_never_here_is_found_by_the_ids_near_it(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_feed, "FIRST_ROWS", 2)
    monkeypatch.setattr(sqlite_feed, "NEAR_IDS", 2)
    add(database, "e1", "e2", "e3", "e5", "e4", "e6", "e7")
    assert after(database, database.query(feed.cursor_of, "e35")) == ["e5", "e4", "e6", "e7"]
    assert after(database, database.query(feed.cursor_of, "e0")) == ["e1", "e2", "e3", "e5", "e4", "e6", "e7"]


def test_a_row_number_that_is_given_again_is_seen(database: Database) -> None:
    add(database, "e1")
    mark = database.query(feed.newest)
    execute(database, "DELETE FROM events")
    assert after(database, mark) == []
    add(database, "e2")
    assert database.query(feed.newest).row == mark.row
    assert after(database, mark) == ["e2"]


def test_rows_that_were_renumbered_are_found_again(database: Database) -> None:
    add(database, *(f"e{number}" for number in range(10, 30)))
    mark = database.query(feed.cursor_of, "e25")
    execute(database, "DELETE FROM events WHERE id < 'e20'")
    execute(database, "UPDATE events SET rowid = rowid - 10")  # as VACUUM may
    assert database.query(feed.cursor_of, "e25").row != mark.row
    assert after(database, mark) == ["e26", "e27", "e28", "e29"]


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    committed=st.lists(st.integers(0, 99), unique=True, min_size=1, max_size=12),
    pruned=st.sets(st.integers(0, 99)),
    last=st.integers(0, 11),
    renumbered=st.booleans(),
)
def test_from_whatever_place_nothing_that_was_committed_later_is_left_out(
    database: Database, committed: list[int], pruned: set[int], last: int, renumbered: bool
) -> None:
    """What was committed later and whose id is earlier may be left out only where the place itself was pruned."""
    execute(database, "DELETE FROM events")
    names = [f"e{number:02}" for number in committed]
    add(database, *names)
    at = names[last % len(names)]
    later = names[names.index(at) + 1 :]
    mark = database.query(feed.cursor_of, at)
    gone = {f"e{number:02}" for number in pruned}
    for name in gone:
        execute(database, "DELETE FROM events WHERE id = :id", id=name)
    if renumbered:
        execute(database, "UPDATE events SET rowid = rowid - (SELECT min(rowid) FROM events) + 1")
    found = after(database, mark)
    wanted = [name for name in later if name not in gone]
    if at in gone:
        assert [name for name in found if name > at] == [name for name in names if name > at and name not in gone]
    else:
        assert found == wanted
