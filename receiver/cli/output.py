"""Print tables and fields, and ask for confirmation on a terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
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


MAX_WORD_WIDTH = 40
"""A longer word is folded in a table, so that one long value does not decide the layout of all."""


def console() -> Console:
    """Standard output; if it is not a terminal, wide enough that nothing is wrapped."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 10_000, highlight=False)


def terminal() -> Console | None:
    """The terminal that standard output is; None if it is a file or a program."""
    return console() if sys.stdout.isatty() else None


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print a table that breaks no word, or the fields of each row if the terminal is too narrow for that.

    So ids and paths can be copied at any width. Text from outside is not interpreted; control characters are escaped.
    """
    from rich.table import Table

    out = console()
    cells = [[cell(value) for value in row] for row in rows]
    widths = _column_widths(
        [[column, *(row[index] for row in cells)] for index, column in enumerate(columns)], out.width
    )
    if widths is None:
        out.print(title, style="italic", markup=False)
        for row in cells:
            out.print()
            print_fields(out, zip(columns, row, strict=True))
        return
    table = Table(title=title, title_justify="left", header_style="bold")
    for column, width in zip(columns, widths, strict=True):
        table.add_column(column, overflow="fold", width=width)
    for row in cells:
        table.add_row(*row)
    out.print(table)


def _column_widths(columns: Sequence[Sequence[str]], available: int) -> list[int] | None:
    """The width of each column of marked-up texts, within `available` cells; None if the longest words do not fit."""
    from rich.cells import cell_len
    from rich.text import Text

    texts = [[Text.from_markup(text).plain for text in column] for column in columns]
    longest = [max(cell_len(text) for text in column) for column in texts]
    words = [max(cell_len(word) for text in column for word in text.split() or [""]) for column in texts]
    widths = [min(width, MAX_WORD_WIDTH) for width in words]
    spare = available - sum(widths) - 3 * len(widths) - 1
    if spare < 0:
        return None
    by_need = sorted(range(len(widths)), key=lambda index: longest[index] - widths[index])
    for position, index in enumerate(by_need):
        extra = min(longest[index] - widths[index], spare // (len(by_need) - position))
        widths[index] += extra
        spare -= extra
    return widths


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

    if value is None:
        return "[dim]–[/]"
    text = printable(json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else str(value))
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
        typer.Exit: the user declines (1), or standard input is not a terminal (2).
    """
    if yes:
        return
    if not sys.stdin.isatty():
        echo_error(f"{question} There is no terminal to confirm on; pass --yes.")
        raise typer.Exit(2)
    if not typer.confirm(printable(question)):
        raise typer.Exit(1)
