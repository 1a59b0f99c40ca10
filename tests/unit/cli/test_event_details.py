"""`events show` prints what is stored about an event."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from receiver.cli.commands import build
from receiver.model.slots import Slots
from receiver.store import artifacts, runs
from receiver.store.artifacts import ArtifactRow
from receiver.store.runs import RunResult
from receiver.store.states import RunState
from tests.claiming import claim_due
from tests.stores import open_store
from tests.unit.cli.conftest import NOW, add_events


def test_audio_is_shown_with_the_time_that_its_fetch_took(store: Path) -> None:
    [event_id] = add_events(store, 1)
    row = ArtifactRow(
        event_id=event_id, n=0, address="a.wav", bytes=44, sha256="ab", content_type="audio/wav", format="wav",
        duration=1.5, sample_rate=24_000, channels=1, fetched_at=NOW, fetch_seconds=7.25,
    )  # fmt: skip
    database = open_store(store)
    database.transact(artifacts.put_all, [row])
    database.close()
    shown = CliRunner().invoke(build(), ["events", "show", event_id], terminal_width=200)
    assert shown.exit_code == 0, shown.output
    assert ["fetch_seconds", "7.25"] in [line.split() for line in shown.output.splitlines()]
    assert (
        json.loads(CliRunner().invoke(build(), ["events", "show", event_id, "--json"]).output)["artifacts"][0][
            "fetch_seconds"
        ]
        == 7.25
    )


def test_why_a_run_failed_is_shown_with_its_traceback(store: Path) -> None:
    [event_id] = add_events(store, 1)
    database = open_store(store)
    [claim] = database.transact(claim_due, Slots(1, {"log": None}).free({}), "me", NOW + 9, NOW + 99)
    failed = RunResult(
        claim, "me", "failed", RunState.DEAD, NOW + 10, error="KeyError: 'voice'", error_kind="KeyError", reason="odd",
        traceback="Traceback (most recent call last):\n  File \"/x.py\", line 7, in work\n\x1b[31mKeyError: 'voice'",
    )  # fmt: skip
    assert database.transact(runs.finish, [failed]) == [True]
    database.close()
    shown = CliRunner().invoke(build(), ["events", "show", event_id], terminal_width=80)
    assert shown.exit_code == 0, shown.output
    assert "odd" in shown.output
    _, _, traced = shown.output.partition("traceback of log, attempt 1\n")
    assert traced.splitlines() == [
        "Traceback (most recent call last):", '  File "/x.py", line 7, in work', "\\x1b[31mKeyError: 'voice'",
    ]  # fmt: skip
    shown = CliRunner().invoke(build(), ["events", "show", event_id, "--json"])
    [run] = json.loads(shown.output)["runs"]
    assert (run["error_kind"], run["reason"], run["traceback"]["attempt"]) == ("KeyError", "odd", 1)
