"""Retries: exponential backoff with full jitter and a maximum, as pure functions of a random number."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How many attempts, and how long to wait between them.

    Attributes:
        attempts: attempts in all before a run is dead; at least 1.
        base_seconds: the longest wait after the first failed attempt.
        factor: the growth of the longest wait with each attempt.
        cap_seconds: the maximum of the longest wait.
    """

    attempts: int = 8
    base_seconds: float = 5.0
    factor: float = 4.0
    cap_seconds: float = 3600.0

    def limited_to(self, attempts: int) -> Self:
        """The same waits with another number of attempts."""
        return replace(self, attempts=attempts)


def backoff_seconds(policy: RetryPolicy, attempt: int, jitter: float) -> float:
    """Seconds to wait after failed attempt number `attempt` (from 1): uniform in (0, longest wait].

    Args:
        jitter: a random number in [0, 1).
    """
    exponent = min(max(attempt, 1) - 1, 64)
    bound = min(policy.cap_seconds, policy.base_seconds * policy.factor**exponent)
    return bound * (1.0 - jitter)


def wait_seconds(policy: RetryPolicy, attempt: int, jitter: float, *, retry_after: float = 0.0) -> float | None:
    """Seconds until the next attempt; None if there is none left.

    Args:
        attempt: attempts so far that count, including the one that just failed.
        retry_after: a requested wait in seconds, the minimum of the backoff.
    """
    if attempt >= policy.attempts:
        return None
    return max(retry_after, backoff_seconds(policy, attempt, jitter))
