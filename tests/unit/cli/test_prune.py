"""What `prune` says before it deletes: how many, counted up to a bound."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from receiver.cli.commands import build
from receiver.model.delivery import Delivery
from receiver.store import inbox
from receiver.store.database import Database

OLD_EVENTS, OLD_QUARANTINED = 30, 20


@pytest.fixture
def filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a configuration, and a store of old events."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "receiver.toml").write_text(
        '[sources.aitts]\nprovider = "aitts"\nsigning_secrets = ["a-long-secret-0123"]\n'
    )
    assert prune_with("db", "upgrade").exit_code == 0
    database = Database(tmp_path / "data" / "receiver.db")
    made = [
        Delivery(
            event_id=f"evt_{number:032x}", source="aitts", type="job.completed", key=f"{number}", job_id=f"{number}",
            origin="webhook", payload="{}", body=b"{}", headers="[]", key_id=None, skew=0.0, received_at=1.0,
            handlers=(), quarantined=number < OLD_QUARANTINED,
        )
        for number in range(OLD_EVENTS + OLD_QUARANTINED)
    ]  # fmt: skip
    database.transact(inbox.accept, made)
    database.close()
    return tmp_path


def prune_with(*words: str) -> Result:
    return CliRunner().invoke(build(), words)


def test_what_is_counted_to_the_end_is_exact(filled: Path) -> None:
    asked = prune_with("prune")
    assert asked.exit_code == 2
    assert "Finished events older than 30 days: 30.\n" in asked.stdout
    assert "Events in quarantine older than 30 days: 20.\n" in asked.stdout
    assert "Forget 50 events?" in asked.output


def test_counting_ends_at_a_bound_and_deleting_does_not(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("receiver.cli.matching.MAX_COUNTED", 25)
    monkeypatch.setattr("receiver.engine.pruning.PAGE", 7)
    done = prune_with("prune", "--yes")
    assert done.exit_code == 0, done.output
    assert "Finished events older than 30 days: 25+.\n" in done.stdout
    assert "Events in quarantine older than 30 days: 20.\n" in done.stdout
    assert "Events deleted: 50.\n" in done.stdout
    assert "Finished events older than 30 days: 0.\n" in prune_with("prune").stdout
