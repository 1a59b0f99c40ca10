"""Commands that act on all that fits a filter read it page by page."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from receiver.cli.commands import build
from receiver.engine import matching
from receiver.store import runs
from tests.stores import open_store
from tests.unit.cli.conftest import NOW, add_events

HANDLERS = ("log", "other")


@pytest.fixture
def ids(store: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Seven events with two cancelled runs each, in a store that is read two events at a time."""
    monkeypatch.setattr(matching, "PAGE", 2)
    ids = add_events(store, 7, handlers=HANDLERS)
    database = open_store(store)
    database.transact(runs.cancel, [(event, handler) for event in ids for handler in HANDLERS], NOW)
    database.close()
    return ids


def said(*words: str) -> list[str]:
    done = CliRunner().invoke(build(), words)
    assert done.exit_code == 0, done.output
    return done.stdout.splitlines()


def test_every_event_that_fits_is_replayed_once_the_oldest_first(ids: list[str]) -> None:
    first, *replayed, last = said("events", "replay", "--state", "done", "--yes")
    assert first == "Matching events: 7."
    assert replayed == [f"{id_}: log" for id_ in ids]
    assert last == "Runs due: 7; a running receiver starts them within a second."
    assert said("events", "replay", "--state", "done", "--yes") == ["Matching events: 0."]


def test_every_run_that_fits_is_changed_once(ids: list[str]) -> None:
    assert said("runs", "replay", "--source", "aitts", "--yes")[0] == "Matching runs: 14."
    assert said("runs", "cancel", "--handler", "other", "--yes") == ["Matching runs: 7.", "Runs cancelled: 7."]
    assert said("runs", "cancel", "--state", "running", "--yes")[0] == "Matching runs: 0."
    none_due = ["Matching runs: 0.", "Runs due: 0."]
    assert said("runs", "replay", "--reason", "none_has_it", "--yes", "--wait") == none_due
    assert said("runs", "cancel", ids[3]) == ["Matching runs: 1.", "Runs cancelled: 1."]


def test_what_fits_is_counted_up_to_a_bound_and_changed_all_the_same(
    ids: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matching, "MAX_COUNTED", 3)
    assert said("events", "replay", "--type", "job.completed", "--yes")[0] == "Matching events: 3+."
    assert said("runs", "cancel", "--type", "job.completed", "--yes")[-1] == f"Runs cancelled: {len(ids)}."


def test_large_counts_have_thousands_separators(store: Path) -> None:
    add_events(store, 1200)
    assert said("runs", "cancel", "--source", "aitts", "--yes") == ["Matching runs: 1,200.", "Runs cancelled: 1,200."]
    assert said("runs", "replay", "--source", "aitts", "--yes")[-1].startswith("Runs due: 1,200; ")
    assert said("runs", "cancel", "--source", "aitts", "--yes")[-1] == "Runs cancelled: 1,200."
    replayed = said("events", "replay", "--source", "aitts", "--yes")
    assert (replayed[0], replayed[-1].partition(";")[0]) == ("Matching events: 1,200.", "Runs due: 1,200")
