"""How PostgreSQL spells the expressions of `store.expressions`, and its INSERT."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.compiler import compiles

from receiver.store.expressions import CheckedOnly, ForEachRow


def insert(table: Table) -> postgresql.Insert:
    """An INSERT that may have ON CONFLICT."""
    return postgresql.insert(table)


@compiles(CheckedOnly, "postgresql")
def _checked_only(element: CheckedOnly, compiler: Any, **options: Any) -> str:
    return f"({compiler.process(element.clauses, **options)} || '')"


@compiles(ForEachRow, "postgresql")
def _for_each_row(element: ForEachRow, compiler: Any, **options: Any) -> str:
    """A subquery with an OFFSET is never turned into a join, nor carried out once for all rows."""
    return "OFFSET 0"
