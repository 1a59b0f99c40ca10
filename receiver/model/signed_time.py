"""The formats of the signed time of a delivery."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

from receiver.errors import SignatureError

DATE = "[0-9]{4}-[0-9]{2}-[0-9]{2}T"
"""The regular expression of how a time in ISO 8601 begins."""
_ISO8601 = DATE + "[0-9]{2}:[0-9]{2}:[0-9]{2}(?:[.][0-9]{1,9})?(?:Z|[+-][0-9]{2}:[0-9]{2})"


class TimeFormat(NamedTuple):
    """How a time is written.

    Attributes:
        text: the format in words.
        pattern: its regular expression.
        fixed: the regular expression of a time that shows by itself where it ends.
        read: unix seconds of a text that matches; raises SignatureError if there is no such time.
        write: the text of unix seconds.
    """

    text: str
    pattern: str
    fixed: str
    read: Callable[[str], float]
    write: Callable[[int], str]


def _read_iso8601(text: str) -> float:
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        raise SignatureError("There is no such date or time.", reason="malformed_header") from None


TIME_FORMATS = {
    "seconds": TimeFormat("unix seconds in ASCII digits", "[0-9]{1,12}", "[0-9]{10}", int, str),
    "milliseconds": TimeFormat(
        "unix milliseconds in ASCII digits",
        "[0-9]{1,15}",
        "[0-9]{13}",
        lambda text: int(text) / 1000,
        lambda now: str(now * 1000),
    ),
    "iso8601": TimeFormat(
        "a date and time such as 2026-11-27T10:00:00Z",
        _ISO8601,
        _ISO8601,
        _read_iso8601,
        lambda now: datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    ),
}
