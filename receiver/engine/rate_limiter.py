"""Limits the requests of one process in any one-second window, by when they reach the provider. Pure.

Requests are scheduled at even intervals (`engine.throttle`). Evenly spaced sends can still arrive bunched: a delayed
request meets those that are on time, and a request that had to connect first arrives after one that was sent later.
When a request arrives is unknown. But an answer that takes longer than the quickest ones shows how late its request may
have been, and the request that is the first too many for one window with it waits for as much longer.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

SPAN = 1.005
"""A window is this much longer than the rate says. The margin between scheduled requests is larger, so that a request
that is on time does not wait here."""
MAX_IN_WINDOW = 1000
"""Requests in one window, at the most."""
LATE_SHARE = 0.5
"""How late a request is assumed to arrive, at the most, as a part of the window: a slow answer need not be a late
request."""
REMEMBERED = 20
"""Answers by which it is judged what is quick, at the least."""


@dataclass(slots=True)
class RequestSlot:
    """One request: when it was sent, and how long its answer took, in seconds; None while there is no answer."""

    sent: float
    seconds: float | None = None


class RateLimiter:
    """Bounds the requests of one process to one source. Its times are seconds of a monotonic clock.

    Args:
        rate: requests per second.
    """

    def __init__(self, rate: float) -> None:
        in_window = max(1, min(MAX_IN_WINDOW, int(rate)))
        self._window = SPAN * in_window / rate
        self._most_late = LATE_SHARE * in_window / rate
        self._apart = 0.5 / rate
        self._slots: deque[RequestSlot] = deque(maxlen=in_window)
        self._seconds: deque[float] = deque(maxlen=max(REMEMBERED, 2 * in_window))

    def opens_at(self, now: float) -> float:
        """When the next request may be sent. Those that are late catch up at twice the rate at most."""
        slots = self._slots
        if not slots:
            return now
        at = slots[-1].sent + self._apart
        if len(slots) < (slots.maxlen or 1):
            return at
        first = slots[0]
        return max(at, first.sent + self._window + self._late(first, now))

    def sent(self, now: float) -> RequestSlot:
        """A request is sent at this moment."""
        slot = RequestSlot(now)
        self._slots.append(slot)
        return slot

    def answered(self, slot: RequestSlot, now: float) -> None:
        """Its answer is here at this moment."""
        slot.seconds = now - slot.sent
        self._seconds.append(slot.seconds)

    def _late(self, slot: RequestSlot, now: float) -> float:
        """How late a request may have arrived, in seconds: as much as its answer took longer than the quickest."""
        quickest = min(self._seconds, default=float("inf"))
        if slot.seconds is None:
            return self._most_late if now - slot.sent > quickest else 0.0
        return min(self._most_late, max(0.0, slot.seconds - quickest))
