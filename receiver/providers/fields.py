"""Finds a field in the body of a response: flat or nested, under one of several names, as text or as an object.

The services vary in the same ways, so the provider modules share these functions. None of them raises.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from receiver.providers.base import origin_of, usable_word

MAX_ADDRESS = 8192
"""The maximum length of an address, characters; signed addresses have up to about 2,000."""
_ERROR_FIELDS = ("error", "error_message", "errorMessage", "detail")


class ErrorDetail(NamedTuple):
    """An error as a provider reports it; either part may be empty."""

    code: str = ""
    message: str = ""


def unwrap(document: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """Return the objects in which to look for a field: the object in `data`, if there is one, then the body itself."""
    nested = document.get("data")
    return (nested, document) if isinstance(nested, dict) else (document,)


def pick(objects: tuple[Mapping[str, Any], ...], *names: str) -> Any:
    """Return the first of these fields that is neither null nor empty, in the first object that has one; else None."""
    for item in objects:
        for name in names:
            if item.get(name) not in (None, ""):
                return item[name]
    return None


def status_word(value: object) -> str | None:
    """Return a status word in lower case, or the digits of a number; None for anything else."""
    word = usable_word(value.strip() if isinstance(value, str) else value)
    return None if word is None else word.lower()


def error_detail(*objects: Mapping[str, Any], others: tuple[str, ...] = ()) -> ErrorDetail:
    """Return the error that a body reports, under any of its usual names and in any of its usual forms.

    Args:
        others: further names of fields to look in.
    """
    named = (item.get(name) for name in (*_ERROR_FIELDS, *others) for item in objects)
    value = next((value for value in named if value and value is not True), None)
    if isinstance(value, list):  # validation errors: [{"loc", "msg", "type"}]
        messages = [item["msg"] if isinstance(item, dict) and "msg" in item else item for item in value]
        return ErrorDetail("", "; ".join(str(message) for message in messages))
    return read_error(value)


def read_error(value: object) -> ErrorDetail:
    """Return an `error {code, message}`, which may also be a plain string, or missing."""
    if isinstance(value, dict):
        return ErrorDetail(str(value.get("code") or ""), str(value.get("message") or ""))
    return ErrorDetail("", str(value) if value is not None else "")


def web_addresses(*values: object) -> list[str]:
    """Return every address in these texts, lists of texts and objects of texts: in order, each once.

    An address is an http(s) one or a path at the service. If there is none, the texts themselves are returned, so that
    audio with an unusable address does not look like no audio. White space around an address is removed.
    """
    texts = list(dict.fromkeys(text for value in values for text in _texts(value) if text))
    return [text for text in texts if is_address(text)] or texts


def is_address(text: str) -> bool:
    """Return whether a text is an http(s) address, or a path at the service."""
    return text.startswith("/") or origin_of(text) is not None


def _texts(value: object) -> Iterator[str]:
    items = value if isinstance(value, list) else value.values() if isinstance(value, dict) else (value,)
    return (item.strip()[:MAX_ADDRESS] for item in items if isinstance(item, str))
