"""Text from outside with control characters: no command that shows it sends one to the terminal, and JSON keeps it."""

from __future__ import annotations

import ast
import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from sqlalchemy import update
from typer.testing import CliRunner

from receiver.cli import output
from receiver.cli.commands import build
from receiver.store import schema
from tests.integration.intake_support import SECRET, completed, configured, running
from tests.stores import execute, insert_rows

pytestmark = pytest.mark.anyio

CONTROLS = (
    "\x1b[31m\x07\x08\x7f\x85\x9b2J\x9d0;t\x9c\r\n\u061c\u200b\u200e\u200f\u2028\u2029\u202a\u202e\u2066\u2069\ufeff"
)
TEXT = f"job{CONTROLS}ü音"
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
async def config(tmp_path: Path) -> Path:
    """A receiver's folder whose store has controls wherever text from outside is kept."""
    async with running(configured(tmp_path)) as up:
        answer = await up.post(completed("job_1"))
        event = answer.json()["event"]
    store = up.receiver.database
    payload = {"event": "job.completed", "metadata": {TEXT: TEXT}, "data": {"job_id": TEXT}}
    headers = [["x-tts-signature", TEXT], ["user-agent", TEXT]]
    texts = dict.fromkeys(("job_id", "key", "key_id", "conflict"), TEXT)
    execute(store, update(schema.events).values(payload=payload, body=TEXT.encode(), headers=headers, **texts))
    execute(store, update(schema.runs).values(state="dead", error=TEXT, result=TEXT))
    times = dict.fromkeys(("created_at", "due_at", "deadline_at"), time.time())
    job = {"id": JOB, "source": "aitts", "job_id": TEXT, "state": "failed", "error_code": TEXT, "error": TEXT}
    insert_rows(store, schema.jobs, job | times)
    (tmp_path / "event").write_text(event)
    file = tmp_path / "receiver.toml"
    file.write_text(f'[handlers.log]\n[sources.aitts]\nprovider = "aitts"\nsigning_secrets = ["{SECRET}"]\n')
    return file


@pytest.fixture(autouse=True)
def on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Tables as on a terminal without colours."""
    monkeypatch.setattr(output, "console", lambda: Console(width=200, highlight=False, no_color=True))
    return iter(())


def printed(config: Path, *words: str, given: str | None = None) -> str:
    """What a command prints; no character of it does anything but show, or end a line of ours."""
    answer = CliRunner().invoke(build(), [*words, "--config", str(config)], input=given)
    assert answer.exception is None or isinstance(answer.exception, SystemExit), answer.exception
    text = answer.output
    assert [char for char in text if not char.isprintable() and char != "\n"] == []
    return text


JOB = f"job_{1:032x}"
SHOWN = [
    ("events", "list"), ("events", "show", "EVENT"), ("runs", "list"), ("jobs", "list"), ("jobs", "show", JOB),
    ("sources", "list"), ("handlers", "list"),
]  # fmt: skip


async def test_no_command_sends_a_control_to_the_terminal(config: Path) -> None:
    event = (config.parent / "event").read_text()
    seen = [printed(config, *(event if word == "EVENT" else word for word in words)) for words in SHOWN]
    for words, text in zip(SHOWN, seen, strict=True):
        if words[0] in ("events", "runs", "jobs"):
            assert "\\x1b" in text, words
    printed(config, "verify", "--source", "aitts", "-H", f"X-TTS-Signature: {TEXT}", given=TEXT)
    printed(config, "jobs", "show", TEXT)
    await asyncio.to_thread(printed, config, "runs", "replay", event, "--yes")  # it has an event loop of its own


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, of in value.items():
            yield from (*strings(name), *strings(of))
    elif isinstance(value, list):
        for of in value:
            yield from strings(of)


async def test_json_has_no_control_and_the_same_values(config: Path) -> None:
    event = (config.parent / "event").read_text()
    for words in SHOWN:
        given = [event if word == "EVENT" else word for word in words]
        response = json.loads(printed(config, *given, "--json"))
        if words[0] in ("events", "runs", "jobs"):
            assert TEXT in set(strings(response)), words


def test_commands_print_through_the_modules_that_escape() -> None:
    direct = {"print", "typer.echo", "typer.secho", "click.echo", "sys.stdout.write", "sys.stderr.write"}
    found = [
        f"{file.relative_to(ROOT)}:{node.lineno}"
        for file in sorted((ROOT / "receiver" / "cli").rglob("*.py"))
        if file.name not in ("text_output.py", "error_report.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in direct
    ]
    assert found == [], "use echo and echo_error of receiver.cli.text_output"
