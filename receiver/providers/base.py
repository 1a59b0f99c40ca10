"""Audio requests, and the checks that every provider module makes on text from outside."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import urlsplit

from receiver.model.delivery import Headers
from receiver.model.json_body import REPLACEMENT, read_json, read_json_object

__all__ = [
    "MAX_WORD",
    "AudioRequest",
    "header_word",
    "origin_of",
    "read_json",
    "read_json_object",
    "usable_word",
]

MAX_WORD = 256
"""Longest accepted event word or job id, in characters."""


@dataclass(frozen=True, slots=True)
class AudioRequest:
    """A request that can fetch one file of a completed job.

    Attributes:
        url: absolute address.
        headers: credentials; they are sent to `url`'s own origin and nowhere else.
        durable: whether the address stays valid; a temporary one is tried only if there is no durable one.
        headers_if_refused: credentials that are sent, to the same origin, after a request without them was refused.
    """

    url: str
    headers: Mapping[str, str] = field(repr=False)
    durable: bool
    headers_if_refused: Mapping[str, str] = field(default_factory=dict, repr=False)


@lru_cache(maxsize=256)
def origin_of(url: str) -> tuple[str, str, int] | None:
    """Return (scheme, host, port) of an absolute http(s) address; None for anything else, and if it has credentials."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    scheme = parts.scheme.lower()
    if scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        return None
    return scheme, parts.hostname.lower().rstrip("."), port or (443 if scheme == "https" else 80)


def usable_word(value: object) -> str | None:
    """Return an id or event word as text if it can be stored, compared and printed; else None.

    A whole number becomes its digits. Text with control characters, unpaired surrogates, white space at the ends or
    replacement characters is not repaired, because two ids could become one.
    """
    if not isinstance(value, str):
        whole = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 64
        return str(value) if whole else None
    if not 0 < len(value) <= MAX_WORD:
        return None
    if value.isascii():
        return value if value.isprintable() and value == value.strip() else None
    if value != value.strip() or REPLACEMENT in value or any(unicodedata.category(char)[0] == "C" for char in value):
        return None
    return value


def header_word(headers: Headers, name: bytes) -> str | None:
    """Return an unsigned header's value, stripped, if the header occurs once and the value is usable; else None."""
    values = [value for header, value in headers if header == name]
    if len(values) != 1:
        return None
    try:
        return usable_word(values[0].decode("ascii").strip(" \t"))
    except UnicodeDecodeError:
        return None
