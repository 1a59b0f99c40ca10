"""Lists: a line a row in 80 columns, short ids that every command takes, and CSV that no spreadsheet executes."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console
from typer.testing import CliRunner, Result

from receiver.cli import lists, output
from receiver.cli.commands import build
from receiver.cli.table_layout import Column, fit
from receiver.model.delivery import Delivery
from receiver.model.ids import event_id, new_job_id
from receiver.store import inbox, schema
from tests.stores import execute, insert_rows, open_store
from tests.unit.cli.conftest import NOW

FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)"]
HOSTILE = "\x1b[31mred\n，日本語の名前"
JOB = "f3973de3-fe89-4035-8929-7ef13c77281d"


@pytest.fixture
def ids(store: Path) -> list[str]:
    """Events of jobs with names of all kinds, two runs each; the first two were received in one millisecond."""
    jobs = [JOB, "f3973de3-0000", *FORMULAS, HOSTILE, "x" * 200]
    events = [
        Delivery(
            event_id=event_id(NOW + max(1, n), n << 40 | 5), source="aitts" * (1 + n % 3), type="job.completed",
            key=job, job_id=job, origin="poll", payload="{}", body=b"{}", headers="[]", key_id=None, skew=None,
            received_at=NOW + max(1, n), handlers=("log", "a_handler_with_quite_a_long_name_of_its_own"),
        )
        for n, job in enumerate(jobs)
    ]  # fmt: skip
    database = open_store(store)
    database.transact(inbox.accept, events)
    database.close()
    of_dead = {"error": f"=cmd() {HOSTILE} " + "long " * 50, "handler": "log"}
    execute(
        store, "UPDATE runs SET state = 'dead', finished_at = 9, error = :error WHERE handler = :handler", **of_dead
    )
    row = {"source": "aitts", "job_id": JOB, "state": "watching", "error": HOSTILE}
    for n, job in enumerate([JOB, "f3973de3-0000-no-event", "another"]):
        execute(
            store,
            "INSERT INTO jobs (id, source, job_id, state, created_at, due_at, deadline_at, error) "
            "VALUES (:id, :source, :job_id, :state, 1, 1, 1, :error)",
            **row | {"id": new_job_id(NOW + n, n), "job_id": job},
        )
    return [event.event_id for event in events]


def ran(*words: str) -> Result:
    return CliRunner().invoke(build(), list(words))


def on_screen(monkeypatch: pytest.MonkeyPatch, width: int, *words: str) -> list[str]:
    """The lines of a table on a terminal; the last one has the count, and is printed otherwise."""
    screen = io.StringIO()
    with monkeypatch.context() as patch:
        patch.setattr(output, "terminal", lambda: Console(file=screen, width=width))
        done = ran(*words)
    assert done.exit_code == 0, done.output
    return screen.getvalue().splitlines()


@pytest.mark.parametrize("width", [80, 120, 160])
@pytest.mark.parametrize("words", ["events list", "runs list", "runs list --state dead", "runs errors", "jobs list"])
def test_each_row_is_one_line_of_the_terminal(
    ids: list[str], monkeypatch: pytest.MonkeyPatch, width: int, words: str
) -> None:
    lines = on_screen(monkeypatch, width, *words.split())
    rows = ran(*words.split(), "--json").stdout
    assert len(lines) == 1 + len(json.loads(rows)["items"])
    assert max(map(cell_len, lines)) <= width
    assert all(line.isprintable() for line in lines)


def test_a_wider_terminal_shows_more_columns(ids: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    narrow, wide = (on_screen(monkeypatch, width, "events", "list")[0].split() for width in (80, 160))
    assert set(narrow) < set(wide)
    assert {"event", "state"} <= set(narrow)


def test_short_ids_are_unique_and_name_the_event_in_every_command(
    ids: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    short = {line.split()[0] for line in on_screen(monkeypatch, 80, "events", "list")[1:]}
    assert len(short) == len(ids)
    assert len({text[:16] for text in short}) == len(ids) - 1, "two have the same first digits, and are longer"
    assert min(map(len, short)) == 16
    for text in short:
        shown = json.loads(ran("events", "show", text, "--json").stdout)
        assert shown["id"].startswith(f"evt_{text}")
        assert ran("handlers", "match", "--event", text).exit_code == 0
        assert ran("runs", "replay", text).exit_code == 0
    assert ran("events", "list", "--before", min(short, key=len)).exit_code == 0


def test_an_ambiguous_id_is_an_error_that_lists_candidates(ids: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    refused = ran("events", "show", ids[0][:18])
    assert refused.exit_code == 1
    assert str(refused.exception).splitlines() == [
        f"More than one event starts with {ids[0][:18]}; give a longer prefix:", f"  {ids[0]}", f"  {ids[1]}",
    ]  # fmt: skip
    assert "There is no event 0f0f" in str(ran("events", "show", "0f0f").exception)
    for word in ("", "evt_", "…"):
        assert ran("events", "show", word).exit_code == 2


def test_jobs_are_named_by_the_beginning_of_either_id(ids: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    short = [line.split()[0] for line in on_screen(monkeypatch, 80, "jobs", "list")[1:]]
    assert len(set(short)) == 3
    for text in [*short, *(f"job_{text}" for text in short)]:
        assert json.loads(ran("jobs", "show", text, "--json").stdout)["id"].startswith(f"job_{short[0][:8]}")
    for text in (JOB, JOB[:12], f"{JOB[:12]}…", short[-1]):
        assert json.loads(ran("jobs", "show", text, "--json").stdout)["job_id"] == JOB
        assert [row["id"] for row in json.loads(ran("events", "list", "--job", text, "--json").stdout)["items"]] == ids[
            :1
        ]
        assert len(json.loads(ran("jobs", "list", "--job", text, "--json").stdout)["items"]) == 1
    refused = ran("jobs", "show", JOB[:8])
    assert "More than one job has an id that starts with f3973de3" in str(refused.exception)


def test_a_table_of_jobs_says_what_was_submitted(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    submitted = {"submit_key": "one", "request": {"text": "long " * 10_000, "voice": "alloy"}}
    kinds: list[dict[str, Any]] = [submitted, submitted | {"kind": "task"}, {}]
    times = dict.fromkeys(("created_at", "due_at", "deadline_at"), 1.0)
    job = {"source": "aitts", "state": "watching", **times}
    for n, columns in enumerate(kinds):
        insert_rows(store, schema.jobs, job | columns | {"id": new_job_id(NOW + n, n), "job_id": f"{n}"})
    heads, *lines = on_screen(monkeypatch, 160, "jobs", "list")
    at = heads.index("kind")
    assert [line[at : at + 8].strip() for line in lines] == ["–", "task", "speech"]
    assert len(ran("jobs", "list").stdout.splitlines()) == 4


def test_where_output_is_no_terminal_nothing_is_cut(ids: list[str]) -> None:
    done = ran("runs", "list")
    assert "long long long long\n" in f"{done.stdout}".replace(" \n", "\n")
    assert all(id_ in done.stdout for id_ in ids)
    assert "a_handler_with_quite_a_long_name_of_its_own" in done.stdout
    assert done.stderr == f"Runs: {2 * len(ids)}\n"


def test_a_list_says_how_many_more_there_are(ids: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert ran("events", "list", "--limit", "3").stderr == "Events: 3, and 5 more: --limit or --all\n"
    assert ran("jobs", "list", "--limit", "1").stderr == "Jobs: 1, and 2 more: --limit or --all\n"
    assert ran("runs", "list", "--limit", "2").stderr == "Runs: 2, and those of 7 more events: --limit or --all\n"
    monkeypatch.setattr(lists, "MAX_COUNTED", 2)
    monkeypatch.setattr(lists, "_COUNTED_AT_ONCE", 2)
    assert ran("events", "list", "--limit", "3").stderr == "Events: 3, and 2+ more: --limit or --all\n"


@pytest.mark.parametrize("words", ["events list", "runs list", "jobs list", "changes list"])
def test_all_pages_are_what_one_page_is(
    ids: list[str], store: Path, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    for _ in range(3):
        assert ran("runs", "replay", "--state", "dead", "--yes").exit_code == 0
        execute(store, "UPDATE runs SET state = 'dead' WHERE handler = 'log'")
    whole = json.loads(ran(*words.split(), "--json").stdout)
    assert whole["next"] is None
    for page in (1, 2, 3):
        monkeypatch.setattr(lists, "PAGE", page)
        assert json.loads(ran(*words.split(), "--all", "--json").stdout) == whole
        lines = ran(*words.split(), "--all", "--limit", "1").stdout.splitlines()
        assert len(lines) == 1 + len(whole["items"])
    first = json.loads(ran(*words.split(), "--limit", "2", "--json").stdout)
    rest = json.loads(ran(*words.split(), "--before", first["next"], "--json").stdout)
    assert first["items"] + rest["items"] == whole["items"]


@pytest.mark.parametrize(
    "words", ["events list", "runs list", "jobs list", "handlers list", "sources list", "runs errors"]
)
def test_csv_has_the_names_and_values_of_json(ids: list[str], words: str) -> None:
    items = json.loads(ran(*words.split(), "--json").stdout)["items"]
    text = ran(*words.split(), "--csv").stdout_bytes.decode()
    assert text.count("\r\n") == 1 + len(items), "RFC 4180, one line a row"
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert len(rows) == len(items)
    for row, item in zip(rows, items, strict=True):
        nested = {"example": ("event_id", "error"), "pause": ("until", "reason", "polls_only")}
        flat: dict[str, Any] = {}
        for name, value in item.items():
            inner = {f"{name}.{of}": value and value[of] for of in nested.get(name, ())}
            flat |= inner or {name: value}
        assert list(row) == list(flat)
        for name, value in flat.items():
            if value is None or isinstance(value, int | float | dict | list):
                assert row[name] == "" if value is None else json.loads(row[name]) == value
            elif value.isprintable():
                assert row[name].removeprefix("'") == value


def test_no_cell_is_a_formula(ids: list[str]) -> None:
    for words in ("events list", "runs list"):
        for row in csv.reader(io.StringIO(ran(*words.split(), "--csv").stdout, newline="")):
            assert not any(cell.startswith(("=", "+", "-", "@")) for cell in row), row
            assert all(cell.isprintable() for cell in row)
    of = {row["job_id"] for row in csv.DictReader(io.StringIO(ran("events", "list", "--csv").stdout, newline=""))}
    assert {f"'{text}" for text in FORMULAS} < of


def test_two_formats_at_once_are_a_mistake(ids: list[str]) -> None:
    refused = ran("events", "list", "--json", "--csv")
    assert refused.exit_code == 2
    assert "--json and --csv are two formats" in refused.stderr


@pytest.mark.parametrize("width", range(1, 200, 7))
def test_columns_that_must_fit_do_fit(width: int) -> None:
    columns = [Column("id", str), Column("name", str, 0, 5), Column("more", str, 1, 10), Column("last", str, 2)]
    rows = [["0123456789abcdef", "日本語の名前" * 5, "x" * 90, "y" * 30]]
    layout = fit(columns, rows, width)
    line = "  ".join(layout.cells(rows[0]))
    assert line.startswith("0123456789abcdef")
    assert cell_len(line) <= max(width, 16 + 2 + 5)
