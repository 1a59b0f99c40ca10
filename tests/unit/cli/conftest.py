"""A real store in the working directory, for commands that are run in this process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from receiver.cli.commands import build
from receiver.model.delivery import Delivery
from receiver.model.ids import event_id
from receiver.store import inbox
from tests.stores import open_store

NOW = 1_800_000_000.0


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty store, and the configuration that names it, in the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "receiver.toml").write_text(
        '[sources.aitts]\nprovider = "aitts"\nsigning_secrets = ["a-long-secret-0123"]\n'
        '[handlers.log]\n[store]\nurl = "sqlite:///receiver.db"\n'
    )
    assert CliRunner().invoke(build(), ["db", "upgrade"]).exit_code == 0
    return tmp_path / "receiver.db"


def add_events(
    store: Path,
    count: int,
    *,
    at: float = NOW,
    handlers: Sequence[str] = ("log",),
    quarantined: int = 0,
    name: str = "job",
) -> list[str]:
    """Store so many events, one a second from `at` on, the first of them in quarantine; their ids."""
    events = [
        Delivery(
            event_id=event_id(at + n, n), source="aitts", type="job.completed", key=f"{name}-{n}", job_id=f"{name}-{n}",
            origin="poll", payload="{}", body=b"{}", headers="[]", key_id=None, skew=None, received_at=at + n,
            handlers=tuple(handlers), quarantined=n < quarantined,
        )
        for n in range(count)
    ]  # fmt: skip
    database = open_store(store)
    for start in range(0, count, 1000):
        database.transact(inbox.accept, events[start : start + 1000])
    database.close()
    return [event.event_id for event in events]
