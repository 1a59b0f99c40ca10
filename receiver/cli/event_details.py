"""Everything about one event or one job as text: the fields of the API's model, and tables that fit the terminal.

A table may cut what is long; so errors, results and tracebacks follow it, whole.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from receiver.cli import output
from receiver.cli.lists import print_table
from receiver.cli.output import cell, format_time, print_fields, print_text
from receiver.cli.table_layout import Column
from receiver.engine.replay import reverify
from receiver.errors import ReceiverError
from receiver.model.crashes import state_with_suspicion
from receiver.settings import Settings
from receiver.web.api.models import Attempt, EventDetail, Run

if TYPE_CHECKING:
    from pydantic import BaseModel

_OWN_PLACE = {"payload", "headers", "body", "document", "runs", "attempts", "artifacts"}
"""Fields of an event that are not a line each; `--json` has those that are not shown."""


def signature_note(settings: Settings, event: dict[str, Any]) -> str:
    """Whether the stored signature is still valid for the stored body."""
    try:
        return "valid" if reverify(settings, event) else "cannot be checked (key retired, or not a webhook)"
    except ReceiverError as error:
        return str(error)


def print_model_fields(item: BaseModel) -> None:
    """Print a line for each field. Only the terminal wraps it."""
    _print_fields({name: getattr(item, name) for name in type(item).model_fields})


def print_event(event: EventDetail, signature: str) -> None:
    """Print the event's fields, its runs and their attempts, why runs failed, and its audio.

    Args:
        signature: see `signature_note`.
    """
    fields = {name: getattr(event, name) for name in type(event).model_fields if name not in _OWN_PLACE}
    fields |= {"edited_to": ", ".join(event.edited_to) or None}
    fields |= {"signature": signature, "metadata": event.payload.get("metadata"), "body": event.body}
    _print_fields(fields)
    _print_section("runs", _RUNS, event.runs)
    _print_section("attempts", _ATTEMPTS, event.attempts)
    for run in event.runs:
        if run.error is not None:
            print_text(f"error of {run.handler}", run.error)
        if run.result is not None:
            print_text(f"result of {run.handler}", json.dumps(run.result, ensure_ascii=False))
        if run.traceback is not None:
            print_text(f"traceback of {run.handler}, attempt {run.traceback.attempt}", run.traceback.text)
    for artifact in event.artifacts:
        _print_title(f"{artifact.kind} {artifact.n}")
        print_model_fields(artifact)


def _state(run: Run) -> str:
    return state_with_suspicion(run.state, run.crashes)


def _time(name: str) -> Callable[[Any], str | None]:
    def value(item: Any) -> str | None:
        at = getattr(item, name)
        return None if at is None else format_time(at.timestamp())

    return value


def _due(run: Run) -> str | None:
    return None if run.finished_at is not None else format_time(run.due_at.timestamp())


def _seconds(attempt: Attempt) -> str:
    return f"{attempt.seconds:.3f}"


_RUNS = (
    Column("handler", attrgetter("handler"), 0, 10),
    Column("state", _state),
    Column("attempts", attrgetter("attempts"), 1, right=True),
    Column("due", _due, 2),
    Column("started", _time("started_at"), 5),
    Column("finished", _time("finished_at"), 3),
    Column("error kind", attrgetter("error_kind"), 4, 10),
    Column("reason", attrgetter("reason"), 4, 10),
)
_ATTEMPTS = (
    Column("handler", attrgetter("handler"), 0, 10),
    Column("number", attrgetter("number"), 0, right=True),
    Column("started", _time("started_at"), 2),
    Column("seconds", _seconds, 1, right=True),
    Column("outcome", attrgetter("outcome"), 0, 10),
    Column("error kind", attrgetter("error_kind"), 4, 10),
    Column("reason", attrgetter("reason"), 4, 10),
    Column("error", attrgetter("error"), 3, 20),
)


def _print_fields(fields: dict[str, Any]) -> None:
    print_fields(output.console(), ((name, cell(value)) for name, value in fields.items()))


def _print_section(title: str, columns: Sequence[Column], rows: Sequence[Any]) -> None:
    if rows:
        _print_title(title)
        print_table(columns, rows)


def _print_title(title: str) -> None:
    output.console().print(f"\n{title}", style="italic", markup=False)
