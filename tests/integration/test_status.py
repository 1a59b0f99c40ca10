"""`status` and `GET /v1/status` say what needs an operator, and what to do next: trouble planted in real stores."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from receiver import JobCompleted, Reject, Settings, handler
from receiver.cli.commands import build
from receiver.engine import disks
from receiver.model.audit import AuditOperation
from receiver.model.ids import new_change_id
from receiver.model.role import Role
from receiver.store import jobs, operations, rollups, throttle_state
from receiver.store.database import Database
from receiver.store.migrate import migrate
from receiver.store.processes import ProcessInfo, write_heartbeat
from receiver.store.rollups import Kind, Series
from receiver.web.api.status import Status
from tests.integration.api_support import api
from tests.integration.engine_support import Signal
from tests.integration.intake_support import SECRET, Lines, completed, configured, signature
from tests.stores import Store, address_of, execute, open_store

pytestmark = [pytest.mark.anyio, pytest.mark.every_database]

KEY = "tts_key_0123456789abcdef"


@pytest.fixture
def config(tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COLUMNS", "80")
    file = tmp_path / "receiver.toml"
    file.write_text(
        f'[sources.aitts]\nprovider = "aitts"\napi_key = "{KEY}"\nsigning_secrets = ["{SECRET}"]\n'
        f'[handlers.log]\n[store]\nurl = "{address_of(store)}"\n'
    )
    return file


@pytest.fixture
def database(store: Store) -> Iterator[Database]:
    database = open_store(store)
    migrate(database)
    yield database
    database.close()


@pytest.fixture
def served(database: Database, monkeypatch: pytest.MonkeyPatch) -> Database:
    """A store on which a process works."""
    process = ProcessInfo("host-1", Role.ALL, "host", 1, "1.0", time.time() - 60)
    database.transact(write_heartbeat, process, time.time())
    monkeypatch.setattr(Database, "find_living", lambda _: ["host-1"])
    return database


def shown(config: Path, *options: str) -> Result:
    return CliRunner().invoke(build(), ["status", "--config", str(config), *options])


def problems(config: Path) -> list[tuple[str, str]]:
    """The names and the commands of `status --json`, and whether its exit code agrees."""
    found = shown(config, "--json")
    status = Status.model_validate_json(found.stdout)
    assert status.ok == (not status.problems)
    assert found.exit_code == (0 if status.ok else 1), found.output
    return [(problem.name, problem.command) for problem in status.problems]


def count(database: Database, *counts: tuple[float, Kind, str, int]) -> None:
    """Add counts of the source `aitts`, each so many seconds ago."""
    now = time.time()
    for ago, kind, label, number in counts:
        database.transact(rollups.add, [((now - ago) // 60 * 60, {Series(kind, "aitts", label): number})])


def test_all_is_well(config: Path, served: Database) -> None:
    count(served, (120, Kind.DELIVERIES, "accepted", 5), (7200, Kind.DELIVERIES, "missing_header", 40))
    count(served, (60, Kind.POLLS, "connect_failed", 1))
    count(served, (60, Kind.POLLS, "running", 7), (80_000, Kind.POLLS, "ended", 3), (90_000, Kind.POLLS, "ended", 9))
    assert problems(config) == []
    [source] = Status.model_validate_json(shown(config, "--json").stdout).sources
    assert source.ended_by_polling == 3
    assert [refused.reason for refused in source.refused] == ["missing_header"]
    lines = shown(config).stdout.splitlines()
    assert lines[0] == "✓ All is well."
    assert "processes  1 accepting deliveries, 1 starting handlers" in lines
    assert "source     aitts: no trouble" in lines
    assert "  24 h     5 accepted, 40 refused (missing_header 40)" in lines
    [counted] = [line for line in lines if line.startswith("counted ")]
    assert re.fullmatch(r"counted    deliveries and attempts until \d\d:\d\dZ: they are added once a minute", counted)


def test_no_process_is_running(config: Path, database: Database) -> None:
    process = ProcessInfo("host-1", Role.ALL, "host", 1, "1.0", time.time())
    database.transact(write_heartbeat, process, time.time())  # killed: its row is left
    assert problems(config) == [("not_running", "tts-receiver serve")]


@pytest.mark.parametrize(
    ("role", "expected"),
    [
        (Role.INTAKE, [("no_worker", "tts-receiver serve --only worker")]),
        (Role.WORKER, [("no_intake", "tts-receiver serve --only intake")]),
    ],
)
def test_one_half_of_the_work_is_missing(
    config: Path, served: Database, role: Role, expected: Sequence[tuple[str, str]]
) -> None:
    execute(served, "UPDATE processes SET role = :role", role=str(role))
    assert problems(config) == expected


@pytest.mark.parametrize(
    ("role", "difference", "said"),
    [
        (
            Role.ALL,
            7200.0,
            "The clock of host-1 is 7,200 s ahead of the database server's: it claims no runs and jobs.",
        ),
        (Role.ALL, -15.0, "The clock of host-1 is 15 s behind the database server's: it claims no runs and jobs."),
        (Role.ALL, 9.0, None),
        (Role.ALL, None, None),
    ],
)
def test_a_clock_that_differs_too_much_is_named(
    config: Path, served: Database, role: Role, difference: float | None, said: str | None
) -> None:
    process = ProcessInfo("host-1", role, "host", 1, "1.0", time.time() - 60)
    served.transact(write_heartbeat, process, time.time(), difference)
    assert problems(config) == ([("clock_differs", "tts-receiver processes list")] if said else [])
    assert said is None or shown(config).stdout.startswith(f"✗ {said}\n")


def test_the_worst_of_several_clocks_is_named(config: Path, served: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Database, "find_living", lambda _: ["host-1", "host-2"])
    for name, role, difference in (
        ("host-1", Role.ALL, 20.0),
        ("host-2", Role.INTAKE, -30.0),
        ("dead", Role.ALL, 99.0),
    ):
        process = ProcessInfo(name, role, "host", 1, "1.0", time.time() - 60)
        served.transact(write_heartbeat, process, time.time(), difference)
    line = (
        "✗ The clock of host-2 is 30 s behind the database server's: its events have a wrong time. "
        "One more process has a wrong clock.\n"
    )
    assert shown(config).stdout.startswith(line)


def test_deliveries_with_a_wrong_secret(config: Path, served: Database) -> None:
    count(served, (7200, Kind.DELIVERIES, "accepted", 9), (3600, Kind.DELIVERIES, "mismatch", 4))
    assert problems(config) == [("wrong_secret", "tts-receiver sources list")]
    assert shown(config).stdout.startswith("✗ Deliveries of aitts are refused, 4 in 24 hours")
    count(served, (1800, Kind.DELIVERIES, "accepted", 1))  # the secret is right after all
    assert problems(config) == []


def test_deliveries_that_could_not_be_stored_come_before_others(config: Path, served: Database) -> None:
    count(
        served, (120, Kind.DELIVERIES, "no_event", 2), (120, Kind.DELIVERIES, "store_full", 1),
        (1200, Kind.DELIVERIES, "store_locked", 1),
    )  # fmt: skip
    assert problems(config) == [
        ("not_stored", "tts-receiver check"), ("unreadable", "tts-receiver status --json"),
    ]  # fmt: skip


def test_a_paused_source(config: Path, served: Database) -> None:
    now = time.time()
    served.transact(throttle_state.pause, "aitts", now + 300, "provider_rate_limited", now)
    assert problems(config) == []
    assert "paused until" in shown(config).stdout
    served.transact(throttle_state.pause, "aitts", now + 400, "provider_unauthorized", now)
    assert problems(config) == [("source_paused", "tts-receiver sources test aitts")]


def test_a_failing_source(config: Path, served: Database) -> None:
    count(served, (1200, Kind.POLLS, "running", 9), (600, Kind.POLLS, "connect_failed", 3))
    assert problems(config) == [("source_failing", "tts-receiver sources test aitts")]
    count(served, (60, Kind.POLLS, "ended", 1))
    assert problems(config) == []
    count(served, (60, Kind.SUBMITS, "provider_credits", 1))
    assert problems(config) == [("source_failing", "tts-receiver sources test aitts")]


def test_a_silent_source(config: Path, served: Database) -> None:
    now = time.time()
    served.transact(jobs.watch, "job_1", "aitts", "watched", now - 3600, now, now + 3600)
    assert problems(config) == [("source_silent", "tts-receiver sources test aitts")]
    assert "silent for 60 min" in shown(config).stdout
    served.transact(throttle_state.record_response, "aitts", now - 100)
    assert problems(config) == []


def test_an_unknown_job_waits_for_a_decision(config: Path, served: Database) -> None:
    now = time.time()
    served.transact(jobs.watch, "job_1", "aitts", "watched", now, now, now + 3600)
    execute(served, "UPDATE jobs SET state = 'unknown'")
    assert problems(config) == [("jobs_unknown", "tts-receiver jobs list --state unknown")]


def test_an_operation_that_failed_is_named_until_it_is_resumed_or_stopped(config: Path, served: Database) -> None:
    now = time.time()
    id = new_change_id(now - 60, 1)
    entry = {"at": now, "actor": "app", "via": "api", "filter": {}}
    served.transact(operations.accept, id, AuditOperation.REPLAY_RUNS, 3, entry, {}, now)
    assert problems(config) == []
    execute(served, "UPDATE operations SET state = 'failed', changed = 2, detail = 'No progress in 8 attempts: x.'")
    assert problems(config) == [("operation_failed", f"tts-receiver operations resume {id}")]
    text = "✗ The operation replay_runs failed after 2 changes: No progress in 8 attempts: x."
    assert text in shown(config).stdout
    assert served.transact(operations.stop, id, now)
    assert problems(config) == []


def test_a_disk_that_is_nearly_full(config: Path, served: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disks, "LOW_SPACE_BYTES", 1 << 60)
    found = problems(config)
    assert {name for name, _ in found} == {"disk_low"}
    assert found[-1][1].startswith("du -sh /")


def test_everything_at_once_fits_on_a_screen(config: Path, served: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    monkeypatch.setattr(disks, "LOW_SPACE_BYTES", 1 << 60)
    served.transact(jobs.watch, "job_1", "aitts", "watched", now - 3600, now, now + 3600)
    served.transact(throttle_state.pause, "aitts", now + 400, "provider_unauthorized", now)
    count(
        served, (60, Kind.DELIVERIES, "mismatch", 2000), (60, Kind.DELIVERIES, "no_event", 2),
        (60, Kind.DELIVERIES, "store_full", 1), (60, Kind.SUBMITS, "provider_credits", 1),
    )  # fmt: skip
    for name in ("save_audio", "log", "forward"):
        outcomes = {Series(Kind.RUNS, name, "failed"): 9, Series(Kind.RUN_SECONDS, name, "0.5"): 9}
        served.transact(rollups.add, [(now // 60 * 60, outcomes)])
    text = shown(config).stdout.splitlines()
    assert len(text) < 24, text
    assert "more: tts-receiver status --json" in "\n".join(text)
    assert "p50 ≤ 0.5 s, p95 ≤ 0.5 s" in "\n".join(text)
    assert [line for line in text if len(line) > 100] == []


def test_a_store_that_cannot_be_read_is_another_exit_code(config: Path, tmp_path: Path) -> None:
    config.write_text(config.read_text().replace("url = ", f'url = "sqlite:///{tmp_path}/none.db"\n# '))
    found = shown(config)
    assert found.exit_code == 2
    assert "There is no store" in found.stderr


@handler(on=JobCompleted)
async def refuse(event: Any, ctx: Any) -> None:
    raise Reject("It has no such voice.", reason="no_such_voice")


@pytest.fixture
def settings(tmp_path: Path, store: Store) -> Settings:
    return configured(tmp_path, source={"api_key": KEY}, handlers={}, store={"url": address_of(store)})


async def test_the_api_answers_the_same_of_a_running_receiver(
    settings: Settings, config: Path, lines: Lines, signal: Signal
) -> None:
    async with api(settings, refuse) as client:
        assert (await client.json("/v1/status"))["ok"] is True
        assert (await client.up.post(completed("one"))).status_code == 202
        forged = signature(completed("two"), "another-secret-0123456789")
        assert (await client.up.post(completed("two"), x_tts_signature=forged)).status_code == 401
        await signal.until(lambda: lines.of("run.dead"))
        await client.up.receiver.rollups.stop()
        found = Status.model_validate(await client.json("/v1/status"))
        # Not that of the secret, if both deliveries were counted in the same minute.
        assert {problem.name for problem in found.problems} - {"wrong_secret"} == {"runs_dead"}
        assert found.problems[-1].text == "One run has failed for good, in refuse (no_such_voice)."
        assert found.problems[-1].command == "tts-receiver runs errors"
        [source] = found.sources
        assert source.accepted == 1
        assert [(refused.reason, refused.last_day, refused.last_week) for refused in source.refused] == [
            ("mismatch", 1, 1)
        ]
        [handled] = found.handlers
        assert (handled.name, handled.succeeded, handled.failed) == ("refuse", 0, 1)
        assert handled.p50_seconds is not None
        from_command = json.loads(shown(config, "--json").stdout)
        now = json.loads(found.model_dump_json())
        for volatile in ("at", "disks"):
            from_command.pop(volatile)
            now.pop(volatile)
        assert from_command == now
