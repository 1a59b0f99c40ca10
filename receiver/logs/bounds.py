"""Bounds the values of a line: a JSON serializer reads a generator to its end, and it may be endless."""

from __future__ import annotations

from itertools import islice
from types import GeneratorType
from typing import Any

from structlog.typing import EventDict, WrappedLogger

MAX_VALUES = 1_000
"""Nested values of a line, all together."""
MAX_DEPTH = 20
TRUNCATED = "[cut]"

_SCALARS = frozenset((str, int, float, bool, type(None)))
_LISTS = frozenset((list, tuple, set, frozenset))


def bound_values(logger: WrappedLogger, method: str, line: EventDict) -> EventDict:
    """The processor that truncates values that are too large or too deep. Generators are not read."""
    for value in line.values():
        if type(value) not in _SCALARS:
            copier = _Copier()
            return {name: copier.copy(value, 0) for name, value in line.items()}
    return line


class _Copier:
    """Copies the values of one line, within bounds."""

    def __init__(self) -> None:
        self._remaining = MAX_VALUES

    def copy(self, value: Any, depth: int) -> Any:
        kind = type(value)
        if kind in _SCALARS:
            return value
        if kind is dict or kind in _LISTS:
            if self._remaining <= 0 or depth >= MAX_DEPTH:
                return TRUNCATED
            items = list(islice(value.items() if kind is dict else value, self._remaining))
            self._remaining -= len(items)
            truncated = len(items) < len(value)
            if kind is dict:
                return {key: self.copy(item, depth + 1) for key, item in items} | (
                    {TRUNCATED: TRUNCATED} if truncated else {}
                )
            return [self.copy(item, depth + 1) for item in items] + ([TRUNCATED] if truncated else [])
        return repr(value) if kind is GeneratorType else value
