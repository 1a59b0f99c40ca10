"""Removes credentials and queries from the addresses in a document.

A provider's document may contain temporary addresses, whose signatures are in the query.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

_SLASHES = re.compile(r"/\\*/")
"""What an address begins with, after its scheme if it has one; also as JSON in a text has it: `https:\\/\\/`."""
_MARK = r"(?:[?#]|\\++u00(?:3[fF]|23))"
"""Where a query or a fragment begins, also as JSON may have it, and JSON in JSON: with all of its backslashes."""
_TAIL = r"(?:[^\s\"'<>\\]|\\++(?![\"']))*+"
"""What a query consists of. A backslash before a quotation mark belongs to the JSON around it."""
_ADDRESS = re.compile(
    rf"(?P<slashes>/\\*/)(?:[^\s/?#\"'<>\\]*@)?(?P<rest>(?:[^\s?#\"'<>\\]|\\++(?!u00(?:3[fF]|23)))*+)(?:{_MARK}{_TAIL})?"
)
_LATER_QUERY = re.compile(rf"(?:\?|(?<!\\)\\++u003[fF]|#(?=[^\s\"'<>=#]*=)|&(?=[^\s\"'<>=&]*=))(?=[^\s\"'<>]){_TAIL}")
"""A query that follows an address in the same text: of a path with a space in it, or of an address without slashes."""


def without_queries(value: Any) -> Any:
    """A JSON value whose texts and names have no query and no credentials of an address.

    Only what is in an object's `metadata` stays whole: it is from the submitter of the job.
    """
    if isinstance(value, str):
        return _clean(value)
    if isinstance(value, list):
        return [without_queries(item) for item in value]
    if isinstance(value, dict):
        return _clean_object(value)
    return value


def _clean(text: str) -> str:
    first = _SLASHES.search(text)
    if first is None:
        return text
    text = _ADDRESS.sub(r"\g<slashes>\g<rest>", text)
    return text[: first.start()] + _LATER_QUERY.sub("", text[first.start() :])


def _clean_object(value: Mapping[str, Any]) -> dict[str, Any]:
    """Names that are the same without their queries are numbered, so that none replaces another."""
    cleaned: dict[str, Any] = {}
    numbers: Counter[str] = Counter()
    for name, item in value.items():
        unique = base = _clean(name)
        while unique in cleaned:
            numbers[base] += 1
            unique = f"{base} ({numbers[base] + 1})"
        cleaned[unique] = item if name == "metadata" else without_queries(item)
    return cleaned
