"""Commands that change many rows do it in few transactions, and say how far they came and how to go on."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event
from typer.testing import CliRunner, Result

import receiver.cli
from receiver.cli.commands import build
from receiver.errors import StoreFull
from receiver.store import runs
from tests.stores import execute, query
from tests.unit.cli.conftest import add_events

EVENTS = 130


def ran(*words: str) -> Result:
    return CliRunner().invoke(build(), words)


def states(store: Path) -> dict[str, str]:
    """By event."""
    return {row["event_id"]: row["state"] for row in query(store, "SELECT * FROM runs ORDER BY event_id")}


@pytest.fixture
def ids(store: Path) -> list[str]:
    """Events whose run is a dead letter."""
    ids = add_events(store, EVENTS)
    execute(store, "UPDATE runs SET state = 'dead', attempt = 3, error = 'x', finished_at = 1.0")
    return ids


@pytest.fixture
def changed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How many rows each committed transaction has changed: one is its entry in the audit log."""
    found: list[int] = []
    before: dict[int, int] = {}

    def begun(connection: Any) -> None:
        before[id(connection)] = connection.connection.driver_connection.total_changes

    def committed(connection: Any) -> None:
        count = connection.connection.driver_connection.total_changes - before[id(connection)]
        if count:
            found.append(count)

    event.listen(Engine, "begin", begun)
    event.listen(Engine, "commit", committed)
    yield found
    event.remove(Engine, "begin", begun)
    event.remove(Engine, "commit", committed)


@pytest.mark.parametrize(
    "words",
    ["events replay --state dead", "runs replay --state dead", "runs replay --handler log", "events replay NAMED"],
)
def test_many_runs_are_made_due_in_few_transactions(
    store: Path, ids: list[str], changed: list[int], words: str
) -> None:
    named = ids if words.endswith("NAMED") else ["--yes"]
    done = ran(*words.removesuffix("NAMED").split(), *named)
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[-1] == f"Runs due: {EVENTS}; a running receiver starts them within a second."
    assert set(states(store).values()) == {"pending"}
    assert sum(changed) == EVENTS + len(changed)
    assert len(changed) <= EVENTS / 20 + 2
    assert max(changed) <= 101


def test_many_runs_are_cancelled_in_few_transactions(store: Path, changed: list[int]) -> None:
    add_events(store, EVENTS)
    changed.clear()
    assert ran("runs", "cancel", "--state", "pending", "--yes").stdout.endswith(f"Runs cancelled: {EVENTS}.\n")
    assert set(states(store).values()) == {"cancelled"}
    assert sum(changed) == EVENTS + len(changed)
    assert len(changed) <= EVENTS / 20 + 2


def test_many_events_are_released_in_few_transactions(store: Path, changed: list[int]) -> None:
    ids = add_events(store, EVENTS, quarantined=EVENTS)
    changed.clear()
    done = ran("events", "release", "--source", "aitts", "--yes")
    assert done.stdout.splitlines()[1:-1] == [f"{event_id}: log" for event_id in ids]
    assert set(states(store).values()) == {"pending"}
    assert len(changed) <= EVENTS / 20 + 2


def test_one_event_that_is_refused_keeps_no_other_back(store: Path, ids: list[str]) -> None:
    execute(store, "UPDATE events SET status = 'quarantined' WHERE id = :id", id=ids[5])
    execute(store, "UPDATE runs SET state = 'pending', finished_at = NULL WHERE event_id = :id", id=ids[7])
    done = ran("events", "replay", *ids)
    assert done.exit_code == 1
    assert done.stderr == f"✗ {ids[5]} is in quarantine; `tts-receiver events release` dispatches it.\n"
    *lines, last = done.stdout.splitlines()
    refused = "nothing to run (it is for no handler, or its runs are still open)"
    assert lines == [f"{id_}: {refused if id_ == ids[7] else 'log'}" for id_ in ids if id_ != ids[5]]
    assert last == f"Runs due: {EVENTS - 2}; a running receiver starts them within a second."
    assert [id_ for id_, state in states(store).items() if state == "dead"] == [ids[5]]


@pytest.mark.parametrize(
    ("words", "counted"),
    [
        ("events replay --source aitts --yes", "Events replayed: 20, runs due: 20"),
        ("runs replay --source aitts --yes", "Runs due: 20"),
    ],
)
def test_a_replay_that_fails_says_how_far_it_came_and_goes_on_there(
    store: Path,
    ids: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: str,
    counted: str,
) -> None:
    replay = runs.replay
    calls: list[int] = []

    def full(connection: Any, keys: Any, now: float) -> Any:
        calls.append(len(keys))
        if len(calls) == 2:
            replay(connection, keys, now)
            raise StoreFull("The disk is full.")
        return replay(connection, keys, now)

    monkeypatch.setattr(runs, "replay", full)
    monkeypatch.setattr(sys, "argv", ["tts-receiver", *words.split()])
    with pytest.raises(SystemExit) as ended:
        receiver.cli._run()
    assert ended.value.code == 1
    said = capsys.readouterr()
    assert said.err == (
        f"Not finished. {counted}. To continue, repeat it with --after {ids[19]}.\ntts-receiver: The disk is full.\n"
    )
    assert "The disk is full." not in said.out
    printed = [line for line in said.out.splitlines() if line.startswith("evt_")]
    assert printed == ([f"{id_}: log" for id_ in ids[:20]] if words.startswith("events") else [])
    assert [id_ for id_, state in states(store).items() if state == "pending"] == ids[:20]

    # What was due has run meanwhile.
    execute(store, "UPDATE runs SET state = 'succeeded', finished_at = 2.0 WHERE state = 'pending'")
    rest = ran(*words.split(), "--after", re.findall(r"evt_\w+", said.err)[0])
    assert rest.stdout.splitlines()[-1].startswith(f"Runs due: {EVENTS - 20};")
    assert [id_ for id_, state in states(store).items() if state == "succeeded"] == ids[:20]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_what_is_being_committed_at_a_stop_is_counted_however_often_it_is_stopped(
    store: Path,
    ids: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: signal.Signals,
    code: int,
) -> None:
    replay = runs.replay

    def stopped(connection: Any, keys: Any, now: float) -> Any:
        for _ in range(3):
            os.kill(os.getpid(), number)
            time.sleep(0.05)  # one that is pending would swallow the next
        return replay(connection, keys, now)

    monkeypatch.setattr(runs, "replay", stopped)
    monkeypatch.setattr(sys, "argv", ["tts-receiver", "events", "replay", "--source", "aitts", "--yes"])
    monkeypatch.setattr(receiver.cli, "open_standard_streams", lambda: None)  # they are pytest's
    with pytest.raises(SystemExit) as ended:
        receiver.cli.main()
    assert ended.value.code == code
    said = capsys.readouterr()
    assert said.err == (f"Stopped. Events replayed: 20, runs due: 20. To continue, repeat it with --after {ids[19]}.\n")
    assert [line for line in said.out.splitlines() if line.startswith("evt_")] == [f"{id_}: log" for id_ in ids[:20]]
    assert [id_ for id_, state in states(store).items() if state == "pending"] == ids[:20]


def test_where_to_go_on_is_one_event(store: Path, ids: list[str]) -> None:
    refused = ran("events", "replay", "--after", ids[0][:12], "--yes")
    assert refused.exit_code == 1
    assert "More than one event starts with" in str(refused.exception)
