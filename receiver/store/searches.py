"""Searches of indexes by which a page of a list is found: what each kind of database makes queries of.

Separate from the lists, because events, runs and jobs are all listed by such searches.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from sqlalchemy import ColumnElement


class Order(Enum):
    """The order of the rows in a page."""

    NEWEST_FIRST = "newest first"
    OLDEST_FIRST = "oldest first"

    def beyond(self, id: str | None) -> dict[str, Any]:
        """The field of a filter that continues a list after this id; None: the list's beginning."""
        return {"newer_than" if self is Order.OLDEST_FIRST else "older_than": id}


@dataclass(frozen=True, slots=True)
class IndexSearch:
    """The ids of the rows with certain values, in the order of the index that begins with these columns.

    Attributes:
        id: the column of the ids, which follows the others in the index.
        same: the first columns of the index, and the value that each row has in them.
        partial: the condition of the index, word for word; None if it has all rows.
        after: only ids that sort after this.
        before: only ids that sort before this; None for no limit.
        checks: conditions that are checked for each row.
    """

    id: ColumnElement[str]
    same: tuple[tuple[ColumnElement[str], str], ...] = ()
    partial: Any | None = None
    after: str = ""
    before: str | None = None
    checks: tuple[Any, ...] = ()

    def checking(self, *checks: Any) -> IndexSearch:
        """The same search with further checks."""
        return replace(self, checks=(*self.checks, *checks))
