"""Converts the store's times for display, in the same way for the API and the commands."""

from __future__ import annotations

from datetime import UTC, datetime

_FIRST = datetime.min.replace(tzinfo=UTC)
_LAST = datetime.max.replace(tzinfo=UTC)


def utc(seconds: float) -> datetime:
    """Unix seconds as a time (UTC), limited to what `datetime` supports: a list must not fail because of one row."""
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        return _FIRST if seconds < 0 else _LAST


def utc_text(seconds: float) -> str:
    """Unix seconds as text, to the second, such as `2026-11-26 09:30:00Z`."""
    return utc(seconds).strftime("%Y-%m-%d %H:%M:%SZ")
