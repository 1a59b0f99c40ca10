"""Reads JSON bodies: strictly from our own clients, tolerantly from providers.

Separate from the provider modules, because a handler's `event.body` is read in the same way. The only error is
`InvalidJson`, and every value can be written as JSON again.
"""

from __future__ import annotations

import json
import re
from math import isfinite
from typing import Any

import pydantic_core

from receiver.errors import InvalidJson

MAX_DEPTH = 201
"""Deepest nesting that is read: the maximum that the fast parser accepts and can write again."""
REPLACEMENT = "\ufffd"
"""Replaces an incomplete character."""

_SURROGATE = re.compile("[\ud800-\udfff]")


def read_json_object(body: bytes) -> dict[str, Any]:
    """Read a provider's JSON object, as `read_json`.

    Raises:
        InvalidJson: the body is not a JSON object.
    """
    return _object(read_json(body))


def read_json(body: bytes) -> Any:
    """Read a provider's JSON value of any type. Faults that do not change its meaning are repaired.

    A byte order mark is ignored; an incomplete character (an unpaired surrogate, a truncated UTF-8 sequence) becomes
    U+FFFD; numbers that JSON does not have (`NaN`, `Infinity`, too large ones) become None. The nesting is limited
    here, the size by the code that reads the bytes.

    Raises:
        InvalidJson: the body is not JSON.
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
    """The JSON object of a stored body, read as by `read_json`; empty if the body is not a JSON object."""
    try:
        return read_json_object(body)
    except InvalidJson:
        return {}


def read_strict_json_object(body: bytes) -> dict[str, Any]:
    """Read a JSON object, as `read_strict_json`.

    Raises:
        InvalidJson: the body is not a JSON object.
    """
    return _object(read_strict_json(body))


def read_strict_json(body: bytes) -> Any:
    """Read a JSON value of any type, by RFC 8259: UTF-8, complete characters, finite numbers. Its nesting is limited.

    Raises:
        InvalidJson: the body is not JSON.
    """
    try:
        value = pydantic_core.from_json(body, allow_inf_nan=False, cache_strings="keys")
    except (ValueError, RecursionError) as error:
        raise InvalidJson(f"The body is not JSON: {error}.", reason="malformed_json") from None
    # A number such as 1e999 is read as infinite. Writing the value again is the fastest way to detect that.
    if b"Infinity" in pydantic_core.to_json(value, inf_nan_mode="constants") and not _finite(value):
        raise InvalidJson("The body has a number that is too large.", reason="malformed_json")
    return value


def same_json(one: Any, other: Any) -> bool:
    """Whether two JSON values are the same: to Python, `1` and `true` would be."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


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
        return _SURROGATE.sub(REPLACEMENT, value)
    if isinstance(value, float):
        return value if isfinite(value) else None
    if not isinstance(value, dict | list):
        return value
    if depth == 0:
        raise InvalidJson("The body is nested too deeply.", reason="malformed_json")
    if isinstance(value, list):
        return [_repaired(item, depth - 1) for item in value]
    return {_SURROGATE.sub(REPLACEMENT, name): _repaired(item, depth - 1) for name, item in value.items()}
