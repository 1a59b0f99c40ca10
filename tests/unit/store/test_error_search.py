"""The search for words in the errors of dead runs: what matches, how far it reads, and that it continues there."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import Connection, update

from receiver.store import error_search
from receiver.store.database import Database
from receiver.store.error_search import ErrorMatches, search_events, search_runs
from receiver.store.event_pages import Filter
from receiver.store.inbox import Receipt
from receiver.store.schema import runs
from receiver.store.states import RunState
from tests.unit.store.conftest import MakeDelivery

ERRORS = [
    "Connection refused by 10.0.0.1:443",
    "HTTP 402: INSUFFICIENT CREDITS",
    "connection reset",
    "Straße nicht gefunden",
    None,
]


@pytest.fixture
def dead(database: Database, delivery: MakeDelivery, accept: Callable[..., list[Receipt]]) -> list[str]:
    """Events with dead runs, two of each error, oldest first; each has a run that succeeded with the same words."""
    made = [delivery(f"j{n}", handlers=("save", "notes", "fine")) for n in range(len(ERRORS) * 2)]
    accept(*made)

    def end(connection: Connection) -> None:
        for n, item in enumerate(made):
            for handler, state in (("save", RunState.DEAD), ("notes", RunState.DEAD), ("fine", RunState.SUCCEEDED)):
                of = update(runs).where(runs.c.event_id == item.event_id, runs.c.handler == handler)
                error = "other" if handler == "notes" else ERRORS[n % len(ERRORS)]
                connection.execute(of.values(state=str(state), error=error))

    database.transact(end)
    return [item.event_id for item in made]


def runs_with(database: Database, text: str, limit: int = 50, **criteria: str) -> list[tuple[str, str]]:
    found = database.query(search_runs, Filter(**criteria), text, limit)  # type: ignore[arg-type]
    return [(row["job_id"], row["handler"]) for row in found.rows]


@pytest.mark.parametrize("text", ["connection refused", "REFUSED connection", "efuse", " 10.0.0.1:443 "])
def test_all_words_must_occur_in_any_case_and_order(database: Database, dead: list[str], text: str) -> None:
    assert runs_with(database, text) == [("j5", "save"), ("j0", "save")]


def test_case_is_folded_alike_on_every_database(database: Database, dead: list[str]) -> None:
    assert runs_with(database, "STRASSE") == [("j8", "save"), ("j3", "save")]
    assert runs_with(database, "%") == runs_with(database, "connection credits") == []


def test_only_dead_runs_that_meet_the_other_conditions_are_read(database: Database, dead: list[str]) -> None:
    found = database.query(search_runs, Filter(handler="save"), "connection", 50)
    assert [row["job_id"] for row in found.rows] == ["j7", "j5", "j2", "j0"]
    assert (found.examined, found.stopped_at) == (10, None)
    assert runs_with(database, "connection", job="j0") == [("j0", "save")]
    assert runs_with(database, "connection", source="none") == []


def test_a_search_stops_when_it_is_full_or_has_read_enough_and_continues_there(
    database: Database, dead: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(error_search, "PAGE", 3)
    monkeypatch.setattr(error_search, "MAX_EXAMINED", 8)

    def pages(
        search: Callable[[Connection, Filter, str, int], ErrorMatches], limit: int
    ) -> list[tuple[list[str], int]]:
        found, older_than = [], None
        while True:
            page = database.query(search, Filter(older_than=older_than), "connection", limit)
            found.append(([row["job_id"] for row in page.rows], page.examined))
            older_than = page.stopped_at
            if older_than is None:
                return found

    for search in (search_runs, search_events):
        assert pages(search, 50) == [(["j7"], 8), (["j5", "j2"], 8), (["j0"], 4)]
        assert pages(search, 1) == [(["j7"], 6), (["j5"], 4), (["j2"], 6), (["j0"], 4), ([], 0)]


def test_events_are_found_once_and_by_the_state_of_all_their_runs(database: Database, dead: list[str]) -> None:
    found = database.query(search_events, Filter(), "o", 50)
    assert [row["job_id"] for row in found.rows] == [f"j{n}" for n in range(9, -1, -1)]
    assert found.examined == 20
    assert len(database.query(search_events, Filter(state="dead"), "refused", 50).rows) == 2
    assert database.query(search_events, Filter(state="open"), "refused", 50).rows == []
