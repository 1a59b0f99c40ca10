"""A list that takes too long ends with one sentence that says what to do."""

from __future__ import annotations

import functools
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import receiver.assembly.resources
import receiver.cli
from receiver.cli.commands import build
from receiver.model.delivery import Delivery
from receiver.model.ids import event_id
from receiver.store import inbox, readers
from receiver.store.database import Database

NOW = 1_800_000_000.0
OPEN = 6000
"""Open events: to look at each for one that is done takes thousands of times as long as the limit."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store in which nothing is done, and a time limit that every list of some length exceeds."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "receiver.toml").write_text(
        '[sources.aitts]\nprovider = "aitts"\nsigning_secrets = ["a-long-secret-0123"]\n'
        '[store]\nurl = "sqlite:///receiver.db"\n'
    )
    assert CliRunner().invoke(build(), ["db", "upgrade"]).exit_code == 0
    database = Database(tmp_path / "receiver.db")
    events = [
        Delivery(
            event_id=event_id(NOW + n, n), source="aitts", type="job.completed", key=f"job-{n}", job_id=f"job-{n}",
            origin="poll", payload="{}", body=b"{}", headers="[]", key_id=None, skew=None, received_at=NOW + n,
            handlers=("log",),
        )
        for n in range(OPEN)
    ]  # fmt: skip
    for start in range(0, OPEN, 1000):
        database.transact(inbox.accept, events[start : start + 1000])
    database.close()
    monkeypatch.setattr(receiver.assembly.resources, "Database", functools.partial(Database, listing_seconds=1e-6))
    monkeypatch.setattr(readers, "AGAIN_SECONDS", 0.0)  # whatever statement runs is met
    return tmp_path


@pytest.mark.parametrize("words", ["events list --state done", "events replay --state done --yes"])
@pytest.mark.usefixtures("folder")
def test_a_list_that_takes_too_long_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["tts-receiver", *words.split()])
    with pytest.raises(SystemExit) as ended:
        receiver.cli._run()
    assert ended.value.code == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == (
        "tts-receiver: This took more than 1e-06 s and was ended. Narrow it down: by source, type, state or time.\n"
    )
