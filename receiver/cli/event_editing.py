"""`events edit`: make a new event of one with an edited payload, and run its handlers.

The store is not open while the editor is: a payload may be edited for long.
"""

from __future__ import annotations

import difflib
import json
import os
import random
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from receiver.cli.options import Config, Yes
from receiver.cli.output import confirm
from receiver.cli.text_output import echo, echo_error
from receiver.errors import InvalidJson, ReceiverError
from receiver.model.audit import AuditOperation

if TYPE_CHECKING:
    from receiver.settings import Settings

MAX_DIFF_LINES = 200


class EditorFailed(ReceiverError):
    """The editor could not be started, or it failed; nothing was changed."""

    reason = "editor_failed"


def edit(
    event: Annotated[str, typer.Argument(help="The event's id, or a unique prefix.")],
    config: Config = None,
    payload: Annotated[
        Path | None,
        typer.Option("--payload", help="Take the edited payload from this file, or - for standard input: no editor."),
    ] = None,
    handler: Annotated[list[str] | None, typer.Option("--handler", help="Only this handler; repeatable.")] = None,
    yes: Yes = False,
) -> None:
    """Make a new event of one with an edited payload, and run its handlers. The other event stays as it is.

    Opens $VISUAL or $EDITOR with the payload as JSON. The new event has the origin "edited", and never ends a job.
    """
    from receiver.cli.ids import find_event_id
    from receiver.cli.recording import auditor
    from receiver.cli.session import open_session
    from receiver.engine.editing import Edit, changed_fields, edit_event, read_editable
    from receiver.engine.filters import check_handlers
    from receiver.engine.plugins import load_registry
    from receiver.engine.replay import choose_handlers
    from receiver.model.ids import event_id
    from receiver.model.redact import Redactor
    from receiver.model.redact_json import restore_json

    with open_session(config) as (settings, database):
        registry = load_registry(settings)
        check_handlers(handler or (), registry.active)
        id_ = find_event_id(database, event)
        stored = database.query(read_editable, settings, id_)
    given = _read(payload, settings) if payload is not None else _edit_in_editor(stored["payload"], settings)
    edited = restore_json(given, stored["payload"], Redactor(settings.secrets()))
    if not changed_fields(stored["payload"], edited):
        echo(f"Nothing was edited: the payload is that of {id_}. To run its handlers: tts-receiver events replay {id_}")
        return
    names = choose_handlers(registry, {**stored, "payload": edited}, handler or ())
    _print_diff(stored["payload"], edited)
    confirm(f"Make a new event of {id_}, and run {', '.join(names) or 'no handler (it is for none)'}?", yes)
    now = time.time()
    new_id = event_id(now, random.getrandbits(74))
    with open_session(config) as (settings, database):
        recorder = auditor(settings, AuditOperation.EDIT).single(event=id_, handlers=handler or [])
        change = Edit(id_, edited, handler or ())
        made = database.transact(edit_event, settings, registry, recorder, change, new_id, now)
    echo(f"{made.event_id}: {', '.join(made.handlers) or 'nothing to run (it is for no handler)'}")
    echo(f"Runs due: {len(made.handlers):,}; a running receiver starts them within a second.")


def _read(file: Path, settings: Settings) -> dict[str, Any]:
    limit = settings.server.max_body_bytes
    try:
        if str(file) == "-":
            text = sys.stdin.buffer.read(limit + 1)
        else:
            with file.open("rb") as opened:
                text = opened.read(limit + 1)
    except OSError as error:
        raise typer.BadParameter(f"{file} cannot be read: {error.strerror}.", param_hint="--payload") from None
    return _parse(text, limit)


def _edit_in_editor(payload: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """The payload as the operator's editor has saved it; if it is no payload, the editor can be opened again.

    The file is readable by its owner alone: addresses in a payload may be signed.
    """
    command = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    if not command:
        raise typer.BadParameter(
            "There is no editor: set VISUAL or EDITOR, or pass the edited payload by --payload FILE."
        )
    with tempfile.TemporaryDirectory(prefix="tts-receiver-") as folder:
        file = Path(folder) / "payload.json"
        file.touch(0o600)
        file.write_text(_pretty(payload), encoding="utf-8")
        while True:
            _run_editor(command, file)
            try:
                return _read(file, settings)
            except typer.BadParameter as error:
                if not sys.stdin.isatty():
                    raise
                echo_error(f"✗ {error}")
                confirm("Open the editor again?", False)


def _run_editor(command: str, file: Path) -> None:
    try:
        code = subprocess.run([*shlex.split(command), str(file)], check=False).returncode  # noqa: S603 - the user's own
    except (OSError, ValueError) as error:
        raise EditorFailed(f"The editor {command!r} cannot be started: {error}. Nothing was changed.") from None
    if code != 0:
        raise EditorFailed(f"The editor {command!r} ended with {code}. Nothing was changed.")


def _parse(text: bytes, limit: int) -> dict[str, Any]:
    from receiver.model.json_body import read_strict_json_object

    if len(text) > limit:
        raise typer.BadParameter(f"The payload is longer than server.max_body_bytes, {limit} bytes.")
    try:
        return read_strict_json_object(text)
    except InvalidJson as error:
        raise typer.BadParameter(f"The payload cannot be used: {error}") from None


def _pretty(payload: Mapping[str, Any]) -> str:
    return json.dumps(payload, indent=2, ensure_ascii=False) + "\n"


def _print_diff(before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    lines = list(difflib.unified_diff(_pretty(before).splitlines(), _pretty(after).splitlines(), lineterm="", n=2))[2:]
    echo(*lines[:MAX_DIFF_LINES])
    if len(lines) > MAX_DIFF_LINES:
        echo(f"… and {len(lines) - MAX_DIFF_LINES:,} more lines")
