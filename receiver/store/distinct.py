"""The distinct values of an indexed column: one search for each value, however many rows have it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Connection, select


def distinct(connection: Connection, column: ColumnElement[str], *where: Any, max_values: int) -> list[str]:
    """The values of `column` in ascending order, without the empty text. If there are more than `max_values`, one more.

    Args:
        where: conditions on the columns before `column` in an index, so that a search finds each value.
    """
    found: list[str] = []
    last = ""
    while len(found) <= max_values:
        following = connection.execute(select(column).where(*where, column > last).order_by(column).limit(1)).scalar()
        if following is None:
            break
        found.append(following)
        last = following
    return found
