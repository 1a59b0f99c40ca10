"""Rows of CSV as RFC 4180 has them, for lists of commands and of the console."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from types import UnionType
from typing import TYPE_CHECKING, Any, get_args

from receiver.model.printable import printable

if TYPE_CHECKING:
    from pydantic import BaseModel

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


class CsvColumns:
    """The columns of items of one model. A model within an item has a column for each of its fields."""

    def __init__(self, model: type[BaseModel]) -> None:
        self._paths = list(_paths(model))

    def header(self) -> str:
        """The names: those of JSON, with dots."""
        return _line(".".join(path) for path in self._paths)

    def row(self, item: BaseModel) -> str:
        """The values of an item. A list, and an object whose names are not of a model, is JSON."""
        values = item.model_dump(mode="json")
        return _line(_value_at(values, path) for path in self._paths)


def _line(values: Iterable[Any]) -> str:
    """One row of JSON values. A value with fields of its own is JSON."""
    text = io.StringIO()
    csv.writer(text).writerow([_cell(value) for value in values])
    return text.getvalue()


def _paths(model: type[BaseModel]) -> Iterator[tuple[str, ...]]:
    from pydantic import BaseModel  # only for a list: it takes long to import

    for name, field in model.model_fields.items():
        optional = isinstance(field.annotation, UnionType)
        kinds = get_args(field.annotation) if optional else (field.annotation,)
        inner = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
        if inner is None:
            yield (name,)
        else:
            yield from ((name, *path) for path in _paths(inner))


def _value_at(values: Any, path: Sequence[str]) -> Any:
    for name in path:
        values = None if values is None else values[name]
    return values


def _cell(value: Any) -> str:
    """A value as text on one line. A text that a spreadsheet would execute as a formula begins with an apostrophe."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, dict | list):
        return printable(json.dumps(value, ensure_ascii=False))
    return printable(f"'{value}" if value.startswith(_FORMULA) else value)
