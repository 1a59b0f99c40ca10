"""The different values of an indexed column, one look-up each, however many rows have them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Connection, func, select


def distinct(connection: Connection, column: ColumnElement[str], *where: Any, most: int) -> list[str]:
    """The values of `column` in ascending order, the empty text apart; `most + 1` of them where there are more.

    Args:
        where: must leave `column` the next one in an index, so that each value is found by a search.
    """
    found: list[str] = []
    last = ""
    while len(found) <= most:
        following = connection.execute(select(func.min(column)).where(*where, column > last)).scalar()
        if following is None:
            break
        found.append(following)
        last = following
    return found
