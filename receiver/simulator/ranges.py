"""`Range` and `If-Range` as RFC 9110 has them, for one range of bytes."""

from __future__ import annotations

import re

_ONE_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


class UnsatisfiableError(Exception):
    """The range lies outside the bytes: 416."""


def wanted_range(range_header: str | None, if_range: str | None, *, etag: str, size: int) -> tuple[int, int] | None:
    """(start, stop) of the bytes asked for, `stop` not included; None for all of them (200).

    A header that is malformed, names several ranges or another unit is ignored, and so is one whose
    `If-Range` is not exactly the strong `etag`. Raises UnsatisfiableError.
    """
    match = _ONE_RANGE.fullmatch((range_header or "").replace(" ", ""))
    if match is None or (if_range is not None and if_range.strip() != etag):
        return None
    first, last = match.groups()
    if not first and not last:
        return None
    if not first:
        start, stop = max(size - int(last), 0), size
    else:
        start, stop = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            return None
    if start >= size:
        raise UnsatisfiableError
    return start, stop
