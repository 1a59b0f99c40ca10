"""The audit log of commands: whatever changes the store is in it, and `changes list` shows it."""

from __future__ import annotations

import io
import json
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from rich.console import Console
from typer.testing import CliRunner, Result

import receiver.cli
from receiver.cli import output
from receiver.cli.commands import COMMANDS, build
from receiver.errors import StoreFull
from receiver.model.ids import event_id
from receiver.store import runs
from receiver.web.api.models import Change
from tests.stores import execute, query
from tests.unit.cli.conftest import add_events
from tests.unit.cli.test_prune import insert_ended_jobs

pytestmark = pytest.mark.sqlite

UNRECORDED = {
    "init", "check", "serve", "demo", "simulate", "send", "sign", "verify", "forward-test", "voices", "events list",
    "events show", "runs list", "runs errors", "jobs list", "jobs show", "changes list", "processes list",
    "handlers list", "handlers match", "listen", "mcp", "sources list", "sources test", "webhook register",
    "webhook rotate", "webhook test", "db upgrade", "db copy", "db index-metadata", "audio get", "events tail",
    "status", "top", "usage",
    "audit", "operations list", "users hash", "users sessions",
}  # fmt: skip
"""Commands that change nothing in the store that an operator would look for: they read, or work on the provider's
account, on a file, or on the store as a whole."""


@pytest.fixture
def filled(store: Path) -> Path:
    """A store with something of everything, and a source that can submit."""
    config = store.parent / "receiver.toml"
    config.write_text(config.read_text().replace("[handlers", 'api_key = "a-key-of-the-account"\n[handlers', 1))
    add_events(store, 35, at=1.0, quarantined=10)
    execute(store, "UPDATE runs SET state = 'dead', attempt = 3, error = 'x', finished_at = 1.0")
    insert_ended_jobs(store, 2)
    execute(
        store, "UPDATE jobs SET state = 'unknown', job_id = NULL, request = '{}', submit_key = 's' WHERE id = 'job_1'"
    )
    assert ran("jobs", "watch", "--source", "aitts", "open").exit_code == 0
    execute(
        store,
        "INSERT INTO operations (id, at, operation, state, matching, updated_at, entry, criteria)"
        """ VALUES ('chg_1', 1.0, 'replay_runs', 'unfinished', 3, 1.0, '{"actor": "app"}', '{}'),"""
        """ ('chg_2', 1.0, 'replay_runs', 'failed', 3, 1.0, '{"actor": "app"}', '{}')""",
    )
    execute(
        store,
        "INSERT INTO console_sessions (id, kind, actor, credential, created_at, seen_at, expires_at)"
        " VALUES ('0123456789ab', 'user', 'ana', 'x', 1.0, 1.0, 4e9)",
    )
    execute(store, "DELETE FROM audit_entries")
    return store


NEWEST = event_id(35.0, 34)
"""The last event of `filled`."""


def ran(*words: str, input: str | None = None) -> Result:
    return CliRunner().invoke(build(), words, input)


CHANGING: dict[str, tuple[str, dict[str, Any]]] = {
    "speech": (
        "Hello --source aitts --voice alloy --no-wait",
        {"operation": "speak", "changed": 1, "filter": {"source": "aitts", "voice": "alloy", "characters": 5}},
    ),
    "task submit": (
        "--source aitts --path /api/v1/tts --data - --no-wait",
        {"operation": "submit_task", "changed": 1, "filter": {"source": "aitts", "path": "/api/v1/tts"}},
    ),
    "events replay": (
        "--state dead --yes",
        {"operation": "replay", "changed": 25, "filter": {"state": "dead"},
         "detail": "Events replayed: 25, runs due: 25"},
    ),
    "events edit": (
        f"{NEWEST} --payload - --yes", {"operation": "edit", "changed": 1, "filter": {"event": NEWEST}},
    ),
    "events release": (
        "--source aitts --since 1970-01-01T00:00 --yes",
        {"operation": "release", "changed": 10,
         "filter": {"source": "aitts", "state": "quarantined", "since": "1970-01-01 00:00:00Z"}},
    ),
    "runs replay": (
        "--state dead --reason= --yes",
        {"operation": "replay_runs", "changed": 25, "filter": {"state": "dead", "reason": ""}},
    ),
    "runs cancel": ("--handler log --yes", {"operation": "cancel_runs", "changed": 25, "filter": {"handler": "log"}}),
    "jobs watch": (
        "--source aitts new",
        {"operation": "watch_job", "changed": 1, "filter": {"source": "aitts", "job_id": "new"}},
    ),
    "jobs cancel": ("open", {"operation": "cancel_job", "changed": 1}),
    "jobs poll": ("open", {"operation": "poll_job", "changed": 1}),
    "runs retry-now": (
        "--handler log --yes", {"operation": "retry_runs", "changed": 25, "filter": {"handler": "log"}},
    ),
    "operations stop": (
        "chg_1", {"operation": "stop_operation", "changed": 1, "filter": {"operation": "chg_1"}},
    ),
    "operations resume": (
        "chg_2", {"operation": "resume_operation", "changed": 1, "filter": {"operation": "chg_2"}},
    ),
    "users revoke": (
        "--user ana", {"operation": "revoke_sessions", "changed": 1, "filter": {"user": "ana"}},
    ),
    "prune": ("--days 100 --yes", {"operation": "prune", "changed": 36, "filter": {"days": 100.0}}),
}  # fmt: skip
"""Of each command that changes something, arguments with which it does, and what its entry has."""


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    inner = getattr(command, "commands", None)
    if not inner:
        yield " ".join(path)
    for name, item in (inner or {}).items():
        yield from commands(item, (*path, name))


def test_every_command_is_known_to_change_something_or_not() -> None:
    group: Any = typer.main.get_command(build())
    for name in COMMANDS:
        group.load(name)
    assert set(commands(group)) == CHANGING.keys() | UNRECORDED


def entries(store: Path) -> list[dict[str, Any]]:
    return query(store, "SELECT * FROM audit_entries ORDER BY id")


@pytest.mark.parametrize("command", CHANGING)
def test_every_changing_command_is_in_the_audit_log(filled: Path, command: str) -> None:
    words, expected = CHANGING[command]
    if command in ("runs cancel", "runs retry-now"):
        execute(filled, "UPDATE runs SET state = 'pending', finished_at = NULL, due_at = 4e9")
    done = ran(*command.split(), *words.split(), input='{"n": 1}')
    assert done.exit_code == 0, done.output
    [entry] = json.loads(ran("changes", "list", "--json").stdout)["items"]
    assert entry | expected == entry
    assert (entry["via"], entry["state"]) == ("cli", "completed")
    user, _, host = entry["actor"].rpartition("@")
    assert user
    assert host == socket.gethostname()


def test_a_job_that_is_adopted_is_in_the_audit_log(filled: Path) -> None:
    done = ran("jobs", "watch", "--source", "aitts", "found", "--for", "job_1")
    assert done.exit_code == 0, done.output
    [entry] = entries(filled)
    assert (entry["operation"], entry["changed"]) == ("adopt_job", 1)
    assert entry["filter"] == {"job": "job_1", "source": "aitts", "job_id": "found"}


@pytest.mark.parametrize(
    "words",
    ["events replay --state dead --type none --yes", "jobs watch --source aitts open", "jobs cancel job_0",
     "events release --state dead", "prune --days 30000 --yes"],
)  # fmt: skip
def test_what_changes_nothing_leaves_no_entry(filled: Path, words: str) -> None:
    ran(*words.split())
    assert entries(filled) == []


def test_named_events_are_listed_up_to_a_bound(filled: Path) -> None:
    ids = [row["id"] for row in query(filled, "SELECT id FROM events WHERE status = 'accepted' ORDER BY id")]
    assert ran("events", "replay", *ids, "--handler", "log").exit_code == 0
    [entry] = entries(filled)
    assert entry["filter"] == {"events": [*ids[:20], "… and 5 more"], "handlers": ["log"]}
    assert entry["changed"] == 25


def test_a_replay_that_fails_says_so_with_what_was_done(
    filled: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    replay, calls = runs.replay, []

    def full(connection: Any, keys: Any, now: float) -> Any:
        calls.append(len(keys))
        done = replay(connection, keys, now)
        if len(calls) == 2:
            raise StoreFull("The disk is full.")
        return done

    monkeypatch.setattr(runs, "replay", full)
    monkeypatch.setattr(sys, "argv", ["tts-receiver", "runs", "replay", "--state", "dead", "--yes"])
    with pytest.raises(SystemExit):
        receiver.cli._run()
    capsys.readouterr()
    [entry] = entries(filled)
    assert (entry["state"], entry["changed"], entry["detail"]) == ("failed", 20, "Runs due: 20")
    assert len(query(filled, "SELECT * FROM runs WHERE state = 'pending'")) == 20


@pytest.fixture
def listed(filled: Path) -> Path:
    """A store with changes by several actors."""
    for number in range(3):
        assert ran("jobs", "watch", "--source", "aitts", f"job-{number}").exit_code == 0
    assert ran("runs", "replay", "--state", "dead", "--source", "aitts", "--yes").exit_code == 0
    execute(filled, "UPDATE audit_entries SET actor = 'app', via = 'api' WHERE filter LIKE '%job-1%'")
    execute(filled, "UPDATE audit_entries SET state = 'unfinished' WHERE operation = 'replay_runs'")
    return filled


def test_changes_are_listed_with_who_what_and_how_many(listed: Path) -> None:
    shown = ran("changes", "list", "--limit", "3")
    lines = shown.stdout.splitlines()
    assert shown.stderr == "Changes: 3, and 1 more: --limit or --all\n"
    assert "25 (unfinished)" in lines[1]
    assert "source=aitts state=dead" in lines[1]
    assert "app (api)" in lines[3]


@pytest.mark.parametrize(
    ("words", "number"),
    [("--actor app", 1), ("--operation watch_job", 3), ("--operation replay_runs --since 1h", 1), ("--until 1h", 0)],
)
def test_filters_of_the_list(listed: Path, words: str, number: int) -> None:
    shown = json.loads(ran("changes", "list", "--json", *words.split()).stdout)["items"]
    assert len(shown) == number


def test_json_is_that_of_the_api(listed: Path) -> None:
    shown = json.loads(ran("changes", "list", "--json").stdout)["items"]
    assert [Change.model_validate(item).model_dump(mode="json") for item in shown] == shown


def test_each_is_one_line_of_80_columns(listed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    execute(listed, "UPDATE audit_entries SET actor = 'somebody@a-long-name-of-a-host.example.com'")
    screen = io.StringIO()
    monkeypatch.setattr(output, "terminal", lambda: Console(file=screen, width=80))
    assert ran("changes", "list").exit_code == 0
    lines = screen.getvalue().splitlines()
    assert len(lines) == 1 + 4
    assert max(map(len, lines)) <= 80
    assert all("somebody@a-long-name" in line for line in lines[1:])


@pytest.mark.parametrize("words", ["--operation nothing", "--since 2h --until 3h", "--since soon"])
def test_a_mistaken_filter_is_refused(store: Path, words: str) -> None:
    assert ran("changes", "list", *words.split()).exit_code == 2


def test_prune_deletes_entries_by_their_own_bound_alone(filled: Path) -> None:
    assert ran("jobs", "watch", "--source", "aitts", "old").exit_code == 0
    old = time.time() - 401 * 86_400
    prefix = f"chg_{int(old * 1000):012x}"
    execute(filled, "UPDATE audit_entries SET at = :at, id = :prefix || substr(id, 17)", at=old, prefix=prefix)
    assert ran("jobs", "watch", "--source", "aitts", "recent").exit_code == 0
    execute(filled, "DELETE FROM runs")
    execute(filled, "DELETE FROM events")
    shown = ran("prune", "--days", "2")
    assert "Entries of the audit log older than 400 days: 1.\n" in shown.stdout
    assert "Delete 1 jobs and 1 entries?" in shown.output
    done = ran("prune", "--days", "2", "--yes")
    assert done.exit_code == 0, done.output
    assert [entry["operation"] for entry in entries(filled)] == ["watch_job", "prune"]
