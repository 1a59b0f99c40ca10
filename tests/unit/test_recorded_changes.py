"""Whatever an operator changes is recorded: no command and no operation of the API writes to the store otherwise."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import receiver
from receiver.model.audit import AuditOperation
from receiver.web.api.routes import ROUTES

ROOT = Path(receiver.__file__).parent
OF_OPERATORS = ("cli", "speech", "web/api", "web/console")
WRITING = {"transact", "transact_again", "write", "write_again", "batch", "batch_and_wait"}
RECORDED = {"recorded", "submit_job", "recorder.finish", "edit_event"}
"""Functions that take a `ChangeRecorder`, or are of one."""
NO_CHANGE = {
    "cli/index_metadata.py: transact(declare_keys)",  # an index of the store, as `db upgrade` makes others
    "web/console/sessions.py: write(sessions.touch)",  # when its owner opened a page: nothing of anybody else
    "speech/client.py: write(jobs.poll_now)",  # a part of the submit: its first poll comes earlier
}


def writes(path: Path) -> Iterator[str]:
    """What a module writes, by method and function."""
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Call(func=ast.Attribute(value=of, attr=method), args=[first, *_]) if method in WRITING:
                if ast.unparse(of).rpartition(".")[2].lstrip("_") == "database":
                    yield f"{method}({ast.unparse(first)})"


def test_batches_of_commands_are_written_in_one_place_with_a_recorder() -> None:
    """But for that of an index."""
    texts = {path.name: path.read_text() for path in sorted((ROOT / "cli").rglob("*.py"))}
    assert [name for name, text in texts.items() if "BatchWriter(" in text] == ["bulk_changes.py"]
    assert [name for name, text in texts.items() if "run_in_batches(database, None," in text] == ["index_metadata.py"]


def test_every_operation_of_the_audit_log_is_documented_and_no_other() -> None:
    page = (ROOT.parent / "docs" / "how-to" / "control-who-changes-what.md").read_text()
    table = page.partition("| operation |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == {str(word) for word in AuditOperation}


def test_what_the_api_changes_a_command_changes_under_the_same_name() -> None:
    """And none of the vocabulary is left without a use."""
    of_commands = set()
    for path in sorted([*(ROOT / "cli").rglob("*.py"), *(ROOT / "speech").rglob("*.py")]):
        of_commands |= set(re.findall(r"AuditOperation\.([A-Z_]+)", path.read_text()))
    of_api = {operation.audit_operation.name for operation in ROUTES if operation.changes}
    of_console = {AuditOperation.LOG_IN.name, AuditOperation.LOG_OUT.name}
    assert of_commands | of_api | of_console == {word.name for word in AuditOperation}
    assert of_api <= of_commands


def test_operators_change_nothing_without_a_recorder() -> None:
    found = {
        f"{path.relative_to(ROOT).as_posix()}: {write}"
        for folder in OF_OPERATORS
        for path in sorted((ROOT / folder).rglob("*.py"))
        for write in writes(path)
    }
    assert len(found) > 4, "the search finds what it is for"
    unrecorded = {line for line in found if line.partition("(")[2].rstrip(")") not in RECORDED}
    assert unrecorded == NO_CHANGE
