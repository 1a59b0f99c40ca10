"""Places in a JSON document as dotted paths, such as `data.job.id` or `outputs.0.url`: reading them, and filling them.

Apart from the generic provider because its configuration is checked by the same words. Reading never raises.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

MOST_PARTS = 16
LONGEST_PLACE = 200
LARGEST_INDEX = 99

Place = tuple[str, ...]
"""The parts of a path: names, or digits for the index in a list."""


def parse_place(text: str) -> Place:
    """Read a dotted path.

    Raises:
        ValueError: it is none, in words for a person.
    """
    parts = tuple(text.split("."))
    if len(text) > LONGEST_PLACE or len(parts) > MOST_PARTS:
        raise ValueError(f"is longer than {LONGEST_PLACE} characters or {MOST_PARTS} parts")
    if not all(parts) or not text.isprintable() or text != text.strip():
        raise ValueError(f"{text!r} is no place such as data.job.id")
    if any(_index(part) is None and part.isdigit() for part in parts):
        raise ValueError(f"{text!r} has an index above {LARGEST_INDEX}")
    return parts


def find(document: Any, place: Place) -> Any:
    """What stands at a place; None if nothing does."""
    value = document
    for part in place:
        if isinstance(value, dict):
            value = value.get(part)
        elif isinstance(value, list) and (index := _index(part)) is not None and index < len(value):
            value = value[index]
        else:
            return None
    return value


def first(document: Any, places: Iterable[Place]) -> Any:
    """What stands at the first of these places that says something; None if none does."""
    found = (find(document, place) for place in places)
    return next((value for value in found if value is not None and value != ""), None)


def fill(document: dict[str, Any], place: Place, value: Any) -> None:
    """Put a value at a place; nothing where another value is in the way. Lists are made by `with_lists`."""
    *outer, last = place
    inner: Any = document
    for part in outer:
        inner = inner.setdefault(part, {})
        if not isinstance(inner, dict):
            return
    inner.setdefault(last, value)


def with_lists(value: Any) -> Any:
    """The document with a list in the place of each object whose names are 0, 1, 2, …"""
    if not isinstance(value, dict):
        return value
    made = {name: with_lists(item) for name, item in value.items()}
    if made and set(made) == {str(index) for index in range(len(made))}:
        return [made[str(index)] for index in range(len(made))]
    return made


def _index(part: str) -> int | None:
    """A part as the index in a list, if it can be one."""
    if not (part.isascii() and part.isdigit()) or len(part) > 2:
        return None
    return int(part)
