"""What `prune` says before it deletes: how many, counted up to a bound."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from sqlalchemy import Connection
from typer.testing import CliRunner, Result

import receiver.cli
from receiver.cli.commands import build
from receiver.errors import StoreFull
from receiver.store import prune, schema
from tests.stores import insert_rows
from tests.unit.cli.conftest import add_events

OLD_EVENTS, OLD_QUARANTINED = 30, 20


@pytest.fixture
def filled(store: Path) -> Path:
    """A store of old events."""
    add_events(store, OLD_EVENTS + OLD_QUARANTINED, at=1.0, handlers=(), quarantined=OLD_QUARANTINED)
    return store


def prune_with(*words: str) -> Result:
    return CliRunner().invoke(build(), words)


def test_what_is_counted_to_the_end_is_exact(filled: Path) -> None:
    result = prune_with("prune")
    assert result.exit_code == 2
    assert "Finished events older than 30 days: 30.\n" in result.stdout
    assert "Events in quarantine older than 30 days: 20.\n" in result.stdout
    assert "Delete 50 events?" in result.output


def test_counting_ends_at_a_bound_and_deleting_does_not(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("receiver.engine.matching.MAX_COUNTED", 25)
    monkeypatch.setattr("receiver.engine.pruning.PAGE", 7)
    done = prune_with("prune", "--yes")
    assert done.exit_code == 0, done.output
    assert "Finished events older than 30 days: 25+.\n" in done.stdout
    assert "Events in quarantine older than 30 days: 20.\n" in done.stdout
    assert "Events deleted: 50.\n" in done.stdout
    assert "Finished events older than 30 days: 0.\n" in prune_with("prune").stdout


def test_jobs_whose_events_are_gone_go_too(filled: Path) -> None:
    """A `prune` that was ended between the events and their jobs has left them."""
    assert prune_with("prune", "--yes").exit_code == 0
    insert_ended_jobs(filled, 3)
    result = prune_with("prune")
    assert result.exit_code == 2
    assert "Ended jobs older than 30 days, without an event: 3.\n" in result.stdout
    assert "Delete 3 jobs?" in result.output
    assert "Events deleted: 0, jobs: 3.\n" in prune_with("prune", "--yes").stdout
    assert "jobs" not in prune_with("prune").output


def insert_ended_jobs(store: Path, count: int) -> None:
    times = dict.fromkeys(("created_at", "due_at", "deadline_at", "ended_at"), 1.0)
    job = {"source": "aitts", "state": "expired", **times}
    insert_rows(store, schema.jobs, *(job | {"id": f"job_{number}", "job_id": str(number)} for number in range(count)))


def test_it_says_how_much_was_deleted_before_the_store_failed_and_why_once(
    filled: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    delete_jobs = prune.JOBS.delete
    insert_ended_jobs(filled, 1)

    def full(connection: Connection, before: float, ids: Sequence[str]) -> int:
        delete_jobs(connection, before, ids)
        raise StoreFull("The disk is full.")

    monkeypatch.setattr(prune, "JOBS", prune.Prunable("jobs", prune.find_jobs, full))
    monkeypatch.setattr(sys, "argv", ["tts-receiver", "prune", "--yes"])
    with pytest.raises(SystemExit) as ended:
        receiver.cli._run()
    assert ended.value.code == 1
    said = capsys.readouterr()
    assert said.err.endswith(
        "Not finished. Events deleted: 30. The next `prune` continues.\ntts-receiver: The disk is full.\n"
    )
    assert (said.out + said.err).count("The disk is full.") == 1
