"""`Retry-After` and `Date`: how long a server asks us to wait, and what time its clock has. Pure."""

from __future__ import annotations

from email.utils import parsedate_to_datetime

MAX_RETRY_AFTER = 24 * 3600.0
"""Longest wait that is believed, in seconds."""
MAX_CLOCK_DIFFERENCE_SECONDS = 300.0
"""How far apart two clocks may be and agree."""


def parse_retry_after(value: str | None, now: float | None) -> float | None:
    """Seconds to wait from `now` (Unix seconds), between 0 and a day; None if the header is absent or unreadable.

    Both forms of RFC 9110, section 10.2.3: whole seconds, or an HTTP date. Without a `now` a date says nothing.
    """
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        # So many digits are a long time, and more than `int` may be given.
        return MAX_RETRY_AFTER if len(text) > 9 else min(float(text), MAX_RETRY_AFTER)
    when = http_date(text)
    if when is None or now is None:
        return None
    return min(max(0.0, when - now), MAX_RETRY_AFTER)


def sender_time(date: str | None, now: float) -> float:
    """The sender's time, for reading other times in an answer with this `Date` header.

    `now` (Unix seconds) while the two clocks agree: the header is older than the answer by the way it came. Where they
    do not, one of them is wrong, and what a time of the server's is ahead of its own clock is right all the same.
    """
    at = http_date(date)
    return now if at is None or abs(now - at) <= MAX_CLOCK_DIFFERENCE_SECONDS else at


def http_date(value: str | None) -> float | None:
    """An HTTP date as Unix seconds; None if it is not one."""
    text = (value or "").strip()
    if not text or len(text) > 64:
        return None
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError, OSError):
        return None
