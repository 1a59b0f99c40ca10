"""`runs errors` counts why runs failed, and the filters by kind and reason act on such a group."""

from __future__ import annotations

import csv
import io
import json
import shlex
import sys
from pathlib import Path

import pytest
from click.testing import Result
from rich.console import Console
from typer.testing import CliRunner

from receiver.cli import output
from receiver.cli.commands import build
from receiver.model.slots import Slots
from receiver.store import runs
from receiver.store.runs import RunResult
from receiver.store.states import RunState
from receiver.web.api.models import RunErrors
from tests.claiming import claim_due
from tests.stores import execute, open_store
from tests.unit.cli.conftest import NOW, add_events

WHYS = [("rejected", "no_voice")] * 3 + [("rejected", None)] * 2 + [("KeyError", None)]


@pytest.fixture
def failed(store: Path) -> Path:
    """Six dead runs, and one that is pending."""
    add_events(store, 7)
    database = open_store(store)
    claimed = database.transact(claim_due, Slots(6, {"log": None}).free({}), "me", NOW + 60, NOW + 90)
    results = [
        RunResult(
            claim, "me", "failed", RunState.DEAD, NOW + 60 + n, error=f"It failed: {n}\x1b[31m", error_kind=kind,
            reason=reason,
        )
        for n, (claim, (kind, reason)) in enumerate(zip(claimed, WHYS, strict=True))
    ]  # fmt: skip
    assert all(database.transact(runs.finish, results))
    database.close()
    return store


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(build(), ["runs", *arguments], terminal_width=80)


def test_groups_are_shown_with_an_example_and_what_to_do(failed: Path) -> None:
    shown = invoke("errors", "--limit", "2")
    assert shown.exit_code == 0, shown.output
    assert "Dead runs: 6, in 3 groups (the largest 2; --limit shows more)" in shown.stderr
    assert "It failed: 2\\x1b[31m" in shown.output
    assert "KeyError" not in shown.output
    last = shown.output.splitlines()[-1]
    assert last.endswith("runs replay --state dead --handler log --error-kind rejected --reason no_voice")


def test_its_json_is_that_of_the_api(failed: Path) -> None:
    found = RunErrors.model_validate_json(invoke("errors", "--json").stdout)
    assert [(group.error_kind, group.reason, group.count) for group in found.items] == [
        ("rejected", "no_voice", 3), ("rejected", None, 2), ("KeyError", None, 1),
    ]  # fmt: skip
    assert (found.groups, found.runs) == (3, 6)
    assert (found.items[0].first_at.timestamp(), found.items[0].last_at.timestamp()) == (NOW + 60, NOW + 62)


@pytest.mark.parametrize(
    ("options", "matching"),
    [
        (["--reason", "no_voice"], 3),
        (["--error-kind", "rejected"], 5),
        (["--error-kind", "rejected", "--reason", ""], 2),
        (["--state", "dead", "--handler", "log", "--error-kind", "KeyError", "--reason", ""], 1),
        (["--reason", "no_vioce"], 0),
    ],
)
def test_the_runs_of_a_group_are_listed_and_replayed_and_no_others(
    failed: Path, options: list[str], matching: int
) -> None:
    listed = json.loads(invoke("list", *options, "--json").stdout)["items"]
    assert len(listed) == matching
    replayed = invoke("replay", *options, "--yes")
    assert replayed.exit_code == 0, replayed.output
    assert f"Runs due: {matching};" in replayed.output or f"Matching runs: {matching}." in replayed.output
    pending = json.loads(invoke("list", "--state", "pending", "--json").stdout)["items"]
    assert len(pending) == matching + 1
    assert {row["event_id"] for row in listed} <= {row["event_id"] for row in pending}
    assert json.loads(invoke("errors", "--json").stdout)["runs"] == 6 - matching


def test_runs_that_wait_for_another_attempt_are_cancelled_by_the_reason_of_the_last(failed: Path) -> None:
    database = open_store(failed)
    [claim] = database.transact(claim_due, Slots(1, {"log": None}).free({}), "me", NOW + 60, NOW + 90)
    busy = RunResult(
        claim, "me", "retry_later", RunState.PENDING, NOW + 61, due_at=NOW + 99, error="busy", error_kind="retry_later",
        reason="busy",
    )  # fmt: skip
    assert database.transact(runs.finish, [busy]) == [True]
    database.close()
    assert json.loads(invoke("errors", "--state", "pending", "--json").stdout)["items"][0]["reason"] == "busy"
    assert "Runs cancelled: 1." in invoke("cancel", "--reason", "busy", "--yes").output
    [row] = json.loads(invoke("list", "--state", "cancelled", "--json").stdout)["items"]
    assert (row["error_kind"], row["reason"]) == ("cancelled", None)


def test_what_matches_nothing_is_said(failed: Path) -> None:
    assert invoke("errors", "--reason", "none").stdout == "No dead runs match.\n"
    assert invoke("errors", "--state", "running").output == "No running runs that have failed match.\n"
    assert (
        "did you mean"
        in str(invoke("errors", "--handler", "lgo").exception or "") + invoke("errors", "--handler", "lgo").output
    )
    assert "--state" in invoke("errors", "--state", "succeeded").output


@pytest.mark.parametrize(
    "words",
    [
        ["runs", "list"], ["runs", "list", "--json"], ["runs", "errors"], ["runs", "errors", "--csv"],
        ["runs", "replay", "--yes"], ["runs", "cancel", "--yes"], ["runs", "retry-now", "--yes"], ["events", "list"],
        ["events", "replay", "--yes"],
    ],
)  # fmt: skip
def test_a_mistyped_kind_or_reason_that_nothing_has_is_pointed_out(failed: Path, words: list[str]) -> None:
    def ask(*filter: str) -> Result:
        return CliRunner().invoke(build(), [*words, *filter], terminal_width=80)

    mistyped = ask("--reason", "no_vioce")
    assert mistyped.exit_code == 0
    assert "No run has an error for the reason 'no_vioce'; did you mean 'no_voice'?\n" in mistyped.stderr
    other = ask("--error-kind", "Timeout")
    assert "No run has an error of the kind 'Timeout'; there is: KeyError, rejected.\n" in other.stderr
    both = ask("--error-kind", "rejectd", "--reason", "x")
    assert "did you mean 'rejected'?" in both.stderr
    assert "'x'; there is: no_voice." in both.stderr
    known = [["--reason", "no_voice", "--type", "test"], ["--reason", ""], ["--error-kind", "KeyError"]]
    for filter in known if words[1] in ("list", "errors") else known[:1]:
        assert "No run has an error" not in ask(*filter).stderr


def test_without_any_error_there_is_none_to_name_and_of_very_many_only_some(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "the reason 'x'.\n" in invoke("list", "--reason", "x").stderr
    add_events(store, 25)
    for n in range(25):
        execute(
            store,
            "UPDATE runs SET state = 'dead', error = 'e', error_kind = 'k', reason = :reason WHERE event_id IN "
            "(SELECT event_id FROM runs WHERE reason IS NULL LIMIT 1)",
            reason=f"r{n:02}",
        )
    said = invoke("list", "--reason", "x").stderr
    assert "; there is: r00, r01, " in said
    assert ", r19, and more.\n" in said


def test_its_csv_has_a_column_for_each_value(failed: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(invoke("errors", "--csv").stdout, newline="")))
    assert [(row["count"], row["example.error"]) for row in rows[:2]] == [
        ("3", "It failed: 2\\x1b[31m"), ("2", "It failed: 4\\x1b[31m"),
    ]  # fmt: skip
    assert all(row["example.event_id"].startswith("evt_") for row in rows)
    assert not any("{" in cell for row in rows for cell in row.values() if isinstance(cell, str))


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_the_command_that_replays_the_largest_group_fits_a_terminal(
    failed: Path, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    """Lines that are too long are continued as a shell reads them."""
    execute(failed, "UPDATE runs SET reason = 'the quota of this month' WHERE reason = 'no_voice'")
    monkeypatch.setattr(output, "terminal", lambda: Console(width=width, file=sys.stdout))
    lines = invoke("errors").output.splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith("Replay the largest:"))
    assert all(len(line) <= max(width, 50) for line in lines[start:])
    command = "\n".join(lines[start:]).removeprefix("Replay the largest:")
    assert shlex.split(command.replace("\\\n", "")) == [
        "tts-receiver", "runs", "replay", "--state", "dead", "--handler", "log", "--error-kind", "rejected", "--reason",
        "the quota of this month",
    ]  # fmt: skip
