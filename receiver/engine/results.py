"""Converts what a handler returned to JSON values, with limits on its size, its depth and the work.

Runs on the thread or loop where the handler ran. A value is read item by item, and reading stops at the first limit.
Iterators are not consumed: one can be endless, and reading it inside a serializer would block the whole process.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Iterable, Mapping
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from ipaddress import IPv4Address, IPv6Address
from pathlib import PurePath
from typing import Any
from uuid import UUID

import pydantic
import pydantic_core

from receiver.model.redact import truncate

MAX_RESULT_BYTES = 65_536
MAX_RESULT_VALUES = 10_000
MAX_RESULT_DEPTH = 100
MAX_INTEGER_BITS = 1024
MAX_REPR_CHARACTERS = 1000

_LEAVES: tuple[Any, ...] = (
    str, float, bytes, bytearray, date, time, timedelta, Decimal, UUID, PurePath, IPv4Address, IPv6Address,
)  # fmt: skip
_CONTAINERS: tuple[Any, ...] = (list, tuple, set, frozenset, deque)


class _TooMuchError(Exception):
    """A limit is exceeded; `note` is stored instead of the result."""

    def __init__(self, **note: Any) -> None:
        super().__init__()
        self.note = {"truncated": True, **note}


def bounded_json(value: Any) -> Any:
    """Convert to JSON values. Raises nothing: the handler has succeeded, whatever it returned.

    Returns:
        The value; `{"truncated": True, …}` if it is too large, with how much was read; `{"not_json": TYPE,
        "reason": …}` if it has no JSON form.
    """
    if value is None:
        return None
    try:
        return _Reading().read(value, 0)
    except _TooMuchError as error:
        return error.note
    except BaseException as error:  # noqa: BLE001 - also what properties and `__repr__` of the handler's objects raise
        return {"not_json": type(value).__name__, "reason": type(error).__name__}


class _Reading:
    """Reads one result, and counts values and bytes."""

    def __init__(self) -> None:
        self.bytes = 0
        self.values = 0
        self.open_containers: set[int] = set()

    def read(self, value: Any, depth: int) -> Any:
        self.values += 1
        if self.values > MAX_RESULT_VALUES:
            raise _TooMuchError(values=self.values)
        if depth > MAX_RESULT_DEPTH:
            raise _TooMuchError(depth=depth)
        if value is None or value is True or value is False:
            self.count(5)
            return value
        if isinstance(value, Enum):
            return self.read(value.value, depth)
        if isinstance(value, int):
            return self.integer(value)
        if isinstance(value, _LEAVES):
            return self.text(value)
        if isinstance(value, Mapping | pydantic.BaseModel) or _is_dataclass(value):
            return self.container(value, lambda: self.mapping(value, depth))
        if isinstance(value, _CONTAINERS):
            return self.container(value, lambda: [self.item(item, depth) for item in _items(value)])
        return self.text(truncate(repr(value), MAX_REPR_CHARACTERS))

    def count(self, size: int) -> None:
        self.bytes += size
        if self.bytes > MAX_RESULT_BYTES:
            raise _TooMuchError(bytes=self.bytes)

    def integer(self, value: int) -> int:
        value = int.__index__(value)
        if value.bit_length() > MAX_INTEGER_BITS:  # Python itself refuses to write much longer ones
            raise _TooMuchError(bits=value.bit_length())
        self.count(1 + value.bit_length() // 3)
        return value

    def text(self, value: Any) -> Any:
        """A value whose JSON form is a string or a number."""
        if isinstance(value, PurePath):
            value = str(value)
        if isinstance(value, str | bytes | bytearray) and len(value) > MAX_RESULT_BYTES:
            self.count(len(value) + 2)
        written = pydantic_core.to_json(value, inf_nan_mode="strings", bytes_mode="base64")
        self.count(len(written))
        return pydantic_core.from_json(written)

    def container(self, value: Any, read: Any) -> Any:
        """Read the content of a container; refuse one that contains itself."""
        if id(value) in self.open_containers:
            raise ValueError("it contains itself")
        self.open_containers.add(id(value))
        self.count(2)
        found = read()
        self.open_containers.discard(id(value))
        return found

    def item(self, value: Any, depth: int) -> Any:
        self.count(1)
        return self.read(value, depth + 1)

    def mapping(self, value: Any, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, item in _pairs(value):
            written = self.read(key, depth + 1)
            name = written if isinstance(written, str) else truncate(str(key), MAX_REPR_CHARACTERS)
            self.count(2)
            found[name] = self.read(item, depth + 1)
        return found


def _is_dataclass(value: Any) -> bool:
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


def _items(value: Any) -> Iterable[Any]:
    """The items of the built-in type, not those of a subclass's `__iter__`."""
    kind = next(kind for kind in _CONTAINERS if isinstance(value, kind))
    items: Iterable[Any] = kind.__iter__(value)
    return items


def _pairs(value: Any) -> Iterable[tuple[Any, Any]]:
    if isinstance(value, pydantic.BaseModel):
        return value.model_dump(by_alias=True).items()
    if isinstance(value, dict):
        return dict.items(value)
    if isinstance(value, Mapping):
        return ((key, value[key]) for key in value)
    return ((field.name, getattr(value, field.name)) for field in dataclasses.fields(value))
