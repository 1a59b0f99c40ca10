"""How values are shown. Text from outside is data: it is escaped, and its control characters are shown as escapes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode

from markupsafe import Markup

from receiver.model.printable import printable, printable_json, printable_lines
from receiver.model.timestamps import utc

NONE = "–"
_UNITS = (("d", 86_400), ("h", 3600), ("min", 60))


class Lines(str):
    """Text whose line breaks are shown."""

    __slots__ = ()


def shown(value: Any) -> Any:
    """What every expression of a template passes before it is escaped."""
    if isinstance(value, Markup):
        return value
    if value is None:
        return Markup('<span class="none">–</span>')
    if isinstance(value, Lines):
        return printable_lines(value)
    return printable(str(value))


def as_lines(value: str) -> Lines:
    """For `<pre>`."""
    return Lines(value)


def as_json(value: Any) -> Lines:
    """JSON for `<pre>`."""
    return Lines(printable_json(json.dumps(value, indent=2, ensure_ascii=False)))


def as_json_line(value: Any) -> str:
    """JSON on one line."""
    return printable_json(json.dumps(value, ensure_ascii=False))


def number(value: float) -> str:
    """A count with separators."""
    return f"{value:,}"


def duration(seconds: float | None) -> Any:
    """A duration in one unit, such as `250 ms`, `4.2 s`, `12 min`."""
    if seconds is None:
        return None
    for name, length in _UNITS:
        if seconds >= 2 * length:
            return f"{seconds / length:,.0f} {name}"
    if seconds >= 10:
        return f"{seconds:.0f} s"
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"


def size(count: int | None) -> Any:
    """Bytes in a decimal unit."""
    if count is None:
        return None
    for unit, length in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= length:
            return f"{count / length:,.1f} {unit}"
    return f"{count:,} B"


def percent(part: int, whole: int) -> Any:
    """A share, without decimals where they say nothing."""
    if not whole:
        return None
    share = 100 * part / whole
    return f"{share:.1f} %" if 0 < share < 10 else f"{share:.0f} %"


def time(at: datetime | float | None, form: str = "") -> Any:
    """A moment: in UTC, until the script writes it in the reader's time zone.

    Args:
        form: "ago" for how long ago it was, which the script keeps up to date; "minute" without seconds.
    """
    if at is None:
        return None
    moment = utc(at) if isinstance(at, int | float) else at.astimezone(UTC)
    text = f"{moment:%Y-%m-%d %H:%M}Z" if form == "minute" else f"{moment:%Y-%m-%d %H:%M:%S}Z"
    return Markup('<time datetime="{}" data-form="{}">{}</time>').format(moment.isoformat(), form, text)


def short_id(id: str) -> str:
    """The beginning of an id, which commands and the search box accept."""
    prefix, _, digits = id.rpartition("_")
    return f"{prefix}_{digits[:16]}" if prefix else id[:16]


def query(pairs: Sequence[tuple[str, str]], **changes: str | None) -> str:
    """A query string of these pairs, with values changed, or removed by None."""
    kept = [(name, value) for name, value in pairs if name not in changes]
    text = urlencode([*kept, *((name, value) for name, value in changes.items() if value is not None)])
    return f"?{text}" if text else "?"


def without(pairs: Sequence[tuple[str, str]], name: str) -> str:
    """A query string of the pairs with other names, for the first page."""
    return query(pairs, **{name: None, "cursor": None})


FILTERS = {
    "lines": as_lines, "json_text": as_json, "json_line": as_json_line, "number": number, "duration": duration,
    "size": size, "time": time, "short_id": short_id, "path": lambda value: quote(str(value), safe=""),
}  # fmt: skip
GLOBALS = {"query": query, "without": without, "percent": percent}
