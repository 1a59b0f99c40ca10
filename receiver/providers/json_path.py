"""Dotted paths in a JSON document, such as `data.job.id` or `outputs.0.url`: parsing, reading, writing.

Reading never raises.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

MAX_PARTS = 16
MAX_PATH = 200
MAX_INDEX = 99

JsonPath = tuple[str, ...]
"""The parts of a path: names, or digits for the index in a list."""


def parse_path(text: str) -> JsonPath:
    """Read a dotted path.

    Raises:
        ValueError: it is not a path; the message follows the setting's name.
    """
    parts = tuple(text.split("."))
    if len(text) > MAX_PATH or len(parts) > MAX_PARTS:
        raise ValueError(f"is longer than {MAX_PATH} characters or {MAX_PARTS} parts")
    if not all(parts) or not text.isprintable() or text != text.strip():
        raise ValueError(f"{text!r} is not a path such as data.job.id")
    if any(_index(part) is None and part.isdigit() for part in parts):
        raise ValueError(f"{text!r} has an index above {MAX_INDEX}")
    return parts


def find(document: Any, path: JsonPath) -> Any:
    """Return the value at a path; None if there is none."""
    value = document
    for part in path:
        if isinstance(value, dict):
            value = value.get(part)
        elif isinstance(value, list) and (index := _index(part)) is not None and index < len(value):
            value = value[index]
        else:
            return None
    return value


def find_first(document: Any, paths: Iterable[JsonPath]) -> Any:
    """Return the first value at these paths that is neither null nor empty; None if there is none."""
    found = (find(document, path) for path in paths)
    return next((value for value in found if value is not None and value != ""), None)


def set_value(document: dict[str, Any], path: JsonPath, value: Any) -> None:
    """Set a value at a path if nothing else is there. A number in a path becomes a name: see `numbered_to_lists`."""
    *outer, last = path
    inner: Any = document
    for part in outer:
        inner = inner.setdefault(part, {})
        if not isinstance(inner, dict):
            return
    inner.setdefault(last, value)


def numbered_to_lists(value: Any) -> Any:
    """Return the document with a list for each object whose names are 0, 1, 2, …"""
    if not isinstance(value, dict):
        return value
    made = {name: numbered_to_lists(item) for name, item in value.items()}
    if made and set(made) == {str(index) for index in range(len(made))}:
        return [made[str(index)] for index in range(len(made))]
    return made


def _index(part: str) -> int | None:
    """Return the part as an index of a list; None if it is not one."""
    if not (part.isascii() and part.isdigit()) or len(part) > 2:
        return None
    return int(part)
