"""`Retry-After` and `Date`: how long a server asks us to wait, and the time of its clock. Pure."""

from __future__ import annotations

from email.utils import parsedate_to_datetime

MAX_RETRY_AFTER = 24 * 3600.0
"""The longest wait that is accepted, in seconds."""
MAX_CLOCK_DIFFERENCE_SECONDS = 300.0
"""The largest difference between two clocks that agree, in seconds."""


def parse_retry_after(value: str | None, now: float | None) -> float | None:
    """Seconds to wait from `now` (unix seconds), between 0 and a day; None if the header is missing or not valid.

    Both forms of RFC 9110, section 10.2.3: whole seconds, or an HTTP date. Without `now` a date cannot be used.
    """
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        # A longer number is longer than a day, and may have more digits than `int` accepts.
        return MAX_RETRY_AFTER if len(text) > 9 else min(float(text), MAX_RETRY_AFTER)
    when = http_date(text)
    if when is None or now is None:
        return None
    return min(max(0.0, when - now), MAX_RETRY_AFTER)


def sender_time(date: str | None, now: float, agree_seconds: float = MAX_CLOCK_DIFFERENCE_SECONDS) -> float:
    """The time of the sender's clock, by which to read other times in a response with this `Date` header.

    `now` (unix seconds) if the two clocks agree, because the header is a little older than the response. If they do
    not agree, one of them is wrong, but the difference between two times of the server is still right.

    Args:
        agree_seconds: the largest difference between clocks that agree.
    """
    at = http_date(date)
    return now if at is None or abs(now - at) <= agree_seconds else at


def http_date(value: str | None) -> float | None:
    """An HTTP date as unix seconds; None if it is not one."""
    text = (value or "").strip()
    if not text or len(text) > 64:
        return None
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError, OSError):
        return None
