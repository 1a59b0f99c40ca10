"""A list that takes too long ends with one sentence that says what to do."""

from __future__ import annotations

import functools
import sys
from pathlib import Path

import pytest

import receiver.assembly.resources
import receiver.cli
from receiver.engine import pruning
from receiver.store import readers
from receiver.store.database import Database
from tests.unit.cli.conftest import add_events

OLD = 1_600_000_000.0
OPEN = 30_000
"""Open events: to look at each for one that is done takes thousands of times as long as the limit."""


@pytest.fixture
def slow(store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store of old events that are open, and a time limit that every list of some length exceeds."""
    add_events(store, OPEN, at=OLD)
    monkeypatch.setattr(receiver.assembly.resources, "Database", functools.partial(Database, listing_seconds=1e-6))
    monkeypatch.setattr(readers, "INTERRUPT_INTERVAL_SECONDS", 0.0)  # whatever statement runs is met
    return store


def ended(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: str) -> str:
    """What a command prints on standard error, and nothing on standard output, before it ends with 1."""
    monkeypatch.setattr(sys, "argv", ["tts-receiver", *words.split()])
    with pytest.raises(SystemExit) as ended:
        receiver.cli._run()
    assert ended.value.code == 1
    said = capsys.readouterr()
    assert said.out == ""
    return said.err


@pytest.mark.parametrize("words", ["events list --state done", "events replay --state done --yes"])
@pytest.mark.usefixtures("slow")
def test_a_list_that_takes_too_long_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: str
) -> None:
    assert ended(monkeypatch, capsys, words) == (
        "tts-receiver: This took more than 1e-06 s and was ended. Narrow it down by source, type, state or time, or "
        "ask for fewer rows.\n"
    )


@pytest.mark.usefixtures("slow")
def test_a_prune_that_cannot_be_narrowed_down_is_not_told_to(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        pruning, "PAGE", OPEN
    )  # a page of milliseconds, or it may end before the thread that interrupts
    assert ended(monkeypatch, capsys, "prune --yes") == (
        "tts-receiver: Searching 30,000 rows for old ones took too long and was interrupted: the store's disk is slow, "
        "or busy. Nothing is lost; try again when it is less busy.\n"
    )
