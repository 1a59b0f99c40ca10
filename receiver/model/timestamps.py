"""The store's times as times of the calendar. Apart because the API and the commands show the same ones."""

from __future__ import annotations

from datetime import UTC, datetime

_FIRST = datetime.min.replace(tzinfo=UTC)
_LAST = datetime.max.replace(tzinfo=UTC)


def utc(seconds: float) -> datetime:
    """Unix seconds as a time (UTC). One that no calendar has is its first or last: a list must not fail for one row."""
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        return _FIRST if seconds < 0 else _LAST


def utc_text(seconds: float) -> str:
    """Unix seconds as text, to the second, such as `2026-11-26 09:30:00Z`."""
    return utc(seconds).strftime("%Y-%m-%d %H:%M:%SZ")
