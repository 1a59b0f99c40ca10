"""Rate limits: the request window of aitts, and the shortest interval between two polls of audixa."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

ENTERPRISE_LIMIT = 1000
WINDOW_SECONDS = 900.0
ResetForm = Literal["unix", "milliseconds", "seconds", "iso"]


@dataclass
class RateLimit:
    """A fixed window that begins with its first request.

    Provider's documentation: a 15-minute window per account; 10 requests pay-as-you-go, 100 Pro, 1,000 Enterprise;
    headers X-RateLimit-Limit, -Remaining, -Reset, -Bucket on every response. The form of Reset and Bucket is not
    documented: unix seconds and a plain word, unless `reset` says otherwise.
    """

    limit: int = ENTERPRISE_LIMIT
    window: float = WINDOW_SECONDS
    bucket: str = "account"
    reset: ResetForm = "unix"
    _used: int = field(default=0, init=False)
    _since: float | None = field(default=None, init=False)

    def take(self, now: float) -> bool:
        """Count one request at `now` (unix seconds); False if the window is used up."""
        self._roll_over(now)
        if self._used >= self.limit:
            return False
        self._used += 1
        return True

    def seconds_left(self, now: float) -> int:
        """Whole seconds until the window ends, at least 1."""
        return max(1, math.ceil(self._end(now) - now))

    def headers(self, now: float) -> dict[str, str]:
        """Return the four headers at `now` (unix seconds)."""
        self._roll_over(now)
        return {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(max(self.limit - self._used, 0)),
            "X-RateLimit-Reset": self._reset(math.ceil(self._end(now)), now),
            "X-RateLimit-Bucket": self.bucket,
        }

    def _reset(self, at: int, now: float) -> str:
        match self.reset:
            case "seconds":
                return str(max(0, math.ceil(at - now)))
            case "milliseconds":
                return str(1000 * at)
            case "iso":
                return datetime.fromtimestamp(at, UTC).isoformat()
        return str(at)

    def _end(self, now: float) -> float:
        return (now if self._since is None else self._since) + self.window

    def _roll_over(self, now: float) -> None:
        if self._since is None or now >= self._since + self.window:
            self._since, self._used = now, 0


TOLERANCE_SECONDS = 0.05
"""How early a poll is accepted, seconds: the client's timer and ours differ slightly."""


@dataclass
class PollLimiter:
    """Decides whether a poll follows the last accepted one too soon."""

    _last: float | None = field(default=None, init=False)

    def seconds_early(self, now: float, interval: float) -> float:
        """Return how much sooner than `interval` seconds after the last poll this one is; 0 accepts it."""
        if self._last is not None and 0 <= now - self._last < interval - TOLERANCE_SECONDS:
            return self._last + interval - now
        self._last = now
        return 0.0
