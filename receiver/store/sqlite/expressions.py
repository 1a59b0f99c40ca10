"""How SQLite spells the expressions of `store.expressions`, and its INSERT."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Table
from sqlalchemy.dialects import sqlite
from sqlalchemy.ext.compiler import compiles

from receiver.store.expressions import CheckedOnly, JsonBytes


def insert(table: Table) -> sqlite.Insert:
    """An INSERT that may have ON CONFLICT."""
    return sqlite.insert(table)


@compiles(CheckedOnly, "sqlite")
def _checked_only(element: CheckedOnly, compiler: Any, **options: Any) -> str:
    return f"+{compiler.process(element.clauses, **options)}"


@compiles(JsonBytes, "sqlite")
def _json_bytes(element: JsonBytes, compiler: Any, **options: Any) -> str:
    return f"length(CAST({compiler.process(element.clauses, **options)} AS BLOB))"
