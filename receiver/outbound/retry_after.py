"""`Retry-After`: how long a server asks us to wait. Pure."""

from __future__ import annotations

from email.utils import parsedate_to_datetime

MAX_RETRY_AFTER = 24 * 3600.0
"""Longest wait that is believed, in seconds."""


def parse_retry_after(value: str | None, now: float) -> float | None:
    """Seconds to wait from `now` (Unix seconds), between 0 and a day; None if the header is absent or unreadable.

    Both forms of RFC 9110, section 10.2.3: whole seconds, or an HTTP date.
    """
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        # So many digits are a long time, and more than `int` may be given.
        return MAX_RETRY_AFTER if len(text) > 9 else min(float(text), MAX_RETRY_AFTER)
    if not text or len(text) > 64:
        return None
    try:
        when = parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError, OSError):
        return None
    return min(max(0.0, when - now), MAX_RETRY_AFTER)
