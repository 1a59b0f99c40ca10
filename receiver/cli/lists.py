"""Print a list: as lines that fit the terminal, as the API's JSON, or as CSV; page by page, in bounded memory.

A list is read in pages, also if all of it is printed. JSON and CSV have the items of the API: same names, same units.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

import typer

from receiver.cli import output
from receiver.cli.table_layout import GAP, NONE, Column, Layout, fit, whole
from receiver.cli.text_output import echo, echo_error, flush, write
from receiver.errors import ListingTimeout
from receiver.model.csv_text import CsvColumns
from receiver.model.printable import printable, printable_json
from receiver.store.searches import Order

if TYPE_CHECKING:
    from pydantic import BaseModel
    from rich.console import Console
    from sqlalchemy import Connection

    from receiver.store.database import Database

Row = Any

PAGE = 500
"""Rows that are read at once."""
MAX_COUNTED = 100_000
"""Up to this number it is counted how many more there are."""
COUNT_SECONDS = 0.5
"""For so long, too."""
_COUNTED_AT_ONCE = 5000


class Format(Enum):
    """How a list is printed."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"

    @property
    def is_for_people(self) -> bool:
        """Whether it is a table on a terminal: then standard output also has the sentences about it."""
        return self is Format.TABLE and output.terminal() is not None


@dataclass(frozen=True, slots=True)
class Page:
    """Rows, and the id after which the next page begins; None for the last page."""

    rows: Sequence[Row]
    next: str | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """Which part of a list is printed, and how.

    Attributes:
        limit: rows at the most; None for all.
        before: the id after which the list begins; None for its beginning.
        one_page: whether one page is printed, however few rows it has.
    """

    format: Format = Format.TABLE
    limit: int | None = None
    before: str | None = None
    one_page: bool = False


@dataclass(frozen=True, slots=True)
class Listing:
    """A kind of list.

    Attributes:
        name: for the line below, such as `Events`; empty: no such line.
        columns: of the table.
        model: of an item in JSON, whose fields are the columns of CSV.
        item: makes an item of a row.
        prepare: changes the rows of a page before a terminal shows them, such as by shorter ids.
        cursor: the API's `next` for an id.
        extra: further fields of the page in JSON, at the end.
    """

    name: str
    columns: Sequence[Column]
    model: type[BaseModel]
    item: Callable[[Row], BaseModel]
    prepare: Callable[[Sequence[Row]], Sequence[Row]] = lambda rows: rows
    cursor: Callable[[str], str] | None = None
    extra: Callable[[], Mapping[str, Any]] = dict


Read = Callable[[str | None, int], Page]
"""Reads a page: the rows that follow an id, so many at the most."""
ReadIds = Callable[[str, int], Sequence[str]]
"""Reads the ids of the rows that follow an id, so many at the most."""


def list_format(json: bool, csv: bool) -> Format:
    """The format that the options ask for.

    Raises:
        typer.BadParameter: both.
    """
    if json and csv:
        raise typer.BadParameter("--json and --csv are two formats; give one of them.")
    return Format.JSON if json else Format.CSV if csv else Format.TABLE


def list_order(oldest: bool) -> Order:
    """The order that the option asks for."""
    return Order.OLDEST_FIRST if oldest else Order.NEWEST_FIRST


def print_list(listing: Listing, read: Read, request: Request, count_more: Callable[[str], str] | None = None) -> int:
    """Print the rows, and return how many there were.

    Args:
        count_more: says how many more there are, after an id.
    """
    pages = _Pages(read, request)
    {Format.TABLE: _print_table, Format.JSON: _print_json, Format.CSV: _print_csv}[request.format](listing, pages)
    if request.format is not Format.JSON and listing.name:
        say = echo if request.format.is_for_people else echo_error
        more = "" if pages.next is None or count_more is None else count_more(pages.next)
        say(f"{listing.name}: {pages.count:,}{more}")
    return pages.count


def print_rows(listing: Listing, rows: Sequence[Row], format: Format) -> int:
    """`print_list` of rows that need no pages."""
    return print_list(listing, lambda before, limit: Page(rows), Request(format))


def rows_by_id(database: Database, select: Callable[[Connection, str | None, int], Sequence[Row]]) -> Read:
    """Reads pages of rows that have an `id`: those that follow it, by a function that gives so many at the most."""

    def read(before: str | None, limit: int) -> Page:
        rows = database.query_list(select, before, limit + 1)
        return Page(rows[:limit], rows[limit - 1]["id"] if len(rows) > limit else None)

    return read


def ids_of(read: Read) -> ReadIds:
    """Reads the ids of such rows, for `counter`."""
    return lambda before, limit: [row["id"] for row in read(before, limit).rows]


class _Pages:
    """Reads the pages.

    Attributes:
        count: rows so far.
        next: the id after which there is more, once the pages are read.
    """

    def __init__(self, read: Read, request: Request) -> None:
        self._read = read
        self._request = request
        self.count = 0
        self.next: str | None = None

    def __iter__(self) -> Iterator[Sequence[Row]]:
        self.next = self._request.before
        while (left := self._left()) > 0:
            page = self._read(self.next, min(PAGE, left))
            self.count += len(page.rows)
            self.next = page.next
            yield page.rows
            if page.next is None or self._request.one_page:
                return

    def _left(self) -> int:
        return PAGE if self._request.limit is None else self._request.limit - self.count


def counter(ids_before: ReadIds, what: str = "{} more") -> Callable[[str], str]:
    """Says how many more there are, for `print_list`: exactly up to a bound.

    Args:
        what: where the number belongs.
    """

    def count(next: str) -> str:
        counted, until, exact = 0, time.monotonic() + COUNT_SECONDS, False
        with contextlib.suppress(ListingTimeout):
            while not exact and counted < MAX_COUNTED and time.monotonic() < until:
                ids = ids_before(next, _COUNTED_AT_ONCE)
                counted += len(ids)
                exact = len(ids) < _COUNTED_AT_ONCE
                next = ids[-1] if ids else next
        return f", and {what.format(f'{counted:,}' if exact else f'{counted:,}+')}: --limit or --all"

    return count


# a table


def print_table(columns: Sequence[Column], rows: Sequence[Row]) -> None:
    """Print rows under a header, and nothing if there are none."""
    _print_pages(columns, [rows])


def _print_table(listing: Listing, pages: _Pages) -> None:
    _print_pages(listing.columns, pages, listing.prepare)


def _print_pages(
    columns: Sequence[Column],
    pages: Iterable[Sequence[Row]],
    prepare: Callable[[Sequence[Row]], Sequence[Row]] = lambda rows: rows,
) -> None:
    terminal = output.terminal()
    layout: Layout | None = None
    for rows in filter(None, pages):  # without rows there is no header either
        shown = rows if terminal is None else prepare(rows)
        cells = [[_text(column.value(row)) for column in columns] for row in shown]
        if layout is None:
            layout = whole(columns, cells) if terminal is None else fit(columns, cells, terminal.width)
            _print_line(layout.cells([column.header for column in columns]), terminal, style="bold")
        for row in cells:
            _print_line(layout.cells(row), terminal)
        flush()


def _print_line(cells: Sequence[str], terminal: Console | None, style: str | None = None) -> None:
    if terminal is None:
        write(GAP.join(cells).rstrip() + "\n")
        return
    from rich.text import Text

    line = Text(GAP).join(Text(cell, style or output.STATE_STYLES.get(cell.strip(), "")) for cell in cells)
    terminal.print(line, soft_wrap=True)


def _text(value: Any) -> str:
    if value is None or value == "":
        return NONE
    return printable(json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value))


# for programs


def _print_json(listing: Listing, pages: _Pages) -> None:
    """One document, written as it is read."""
    write('{\n  "items": [')
    separator = "\n"
    for rows in pages:
        for row in rows:
            text = printable_json(listing.item(row).model_dump_json(indent=2)).replace("\n", "\n    ")
            write(f"{separator}    {text}")
            separator = ",\n"
        flush()
    write("]" if separator == "\n" else "\n  ]")
    rest = dict(listing.extra())
    if listing.cursor is not None:
        rest = {"next": None if pages.next is None else listing.cursor(pages.next), **rest}
    for name, value in rest.items():
        write(f',\n  "{name}": {json.dumps(value)}')
    write("\n}\n")


def _print_csv(listing: Listing, pages: _Pages) -> None:
    """As RFC 4180 has it, with a header."""
    columns = CsvColumns(listing.model)
    write(columns.header())
    for rows in pages:
        for row in rows:
            write(columns.row(listing.item(row)))
        flush()
