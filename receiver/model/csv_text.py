"""Rows of CSV as RFC 4180 has them, for lists of commands and of the console."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from typing import Any

from receiver.model.printable import printable

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def csv_line(values: Iterable[Any]) -> str:
    """One row of JSON values. A value with fields of its own is JSON."""
    text = io.StringIO()
    csv.writer(text).writerow([_cell(value) for value in values])
    return text.getvalue()


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
