"""Mistakes on the command line: each is told what is wrong and what is right, before anything is opened or sent."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from receiver.cli.commands import build


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a configuration and an empty store."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "receiver.toml").write_text(
        '[sources.aitts]\nprovider = "aitts"\nsigning_secrets = ["a-long-secret-0123"]\n'
    )
    assert CliRunner().invoke(build(), ["db", "upgrade"]).exit_code == 0
    return tmp_path


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("events list --since yesterday", "neither an age such as 2h nor an ISO time such as 2026-11-26T08:00"),
        (f"events list --since {'9' * 400}d", "neither an age such as 2h nor an ISO time"),
        (f"runs cancel --until {'9' * 400}.5s", "neither an age such as 2h nor an ISO time"),
        (
            "events list --since 2h --until 3h",
            "--since 2h is later than --until 3h",
        ),
        ("events show", "Name an event, or filter them, as in --job JOB."),
        ("events show evt_1 --job x", "Name events or filter them, not both."),
        ("events list --metadata customer", "Invalid value for --metadata: 'customer' is not KEY=VALUE."),
        (
            f"jobs list --metadata customer={'x' * 257}",
            "is longer than 256 characters",
        ),
        ("runs list --metadata a=1 --metadata b=1 --metadata c=1 --metadata d=1 --metadata e=1", "has at most 4 pairs"),
        ("runs list --error-text ' '", "--error-text: give 1 to 200 characters."),
        ("runs list --error-text a --state pending", "searches the errors of dead runs, not of those that are pending"),
        ("jobs list --since 2h --until 3h", "--since 2h is later than --until 3h"),
        ("events list --limit 0", "'--limit': Input should be greater than or equal to 1"),
        ("jobs list --limit 99999999999999999999", "'--limit': Input should be less than or equal to 1000000000"),
        ("prune --days 1e400", "'--days': Input should be less than or equal to 36500"),
        (
            "runs list --state ded",
            "'ded' is none of pending, running, succeeded, dead, cancelled. Did you mean 'dead'?",
        ),
        ("runs replay", "Name an event, or filter the runs, as in --state dead."),
        ("runs cancel", "Name an event, or filter the runs, as in --state pending."),
        (
            "runs cancel --state dead --yes",
            "a run that is dead cannot be cancelled; one that is pending or running can.",
        ),
        (
            "runs replay --state pending --yes",
            "a run that is pending cannot be replayed; one that is dead, succeeded or cancelled can.",
        ),
        ("events replay ''", "'' names no event: give its id, or a unique prefix"),
        ("events show evt_", "'evt_' names no event: give its id, or a unique prefix"),
        ("runs cancel ''", "'' names no event: give its id, or a unique prefix"),
        ("jobs show ''", "The id is empty: give that of a job; `tts-receiver jobs list` lists the ids."),
        ("send --source aitts --url localhost:8080", "'localhost:8080' is not an http or https address"),
        ("simulate --fault eror_500=1", "there is no fault 'eror_500'; did you mean 'error_500'?"),
        ("simulate --fault x=1", "there is no fault 'x'; there is: audio_gone, "),
        ("forward-test --status 700", "'--status': Input should be less than or equal to 599"),
        ("forward-test --status 100", "'--status': Input should be greater than or equal to 200"),
        ("forward-test --port 70000", "'--port': Input should be less than or equal to 65535"),
        (
            "serve --only worker,intake",
            "'worker,intake' is neither intake nor worker. Leave --only out to do the work of both in one process.",
        ),
        ("check --only wroker", "--only: 'wroker' is neither intake nor worker."),
        ("sources tst", "No such command 'tst'. Did you mean 'test'?"),
    ],
)
def test_a_mistake_is_told_with_what_is_right(here: Path, line: str, said: str) -> None:
    answered = CliRunner().invoke(build(), shlex.split(line), terminal_width=200)
    assert answered.exit_code == 2, answered.output
    assert said in " ".join(answered.output.replace("│", " ").split())
