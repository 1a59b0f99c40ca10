"""Print fields and texts, and ask for confirmation on a terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any

import typer

from receiver.cli.text_output import echo_error
from receiver.model.printable import printable, printable_lines
from receiver.model.timestamps import utc, utc_text

if TYPE_CHECKING:
    from rich.console import Console

STATE_STYLES = {
    "succeeded": "green", "done": "green", "dead": "bold red", "quarantined": "yellow", "pending": "cyan",
    "running": "cyan", "open": "cyan", "cancelled": "dim",
}  # fmt: skip


REPEAT = "Repeat the command."
CONTINUES = "The same command continues with the rest."
REPEAT_AFTER = "To continue, repeat it with --after {last}."
NAME_THE_REST = "To continue, name the events after {last}."
"""How a change of many rows is continued after a stop."""


def console() -> Console:
    """Standard output; if it is not a terminal, wide enough that nothing is wrapped."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 10_000, highlight=False)


def terminal() -> Console | None:
    """The terminal that standard output is; None if it is a file or a program."""
    return console() if sys.stdout.isatty() else None


def print_fields(out: Console, fields: Iterable[tuple[str, str]]) -> None:
    """Print a line for each name and marked-up value. The terminal wraps long lines, so that they can be copied."""
    shown = list(fields)
    width = max(len(name) for name, _ in shown)
    for name, value in shown:
        out.print(f"[bold]{name:<{width}}[/] {value}", soft_wrap=True)


def print_text(title: str, text: str) -> None:
    """Print a text that has a layout, such as a traceback. Only the terminal wraps its lines."""
    out = console()
    out.print(title, style="italic", markup=False)
    out.print(printable_lines(text), markup=False, soft_wrap=True)


def cell(value: Any) -> str:
    """One value as marked-up text."""
    from rich.markup import escape

    if value is None or value == []:
        return "[dim]–[/]"
    if isinstance(value, datetime):
        value = utc_text(value.timestamp())
    text = printable(json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value))
    style = STATE_STYLES.get(text)
    return f"[{style}]{escape(text)}[/]" if style else escape(text)


def format_time(seconds: float | None) -> str | None:
    """Unix seconds as a time in UTC, to the second."""
    return None if seconds is None else utc_text(seconds)


def with_iso_times(row: dict[str, Any], *names: str) -> dict[str, Any]:
    """The row with these fields, in unix seconds, as ISO times, for JSON."""
    out = dict(row)
    for name in names:
        if out.get(name) is not None:
            out[name] = utc(out[name]).isoformat().replace("+00:00", "Z")
    return out


def confirm(question: str, yes: bool) -> None:
    """Ask for confirmation unless `--yes`; refuse without a terminal.

    Raises:
        typer.Exit: the user declines (1) or interrupts (130), or standard input is not a terminal (2).
    """
    if yes:
        return
    if not sys.stdin.isatty():
        echo_error(f"{question} There is no terminal to confirm on; pass --yes.")
        raise typer.Exit(2)
    try:
        code = 0 if typer.confirm(printable(question)) else 1
    except typer.Abort as error:
        code = 130 if isinstance(error.__context__, KeyboardInterrupt) else 1
        echo_error("")  # ends the line of the question
    if code:
        echo_error("Nothing was changed.")
        raise typer.Exit(code)
