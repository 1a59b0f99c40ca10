"""What is known about one event or job fits 80 columns, whatever text it has; what may be copied is whole."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console
from typer.testing import CliRunner

from receiver.cli import output
from receiver.cli.commands import build
from receiver.model.metadata import MAX_VALUE_CHARACTERS
from receiver.model.redact import Redactor
from receiver.model.slots import Slots
from receiver.store import jobs, runs
from receiver.store.runs import RunResult
from receiver.store.states import RunState
from receiver.web.api.rows import job_of
from tests.claiming import claim_due
from tests.stores import execute, open_store
from tests.unit.cli.conftest import NOW, add_events
from tests.unit.cli.test_prune import insert_ended_jobs

HOSTILE = "\x1b[2J\x1b]0;x\x07red \u202edrow eht\u2066 [bold]x[/] 音声" + "é" * MAX_VALUE_CHARACTERS
SECRET = "a-long-secret-0123"
LONG_ID = "f3973de3-fe89-4035-8929-7ef13c77281d" * 6
JOB = f"job_{7:032x}"
WIDTH = 80


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What a terminal of 80 columns gets."""
    at = io.StringIO()
    for name in ("terminal", "console"):
        monkeypatch.setattr(output, name, lambda: Console(file=at, width=WIDTH, highlight=False))
    return at


def shown(screen: io.StringIO, *words: str) -> list[str]:
    done = CliRunner().invoke(build(), words)
    assert done.exit_code == 0, done.output
    text = screen.getvalue() + done.stdout
    assert not {"\x1b", "\x07", "\u202e", "\u2066"} & {*text}
    assert SECRET not in text
    return text.splitlines()


def section(lines: list[str], title: str) -> list[str]:
    """The lines below a title, up to an empty one or the next text."""
    start = lines.index(title) + 1
    return lines[start : start + 2]


@pytest.fixture
def event(store: Path) -> str:
    """A dead run whose error, result and traceback are hostile, and audio at a long address."""
    [event_id] = add_events(store, 1)
    database = open_store(store)
    [claim] = database.transact(claim_due, Slots(1, {"log": None}).free({}), "me", NOW + 9, NOW + 99)
    failed = RunResult(
        claim, "me", "failed", RunState.DEAD, NOW + 10, error=f"{HOSTILE} {SECRET}", error_kind="K" * 64,
        reason="r" * 64, traceback=f'  File "/x.py", line 7\n{HOSTILE}',
    )  # fmt: skip
    assert database.transact(runs.finish, [failed]) == [True]
    database.close()
    payload = json.dumps({"metadata": {"customer": HOSTILE}})
    execute(
        store, "UPDATE events SET job_id = :job, payload = :payload, body = :body",
        job=LONG_ID, payload=payload, body=f"{HOSTILE} {SECRET}".encode(),
    )  # fmt: skip
    return event_id


def test_an_event_is_shown_with_all_that_it_has(event: str, screen: io.StringIO) -> None:
    lines = shown(screen, "events", "show", event)
    fields = dict(line.split(None, 1) for line in lines[: lines.index("")])
    assert (fields["id"], fields["job_id"], fields["state"]) == (event, LONG_ID, "dead")
    assert fields["received_at"] == "2027-01-15 08:00:00Z"
    assert r"\x1b[2J\x1b]0;x\x07red \u202edrow eht\u2066 [bold]x[/] 音声" in fields["body"]
    for title in ("runs", "attempts"):
        header, row = section(lines, title)
        assert max(cell_len(header), cell_len(row)) <= WIDTH
        assert row.startswith("log ")
        assert "dead" in row or "failed" in row
    [error] = section(lines, "error of log")[:1]
    assert error.endswith("é" * MAX_VALUE_CHARACTERS + " [redacted]"), "a text that may be copied is whole"
    assert section(lines, "traceback of log, attempt 1")[0] == '  File "/x.py", line 7'


def test_a_job_is_shown_with_the_names_of_the_api(store: Path, screen: io.StringIO) -> None:
    insert_ended_jobs(store, 1)
    request = json.dumps({"text": HOSTILE, "metadata": {"key": SECRET}})
    execute(
        store, "UPDATE jobs SET id = :id, error = :error, request = :request", id=JOB, error=HOSTILE, request=request
    )
    database = open_store(store)
    [row] = database.query(jobs.find, JOB)
    database.close()
    job = job_of(row, Redactor()).model_dump()
    lines = shown(screen, "jobs", "show", job["id"])
    assert [line.split()[0] for line in lines] == list(job)
    fields = dict(line.split(None, 1) for line in lines)
    assert fields["id"] == job["id"]
    assert fields["ended_at"] == output.format_time(row["ended_at"])
    assert fields["due_at"] == "–"


def test_why_a_handler_does_not_match_is_cut_to_the_terminal(event: str, store: Path, screen: io.StringIO) -> None:
    config = store.parent / "receiver.toml"
    config.write_text(f'{config.read_text()}[handlers.save_audio]\nwhere = {{ metadata = {{ customer = "acme" }} }}\n')
    lines = shown(screen, "handlers", "match", "--event", event)
    assert lines[-1] == f"Handlers that match {event}: 1 of 2"
    rows = {line.split()[0]: line for line in lines}
    assert max(map(cell_len, lines)) <= WIDTH
    assert rows["log"].split() == ["log", "yes", "–"]
    assert rows["save_audio"].startswith(r'save_audio  no       metadata.customer is "\u001b[2J')
