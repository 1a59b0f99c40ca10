"""SQL expressions that a database may spell in its own way."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Exists, Integer, Text, literal_column, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement


class CheckedOnly(FunctionElement[str]):
    """A column of text whose condition is checked for each row, and never chooses the index to search."""

    name = "checked_only"
    type = Text()
    inherit_cache = True


class JsonBytes(FunctionElement[int]):
    """The size of a JSON value's text, bytes."""

    name = "json_bytes"
    type = Integer()
    inherit_cache = True


class ForEachRow(ColumnElement[Any]):
    """The end of a subquery that is carried out for each row, by an index."""

    inherit_cache = True


def exists_for_row(*conditions: Any) -> Exists:
    """Whether a row exists, looked up for each row of the statement that contains this.

    Rows of the statement are few. A database that guesses otherwise would read the other table from end to end.
    """
    return select(literal_column("*")).where(*conditions).suffix_with(ForEachRow()).exists()


@compiles(ForEachRow)
def _for_each_row(element: ForEachRow, compiler: Any, **options: Any) -> str:
    return ""


@compiles(CheckedOnly)
def _checked_only(element: CheckedOnly, compiler: Any, **options: Any) -> str:
    return str(compiler.process(element.clauses, **options))


@compiles(JsonBytes)
def _json_bytes(element: JsonBytes, compiler: Any, **options: Any) -> str:
    return f"octet_length(CAST({compiler.process(element.clauses, **options)} AS TEXT))"
