"""Names and conditions of constraints and indexes, the same in every database."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, TextClause

NAMES = {
    "pk": "pk_%(table_name)s",
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(referred_table_name)s",
}


def one_of(column: str, words: type[StrEnum]) -> str:
    """The condition that a column has one of these words."""
    return f"{column} IN ({', '.join(repr(str(word)) for word in words)})"


def where(condition: ColumnElement[bool] | TextClause) -> dict[str, Any]:
    """The condition of a partial index, for every database: one that does not get it indexes all rows."""
    return {"sqlite_where": condition, "postgresql_where": condition}
