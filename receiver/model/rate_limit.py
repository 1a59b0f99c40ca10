"""`X-RateLimit-*`: how many requests an account has left, and when its window ends. Pure.

The names are from the providers' documentation, which does not describe the form of `-Reset`. Forms that cannot be
mistaken for each other are read: seconds from now, unix seconds and unix milliseconds, which differ by their size, and
ISO 8601 with a time zone.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

MAX_RESET_SECONDS = 7 * 86_400.0
"""A reset further ahead than this is ignored, in seconds."""
RESET = "x-ratelimit-reset"
_UNIX_SECONDS = 1_000_000_000
_UNIX_MILLISECONDS = 1_000_000_000_000
_MAX_BUCKET_CHARACTERS = 64
_DECIMAL = re.compile(r"[0-9]{1,15}(\.[0-9]{1,9})?")
_ISO = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2})")


class RateLimit(NamedTuple):
    """The rate limit of an account, as in a response. None for what the response does not contain.

    Attributes:
        limit: requests in a window.
        remaining: requests left in this window.
        reset_at: unix seconds of the window's end; may be past.
        bucket: the service's name for what is limited.
    """

    limit: int | None = None
    remaining: int | None = None
    reset_at: float | None = None
    bucket: str | None = None


def read_rate_limit(header: Callable[[str], str | None], now: float) -> RateLimit | None:
    """Read `X-RateLimit-Limit`, `-Remaining`, `-Reset` and `-Bucket`; None if none of them can be read.

    Args:
        header: the value of a header by its name, such as `Response.header`.
        now: unix seconds at which the response was received.
    """
    found = RateLimit(
        _number(header("x-ratelimit-limit")),
        _number(header("x-ratelimit-remaining")),
        read_reset(header(RESET), now),
        _bucket(header("x-ratelimit-bucket")),
    )
    return None if found == RateLimit() else found


def read_reset(value: str | None, now: float) -> float | None:
    """The unix seconds of `X-RateLimit-Reset`; None if its form is unknown, or if it is too far ahead."""
    text = (value or "").strip()
    if _DECIMAL.fullmatch(text):
        number = float(text)
        at = number / 1000 if number >= _UNIX_MILLISECONDS else number if number >= _UNIX_SECONDS else now + number
    elif _ISO.fullmatch(text):
        try:
            at = datetime.fromisoformat(text).timestamp()
        except (ValueError, OverflowError):
            return None
    else:
        return None
    return at if at <= now + MAX_RESET_SECONDS else None


def _number(value: str | None) -> int | None:
    text = (value or "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 15 else None


def _bucket(value: str | None) -> str | None:
    text = (value or "").strip()
    return text if 0 < len(text) <= _MAX_BUCKET_CHARACTERS and text.isascii() and text.isprintable() else None
