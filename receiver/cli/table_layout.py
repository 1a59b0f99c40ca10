"""Tables of one line a row that fit the terminal: which columns there is room for, and how wide each is.

Pure, and separate from the printing, because of the rules: ids are never cut, and a wide letter takes two cells.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rich.cells import cell_len, set_cell_size

from receiver.model.redact import ELLIPSIS

GAP = "  "
NONE = "–"
COMFORTABLE = 40
"""Cells that a column gets before further columns get any: a UUID fits, and the beginning of a sentence."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        value: its value in a row; None is shown as a dash.
        rank: the columns of rank 0 are shown at any width, and each higher rank where there is room left.
        at_least: to how many cells its texts may be cut; None: never.
        right: whether it is aligned to the right, as numbers are.
    """

    header: str
    value: Callable[[Any], Any]
    rank: int = 0
    at_least: int | None = None
    right: bool = False


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns that are shown, by their index, and the width of each."""

    columns: Sequence[Column]
    shown: tuple[int, ...]
    widths: tuple[int, ...]
    cuts: bool

    def cells(self, texts: Sequence[str]) -> list[str]:
        """A row's texts, cut and filled to the widths; the last is not filled."""
        cells = [
            self._cell(texts[index], width, self.columns[index])
            for index, width in zip(self.shown, self.widths, strict=True)
        ]
        cells[-1] = cells[-1].rstrip()
        return cells

    def _cell(self, text: str, width: int, column: Column) -> str:
        length = cell_len(text)
        if length > width:
            cut = self.cuts and column.at_least is not None
            return set_cell_size(set_cell_size(text, width - 1).rstrip() + ELLIPSIS, width) if cut else text
        return " " * (width - length) + text if column.right else text + " " * (width - length)


def whole(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> Layout:
    """The layout for a file or a program: every column, nothing cut."""
    needed = tuple(_needed(columns, rows))
    return Layout(columns, tuple(range(len(columns))), needed, cuts=False)


def fit(columns: Sequence[Column], rows: Sequence[Sequence[str]], available: int) -> Layout:
    """The layout for a terminal of so many cells. Columns that are empty in each of these rows are left out."""
    needed = _needed(columns, rows)
    smallest = [
        need if column.at_least is None else min(need, max(column.at_least, cell_len(column.header)))
        for column, need in zip(columns, needed, strict=True)
    ]
    widths: dict[int, int] = {}
    reserved = sum(smallest[index] + len(GAP) for index, column in enumerate(columns) if not column.rank)
    left = available + len(GAP) - reserved
    for index in sorted(range(len(columns)), key=lambda index: columns[index].rank):
        empty = bool(rows) and all(row[index] == NONE for row in rows)
        if not columns[index].rank:
            left += smallest[index] + len(GAP)
        free = left - len(GAP)
        if columns[index].rank and (empty or smallest[index] > free):
            continue
        widths[index] = max(smallest[index], min(needed[index], COMFORTABLE, free))
        left -= widths[index] + len(GAP)
    for index, width in list(widths.items()):
        more = max(0, min(needed[index] - width, left))
        widths[index] = width + more
        left -= more
    order = tuple(sorted(widths))
    return Layout(columns, order, tuple(widths[index] for index in order), cuts=True)


def _needed(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> list[int]:
    return [
        max([cell_len(column.header), *(cell_len(row[index]) for row in rows)]) for index, column in enumerate(columns)
    ]
