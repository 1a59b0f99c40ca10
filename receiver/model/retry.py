"""When to try again: exponential backoff with full jitter and a cap, decided without a clock or random numbers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how far apart.

    Attributes:
        attempts: executions in all before a run is dead; at least 1.
        base_seconds: the bound of the wait after the first failed attempt.
        factor: what each further bound is multiplied by.
        cap_seconds: no bound is larger.
    """

    attempts: int = 8
    base_seconds: float = 5.0
    factor: float = 4.0
    cap_seconds: float = 3600.0

    def limited_to(self, attempts: int) -> Self:
        """The same waits with another number of executions."""
        return replace(self, attempts=attempts)


def backoff_seconds(policy: RetryPolicy, attempt: int, draw: float) -> float:
    """Seconds to wait after the `attempt`-th failure (from 1): uniform in (0, bound].

    Args:
        draw: uniform in [0, 1).
    """
    exponent = min(max(attempt, 1) - 1, 64)
    bound = min(policy.cap_seconds, policy.base_seconds * policy.factor**exponent)
    return bound * (1.0 - draw)


def wait_seconds(policy: RetryPolicy, attempt: int, draw: float, *, retry_after: float = 0.0) -> float | None:
    """Seconds until the next attempt, or None when the attempts are used up.

    Args:
        attempt: attempts that count so far, the one that just failed included.
        retry_after: a wait somebody asked for; a floor under the backoff.
    """
    if attempt >= policy.attempts:
        return None
    return max(retry_after, backoff_seconds(policy, attempt, draw))
