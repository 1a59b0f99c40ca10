"""The metadata of events and jobs by which lists can be filtered: which values are indexed, and the text of each.

Pure, because the intake, the jobs, the command line, the API and the indexing of what is stored must agree.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

MAX_INDEXED_KEYS = 16
"""Keys that a configuration may name. Each adds a row to every event and job that has it."""
MAX_KEY_CHARACTERS = 64
MAX_VALUE_CHARACTERS = 256
"""A longer value is not indexed. PostgreSQL's indexes hold 2,704 bytes of an entry."""
MAX_PAIRS = 4
"""Pairs of one filter, all of which must match."""

Pair = tuple[str, str]
"""A key of the metadata, and the text of its value."""


def indexed_pairs(metadata: Any, keys: Sequence[str]) -> tuple[Pair, ...]:
    """The pairs to index of an event's or a job's metadata; none if it is not an object.

    Args:
        keys: those that the configuration names.
    """
    if not isinstance(metadata, Mapping):
        return ()
    return tuple((key, text) for key in keys if (text := indexed_text(metadata.get(key))) is not None)


def indexed_text(value: Any) -> str | None:
    """A value as it is indexed: a text as it is, a number or a boolean as in JSON.

    None if it is not indexed: null, a list, an object, a value that is too long, a text that a database refuses.
    """
    if isinstance(value, str):
        text = value
    elif isinstance(value, bool | int | float):
        if isinstance(value, float) and not math.isfinite(value):
            return None
        if isinstance(value, int) and value.bit_length() > 4 * MAX_VALUE_CHARACTERS:  # Python writes no longer ones
            return None
        text = json.dumps(value)
    else:
        return None
    return text if len(text) <= MAX_VALUE_CHARACTERS and is_storable(text) else None


def is_storable(text: str) -> bool:
    """Whether every database can store a text: it has no NUL and no half of a surrogate pair."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def key_problem(key: str) -> str | None:
    """What is wrong with a key that is to be indexed; None if nothing is."""
    if not 0 < len(key) <= MAX_KEY_CHARACTERS:
        return f"must have 1 to {MAX_KEY_CHARACTERS} characters"
    if not key.isprintable() or key != key.strip():
        return "must be printable, without spaces around it"
    return "must not have '=', which ends a key in --metadata KEY=VALUE" if "=" in key else None


def parse_pairs(texts: Sequence[str]) -> tuple[Pair, ...]:
    """The pairs of `KEY=VALUE` texts, each once.

    Raises:
        ValueError: a text does not have this form, or is one that no index can have; or there are too many.
    """
    found: dict[Pair, None] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise ValueError(f"{text[:MAX_KEY_CHARACTERS]!r} is not KEY=VALUE")
        if len(value) > MAX_VALUE_CHARACTERS:
            raise ValueError(f"the value of {key[:MAX_KEY_CHARACTERS]!r} is longer than {MAX_VALUE_CHARACTERS} "
                             "characters, and so long ones are not indexed")  # fmt: skip
        if not is_storable(text):
            raise ValueError(f"the value of {key[:MAX_KEY_CHARACTERS]!r} has a character that no stored value has")
        found[key, value] = None
    if len(found) > MAX_PAIRS:
        raise ValueError(f"a filter has at most {MAX_PAIRS} pairs")
    return tuple(found)
