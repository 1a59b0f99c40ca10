"""`Range` and `If-Range` of RFC 9110, for a single range of bytes."""

from __future__ import annotations

import re

_ONE_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


class UnsatisfiableError(Exception):
    """The range begins after the last byte: 416."""


def requested_range(range_header: str | None, if_range: str | None, *, etag: str, size: int) -> tuple[int, int] | None:
    """Return (start, stop) of the requested bytes, `stop` not included; None for all of them (200).

    A header that is malformed or names several ranges or another unit is ignored, as is one whose `If-Range` is not
    exactly the strong `etag`. Raises UnsatisfiableError.
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
