"""How much of a line's values is looked at: a writer of JSON reads a generator to its end, and one may have none."""

from __future__ import annotations

from itertools import islice
from types import GeneratorType
from typing import Any

from structlog.typing import EventDict, WrappedLogger

MAX_VALUES = 1_000
"""Values within the values of a line, all together."""
MAX_DEPTH = 20
CUT = "[cut]"

_SCALARS = frozenset((str, int, float, bool, type(None)))
_LISTS = frozenset((list, tuple, set, frozenset))


def bound_values(logger: WrappedLogger, method: str, line: EventDict) -> EventDict:
    """The processor that cuts what is too large or too deep. Iterators are shown and not read."""
    for value in line.values():
        if type(value) not in _SCALARS:
            reading = _Reading()
            return {name: reading.read(value, 0) for name, value in line.items()}
    return line


class _Reading:
    """Copies the values of one line, within bounds."""

    def __init__(self) -> None:
        self._left = MAX_VALUES

    def read(self, value: Any, depth: int) -> Any:
        kind = type(value)
        if kind in _SCALARS:
            return value
        if kind is dict or kind in _LISTS:
            if self._left <= 0 or depth >= MAX_DEPTH:
                return CUT
            items = list(islice(value.items() if kind is dict else value, self._left))
            self._left -= len(items)
            cut = len(items) < len(value)
            if kind is dict:
                return {key: self.read(item, depth + 1) for key, item in items} | ({CUT: CUT} if cut else {})
            return [self.read(item, depth + 1) for item in items] + ([CUT] if cut else [])
        return repr(value) if kind is GeneratorType else value
