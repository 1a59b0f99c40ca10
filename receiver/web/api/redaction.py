"""Removes signatures from stored headers."""

from __future__ import annotations

from collections.abc import Iterable

from receiver.model.redact import Redactor
from receiver.model.redact_json import CUT

_PLAIN = frozenset({"content-type", "user-agent"})


def header_lines(headers: Iterable[list[str]], unsigned: Iterable[str], redact: Redactor) -> list[dict[str, str]]:
    """The stored headers; the value only of those that are known not to contain a signature.

    Args:
        unsigned: lower-case names of the headers without a signature that the source's provider keeps.
    """
    plain = _PLAIN.union(unsigned)
    return [{"name": name, "value": redact(value) if name in plain else CUT} for name, value in headers]
