"""No more requests in any second than the rate says, by when they were really sent.

Turns are given out ahead, evenly spaced (`store.pace`). Whoever comes late to his turn must not meet those that are on
time: what counts at the provider is when requests arrive, not when they should have been sent.
"""

from __future__ import annotations

from collections import deque

SPAN = 1.01
"""A window is this much longer than the rate says: requests that are sent apart can arrive closer together. Less than
the margin between turns, so that those who are on time never wait here."""
MOST = 1000
"""Requests in one window, at the most."""


class Turnstile:
    """Lets the requests of one process to one source through.

    Args:
        rate: requests per second.
    """

    def __init__(self, rate: float) -> None:
        in_window = max(1, min(MOST, int(rate)))
        self._window = SPAN * in_window / rate
        self._apart = 0.5 / rate
        self._sent: deque[float] = deque(maxlen=in_window)

    @property
    def opens_at(self) -> float:
        """When the next request may be sent, unix seconds. Those that are late catch up at twice the rate at most."""
        if not self._sent:
            return float("-inf")
        full = len(self._sent) == self._sent.maxlen
        return max(self._sent[-1] + self._apart, self._sent[0] + self._window if full else float("-inf"))

    def passed(self, now: float) -> None:
        """A request is sent at this moment, unix seconds."""
        self._sent.append(now)
