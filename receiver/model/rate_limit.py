"""`X-RateLimit-*`: how many requests an account has left, and when its window ends. Pure.

The names are from the providers' documentation, which does not describe the form of `-Reset`: unix seconds and seconds
from now are distinguished by their size.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

MAX_RESET_SECONDS = 7 * 86_400.0
"""A reset further ahead than this is ignored, in seconds."""
_UNIX_SECONDS = 1_000_000_000
_MAX_BUCKET_CHARACTERS = 64


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
        _reset(_number(header("x-ratelimit-reset")), now),
        _bucket(header("x-ratelimit-bucket")),
    )
    return None if found == RateLimit() else found


def _number(value: str | None) -> int | None:
    text = (value or "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 15 else None


def _reset(value: int | None, now: float) -> float | None:
    if value is None:
        return None
    at = float(value) if value >= _UNIX_SECONDS else now + value
    return at if at <= now + MAX_RESET_SECONDS else None


def _bucket(value: str | None) -> str | None:
    text = (value or "").strip()
    return text if 0 < len(text) <= _MAX_BUCKET_CHARACTERS and text.isascii() and text.isprintable() else None
