"""Routing: the conditions (`where`) by which a handler gets only some events, and how they are matched.

Pure and separate from handlers and settings, because the decorator, the configuration, the intake, replays and the
commands all decide by it, and must decide alike.
"""

from __future__ import annotations

import fnmatch
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from receiver.errors import ConfigError, ConfigProblem
from receiver.model.printable import printable
from receiver.model.redact import truncate

KEYS = ("source", "type", "metadata")
"""The keys of `where`; `metadata` is a table, nested as deep as the submitted metadata."""
MAX_GLOB_CHARACTERS = 256
MAX_GLOBBED_CHARACTERS = 1024
"""A longer text of an event matches no glob. Both limits bound the time of a match, which grows with their product."""
MAX_SHOWN_CHARACTERS = 200

Scalar = str | int | float | bool
HandlersFor = Callable[[str, str, Mapping[str, Any]], tuple[str, ...]]
"""Names of the handlers that get an event, by its type, its source and its normalised payload."""

_MISSING: Final = object()
_GLOB = re.compile(r"[*?\[]")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+\Z")
_MATCHES_NOTHING = "(?!)"
"""What `fnmatch.translate` writes for a range such as `[z-a]`. The same text in a glob would be escaped."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One value of an event, and what it may be.

    Attributes:
        path: where the value is: `("source",)`, `("type",)`, or `("metadata", …)`.
        values: the allowed values, any of which matches. A text with `*`, `?` or `[` is a glob, for the whole text and
            case-sensitive. Anything else must be equal and of the same JSON type: `7` is neither `"7"` nor `true`.
    """

    path: tuple[str, ...]
    values: tuple[Scalar, ...]
    _exact: frozenset[tuple[str, Scalar]] = field(init=False, repr=False, compare=False)
    _globs: tuple[re.Pattern[str], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        exact = frozenset((_json_type(value) or "", value) for value in self.values if not is_glob(value))
        globs = tuple(
            re.compile(fnmatch.translate(value)) for value in self.values if isinstance(value, str) and is_glob(value)
        )
        object.__setattr__(self, "_exact", exact)
        object.__setattr__(self, "_globs", globs)

    @property
    def key(self) -> str:
        """The path as a key of TOML, such as `metadata.customer`."""
        return ".".join(part if _BARE_KEY.match(part) else json.dumps(part, ensure_ascii=False) for part in self.path)

    def accepts(self, value: Any) -> bool:
        """Whether an event with this value matches."""
        json_type = _json_type(value)
        if json_type is None:  # null, a list or an object: unhashable, and equal to no scalar
            return False
        if (json_type, value) in self._exact:
            return True
        if json_type != "text" or len(value) > MAX_GLOBBED_CHARACTERS:
            return False
        return any(glob.match(value) for glob in self._globs)

    def __str__(self) -> str:
        """The condition in TOML, such as `metadata.customer = ["acme", "globex-*"]`."""
        return f"{self.key} = {_json(self.values[0] if len(self.values) == 1 else list(self.values))}"


Where = tuple[Condition, ...]
"""Conditions that must all match; without any, every event matches."""


@dataclass(frozen=True, slots=True)
class Mismatch:
    """The first condition that an event does not meet.

    Attributes:
        key: the condition's key; `on` for the event classes that a handler subscribes to.
        allowed: the values that would have matched.
        value: the event's value; None if it has none.
    """

    key: str
    allowed: tuple[Scalar, ...]
    value: Any

    def __str__(self) -> str:
        """A clause for an operator, of bounded length and printable: the value is from outside."""
        value = "missing or null" if self.value is None else truncate(_json(self.value), MAX_SHOWN_CHARACTERS)
        if self.key == "on":
            return printable(f"type is {value}, which is no {' or '.join(map(str, self.allowed))}")
        allowed = truncate(", ".join(map(_json, self.allowed)), MAX_SHOWN_CHARACTERS)
        return printable(f"{self.key} is {value}, not {'one of ' if len(self.allowed) > 1 else ''}{allowed}")


def parse_where(table: Mapping[str, Any]) -> Where:
    """The conditions of a `where` table, in its order.

    Raises:
        ConfigError: a key is not known, or a value cannot be a condition. Each problem names its key, such as
            `where.source`.
    """
    conditions: list[Condition] = []
    problems: list[ConfigProblem] = []
    open_tables: list[tuple[tuple[str, ...], Any]] = [((), table)]
    while open_tables:  # not recursive: a table may be nested deeper than Python calls
        path, value = open_tables.pop()
        what = _problem(path, value)
        if what is not None:
            problems.append(ConfigProblem(".".join(("where", *map(str, path))), what))
        elif isinstance(value, Mapping):
            open_tables += [((*path, key), value[key]) for key in reversed(value)]
        else:
            conditions.append(Condition(path, tuple(value) if isinstance(value, list | tuple) else (value,)))
    if problems:
        raise ConfigError(problems)
    return tuple(conditions)


def meets(where: Where, type: str, source: str, payload: Mapping[str, Any]) -> bool:
    """Whether an event meets all conditions.

    Args:
        payload: the normalised payload; its `metadata` is that of the event.
    """
    return _first_failing(where, type, source, payload) is None


def first_mismatch(where: Where, type: str, source: str, payload: Mapping[str, Any]) -> Mismatch | None:
    """The first condition that an event does not meet, with the event's value; None if it meets all."""
    condition = _first_failing(where, type, source, payload)
    if condition is None:
        return None
    value = _value_at(condition.path, type, source, payload)
    return Mismatch(condition.key, condition.values, None if value is _MISSING else value)


def _first_failing(where: Where, type: str, source: str, payload: Mapping[str, Any]) -> Condition | None:
    for condition in where:
        if not condition.accepts(_value_at(condition.path, type, source, payload)):
            return condition
    return None


def is_glob(value: Any) -> bool:
    """Whether a value of a condition is a glob."""
    return isinstance(value, str) and _GLOB.search(value) is not None


def _value_at(path: tuple[str, ...], type: str, source: str, payload: Mapping[str, Any]) -> Any:
    if path[0] != "metadata":
        return source if path[0] == "source" else type
    value: Any = payload
    for key in path:
        if not isinstance(value, Mapping) or key not in value:
            return _MISSING
        value = value[key]
    return value


def _json_type(value: Any) -> str | None:
    """The JSON type of a scalar: JSON has one type of numbers, so 7 and 7.0 are equal. None for anything else."""
    if isinstance(value, str):
        return "text"
    if isinstance(value, bool):
        return "truth"
    return "number" if isinstance(value, int | float) else None


def _problem(path: tuple[str, ...], value: Any) -> str | None:
    """Why this part of a `where` table cannot be used; None if it can."""
    is_table = isinstance(value, Mapping)
    if not path or (path[0] == "metadata" and is_table):
        if not is_table:
            return "must be a table of conditions"
        if any(not isinstance(key, str) for key in value):
            return "has a key that is not a text"
        return None if value else "has no condition; remove it to match every event"
    if path[0] not in KEYS:
        return f"is not a condition; there is: {', '.join(KEYS)}"
    if path == ("metadata",):
        return 'must be a table of keys of the metadata, such as {customer = "acme"}'
    values = value if isinstance(value, list | tuple) else [value]
    if not values:
        return "is an empty list, which no event matches"
    return next((fault for item in values if (fault := _fault(path, item)) is not None), None)


def _fault(path: tuple[str, ...], value: Any) -> str | None:
    """Why one value cannot be a condition's; None if it can."""
    if path[0] != "metadata" and not (isinstance(value, str) and value):
        return "must be a text, or a list of texts"
    if _json_type(value) is None or (isinstance(value, float) and not math.isfinite(value)):
        return "must be a text, a number, true or false, or a list of these"
    if not is_glob(value):
        return None
    if len(value) > MAX_GLOB_CHARACTERS:
        return f"is a pattern of more than {MAX_GLOB_CHARACTERS} characters"
    if _MATCHES_NOTHING in fnmatch.translate(value):
        return f"has a range that contains no character: {_json(value)}"
    return None


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=repr)
