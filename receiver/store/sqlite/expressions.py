"""How SQLite spells the expressions of `store.expressions`, and its INSERT."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, CompoundSelect, Select, Table, union
from sqlalchemy.dialects import sqlite
from sqlalchemy.ext.compiler import compiles

from receiver.store.expressions import CheckedOnly, JsonBytes


def insert(table: Table) -> sqlite.Insert:
    """An INSERT that may have ON CONFLICT."""
    return sqlite.insert(table)


def merge(searches: Sequence[Select[Any]], by: ColumnElement[str], limit: int) -> CompoundSelect[Any]:
    """SQLite reads the searches side by side, each in the order of its index, and stops."""
    return union(*searches).order_by(by).limit(limit)


@compiles(CheckedOnly, "sqlite")
def _checked_only(element: CheckedOnly, compiler: Any, **options: Any) -> str:
    return f"+{compiler.process(element.clauses, **options)}"


@compiles(JsonBytes, "sqlite")
def _json_bytes(element: JsonBytes, compiler: Any, **options: Any) -> str:
    return f"length(CAST({compiler.process(element.clauses, **options)} AS BLOB))"
