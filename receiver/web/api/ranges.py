"""The `Range` header of RFC 9110, as audio players use it: one range of bytes."""

from __future__ import annotations

import re

_ONE = re.compile(r"bytes=[ \t]*([0-9]{0,18})-([0-9]{0,18})[ \t]*", re.IGNORECASE)


class Unsatisfiable(Exception):
    """The range begins after the end."""


def read_range(value: str | None, size: int) -> tuple[int, int] | None:
    """The requested bytes: from the first number, up to but not including the second.

    Args:
        size: of the file, in bytes; at least 1.

    Returns:
        None for all of them: no range is requested, several are, or it is invalid. A server may ignore those.

    Raises:
        Unsatisfiable: the range begins after the end.
    """
    found = _ONE.fullmatch(value) if value is not None else None
    if found is None or found.group(1) == found.group(2) == "":
        return None
    first, last = found.groups()
    if not first:
        if int(last) == 0:
            raise Unsatisfiable
        return max(0, size - int(last)), size
    start = int(first)
    if last and int(last) < start:
        return None
    if start >= size:
        raise Unsatisfiable
    return start, min(int(last) + 1, size) if last else size
