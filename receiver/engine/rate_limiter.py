"""Limits the requests of one process in any one-second window, by when they reach the provider. Pure.

Requests are scheduled at even intervals (`engine.throttle`). Evenly spaced sends can still arrive bunched: a delayed
request arrives with those that are on time, and a request that had to connect first arrives after one that was sent
later. When a request arrives is unknown, but its delay is at most what its response took longer than the quickest one.
So the first request that would exceed the limit of a window waits longer by the possible delay of the window's first.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

WINDOW_FACTOR = 1.005
"""How much longer a window is than by the rate. The margin between scheduled requests is larger: a request that is on
time does not wait here."""
MAX_IN_WINDOW = 1000
"""The most requests in one window."""
LATE_SHARE = 0.5
"""The longest assumed delay of a request, as a share of the window: a slow response does not prove a late request."""
MIN_SAMPLES = 20
"""The least number of responses that the quickest is taken from."""


@dataclass(slots=True)
class RequestSlot:
    """One request: when it was sent, and how long its response took, in seconds; None until there is one."""

    sent: float
    seconds: float | None = None


class RateLimiter:
    """Bounds the requests of one process to one source. All times are seconds of a monotonic clock.

    Args:
        rate: requests per second.
    """

    def __init__(self, rate: float) -> None:
        in_window = max(1, min(MAX_IN_WINDOW, int(rate)))
        self._window = WINDOW_FACTOR * in_window / rate
        self._max_late = LATE_SHARE * in_window / rate
        self._min_interval = 0.5 / rate
        self._slots: deque[RequestSlot] = deque(maxlen=in_window)
        self._seconds: deque[float] = deque(maxlen=max(MIN_SAMPLES, 2 * in_window))

    def next_send_at(self, now: float) -> float:
        """When the next request may be sent. Late requests catch up at no more than twice the rate."""
        slots = self._slots
        if not slots:
            return now
        at = slots[-1].sent + self._min_interval
        if len(slots) < (slots.maxlen or 1):
            return at
        first = slots[0]
        return max(at, first.sent + self._window + self._late(first, now))

    def record_sent(self, now: float) -> RequestSlot:
        """Record that a request is sent now."""
        slot = RequestSlot(now)
        self._slots.append(slot)
        return slot

    def record_response(self, slot: RequestSlot, now: float) -> None:
        """Record that the response of a request has arrived now."""
        slot.seconds = now - slot.sent
        self._seconds.append(slot.seconds)

    def _late(self, slot: RequestSlot, now: float) -> float:
        """How late a request may have arrived, in seconds: as much as its response took longer than the quickest."""
        quickest = min(self._seconds, default=float("inf"))
        if slot.seconds is None:
            return self._max_late if now - slot.sent > quickest else 0.0
        return min(self._max_late, max(0.0, slot.seconds - quickest))
