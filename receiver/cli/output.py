"""How commands print tables, and ask questions only on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import typer

from receiver.cli.text_output import echo_error
from receiver.model.printable import printable
from receiver.model.timestamps import utc, utc_text

if TYPE_CHECKING:
    from rich.console import Console

STATE_STYLES = {
    "succeeded": "green", "done": "green", "dead": "bold red", "quarantined": "yellow", "pending": "cyan",
    "running": "cyan", "open": "cyan", "cancelled": "dim",
}  # fmt: skip


MAX_UNWRAPPED_WIDTH = 40
"""An unwrapped column with a longer value than this is wrapped."""


def console() -> Console:
    """Standard output; where it is no terminal, wide enough that nothing is cut."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 10_000, highlight=False)


def print_table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], unwrapped: Collection[str] = ()
) -> None:
    """A table; text from outside is shown as it is, control characters escaped.

    Args:
        unwrapped: columns of values to copy, which keep their width up to `MAX_UNWRAPPED_WIDTH`.
    """
    from rich.cells import cell_len
    from rich.table import Table
    from rich.text import Text

    cells = [[cell(value) for value in row] for row in rows]
    table = Table(title=title, title_justify="left", header_style="bold")
    for index, column in enumerate(columns):
        longest = max([cell_len(column), *(Text.from_markup(row[index]).cell_len for row in cells)])
        width = longest if column in unwrapped and longest <= MAX_UNWRAPPED_WIDTH else None
        table.add_column(column, overflow="fold", width=width)
    for row in cells:
        table.add_row(*row)
    console().print(table)


def cell(value: Any) -> str:
    """One value as marked-up text."""
    from rich.markup import escape

    if value is None:
        return "[dim]–[/]"
    text = printable(str(value))
    style = STATE_STYLES.get(text)
    return f"[{style}]{escape(text)}[/]" if style else escape(text)


def format_time(seconds: float | None) -> str | None:
    """Unix seconds as a local-independent time: UTC, to the second."""
    return None if seconds is None else utc_text(seconds)


def with_iso_times(row: dict[str, Any], *names: str) -> dict[str, Any]:
    """The row with these unix seconds as ISO times, for JSON."""
    out = dict(row)
    for name in names:
        if out.get(name) is not None:
            out[name] = utc(out[name]).isoformat().replace("+00:00", "Z")
    return out


def confirm(question: str, yes: bool) -> None:
    """Ask for confirmation unless `--yes`; refuse without a terminal.

    Raises:
        typer.Exit: the answer is no (1), or there is no terminal to answer on (2).
    """
    if yes:
        return
    if not sys.stdin.isatty():
        echo_error(f"{question} There is no terminal to confirm on; pass --yes.")
        raise typer.Exit(2)
    if not typer.confirm(printable(question)):
        raise typer.Exit(1)
