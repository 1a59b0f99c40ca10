"""Reading the JSON of a body: strictly from our own clients, tolerantly from providers.

Separate from the provider modules because a handler's `event.body` is read the same way. Nothing here raises anything
but `InvalidJson`, and the values can always be written as JSON again.
"""

from __future__ import annotations

import json
import re
from math import isfinite
from typing import Any

import pydantic_core

from receiver.errors import InvalidJson

MAX_DEPTH = 201
"""Deepest nesting that is read: the most that the fast parser accepts and can write again."""
REPLACEMENT = "\ufffd"
"""Replaces a character of which only a part was sent."""

_HALF = re.compile("[\ud800-\udfff]")


def read_json_object(body: bytes) -> dict[str, Any]:
    """A provider's JSON object, read as `read_json` does.

    Raises:
        InvalidJson: it is none.
    """
    return _object(read_json(body))


def read_json(body: bytes) -> Any:
    """A provider's JSON of any kind, with faults repaired that do not change its meaning.

    A byte order mark is dropped; half a character (an unpaired surrogate, a cut UTF-8 sequence) becomes U+FFFD; numbers
    not in JSON (`NaN`, `Infinity`, too large ones) become None. Nesting is bounded here, the size by
    the code that read the bytes.

    Raises:
        InvalidJson: it is none.
    """
    try:
        return read_strict_json(body)
    except InvalidJson as error:
        fault = error
    try:
        text = body.decode("utf-8-sig", "replace")
        value = json.loads(text, parse_constant=lambda word: None, parse_int=_integer)
    except (ValueError, RecursionError):
        raise fault from None
    return _repaired(value, MAX_DEPTH)


def document_of(body: bytes) -> dict[str, Any]:
    """The JSON object of a stored body, read as `read_json` does; empty where it is none."""
    try:
        return read_json_object(body)
    except InvalidJson:
        return {}


def read_strict_json_object(body: bytes) -> dict[str, Any]:
    """A JSON object, read as `read_strict_json` does.

    Raises:
        InvalidJson: it is none.
    """
    return _object(read_strict_json(body))


def read_strict_json(body: bytes) -> Any:
    """JSON of any kind as RFC 8259 has it: UTF-8, whole characters, finite numbers; of bounded nesting.

    Raises:
        InvalidJson: it is none.
    """
    try:
        value = pydantic_core.from_json(body, allow_inf_nan=False, cache_strings="keys")
    except (ValueError, RecursionError) as error:
        raise InvalidJson(f"The body is not JSON: {error}.", reason="malformed_json") from None
    # A number such as 1e999 is read as infinite. Writing the value out again is the quickest way to see it.
    if b"Infinity" in pydantic_core.to_json(value, inf_nan_mode="constants") and not _finite(value):
        raise InvalidJson("The body has a number that is too large.", reason="malformed_json")
    return value


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidJson("The body is JSON, but not an object.", reason="not_an_object")
    return value


def _finite(value: object) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return False
    return True


def _integer(digits: str) -> int | None:
    try:
        return int(digits)
    except ValueError:  # more digits than Python converts
        return None


def _repaired(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return _HALF.sub(REPLACEMENT, value)
    if isinstance(value, float):
        return value if isfinite(value) else None
    if not isinstance(value, dict | list):
        return value
    if depth == 0:
        raise InvalidJson("The body is nested too deeply.", reason="malformed_json")
    if isinstance(value, list):
        return [_repaired(item, depth - 1) for item in value]
    return {_HALF.sub(REPLACEMENT, name): _repaired(item, depth - 1) for name, item in value.items()}
