"""`runs errors` counts why runs failed, and the filters by kind and reason act on such a group."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from receiver.cli.commands import build
from receiver.model.slots import Slots
from receiver.store import runs
from receiver.store.runs import RunResult
from receiver.store.states import RunState
from receiver.web.api.models import RunErrors
from tests.claiming import claim_due
from tests.stores import open_store
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
    found = RunErrors.model_validate_json(invoke("errors", "--json").output)
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
    listed = json.loads(invoke("list", *options, "--json").output)["items"]
    assert len(listed) == matching
    replayed = invoke("replay", *options, "--yes")
    assert replayed.exit_code == 0, replayed.output
    assert f"Runs due: {matching};" in replayed.output or f"Matching runs: {matching}." in replayed.output
    pending = json.loads(invoke("list", "--state", "pending", "--json").output)["items"]
    assert len(pending) == matching + 1
    assert {row["event_id"] for row in listed} <= {row["event_id"] for row in pending}
    assert json.loads(invoke("errors", "--json").output)["runs"] == 6 - matching


def test_runs_that_wait_for_another_attempt_are_cancelled_by_the_reason_of_the_last(failed: Path) -> None:
    database = open_store(failed)
    [claim] = database.transact(claim_due, Slots(1, {"log": None}).free({}), "me", NOW + 60, NOW + 90)
    busy = RunResult(
        claim, "me", "retry_later", RunState.PENDING, NOW + 61, due_at=NOW + 99, error="busy", error_kind="retry_later",
        reason="busy",
    )  # fmt: skip
    assert database.transact(runs.finish, [busy]) == [True]
    database.close()
    assert json.loads(invoke("errors", "--state", "pending", "--json").output)["items"][0]["reason"] == "busy"
    assert "Runs cancelled: 1." in invoke("cancel", "--reason", "busy", "--yes").output
    [row] = json.loads(invoke("list", "--state", "cancelled", "--json").output)["items"]
    assert (row["error_kind"], row["reason"]) == ("cancelled", None)


def test_what_matches_nothing_is_said(failed: Path) -> None:
    assert invoke("errors", "--reason", "none").output == "No dead runs match.\n"
    assert invoke("errors", "--state", "running").output == "No running runs that have failed match.\n"
    assert (
        "did you mean"
        in str(invoke("errors", "--handler", "lgo").exception or "") + invoke("errors", "--handler", "lgo").output
    )
    assert "--state" in invoke("errors", "--state", "succeeded").output
