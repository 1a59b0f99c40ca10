"""No more requests in any second than the rate says, by when they reach the provider.

Requests are scheduled at even intervals (`store.pace`); that alone is not enough. A delayed request must not bunch with
those that are on time, and a request that had to connect first arrives after one that was sent later. When a request
arrives is unknown. But an answer that takes longer than the quickest ones shows how late its request may
have been, and the request that is the first too many for one window with it waits for as much longer.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

SPAN = 1.005
"""A window is this much longer than the rate says; the margin between turns is larger, so that who is on time does not
wait here."""
MOST = 1000
"""Requests in one window, at the most."""
LATE_SHARE = 0.5
"""How late a request may be thought to have arrived, at the most, as a part of the window: a slow answer need not be a
late request."""
REMEMBERED = 20
"""Answers by which it is judged what is quick, at the least."""


@dataclass(slots=True)
class Passage:
    """One request: when it was sent, and how long its answer took, in seconds; None: there is none yet."""

    sent: float
    seconds: float | None = None


class Turnstile:
    """Lets the requests of one process to one source through. Its times are seconds of a monotonic clock.

    Args:
        rate: requests per second.
    """

    def __init__(self, rate: float) -> None:
        in_window = max(1, min(MOST, int(rate)))
        self._window = SPAN * in_window / rate
        self._most_late = LATE_SHARE * in_window / rate
        self._apart = 0.5 / rate
        self._passages: deque[Passage] = deque(maxlen=in_window)
        self._seconds: deque[float] = deque(maxlen=max(REMEMBERED, 2 * in_window))

    def opens_at(self, now: float) -> float:
        """When the next request may be sent. Those that are late catch up at twice the rate at most."""
        passages = self._passages
        if not passages:
            return now
        at = passages[-1].sent + self._apart
        if len(passages) < (passages.maxlen or 1):
            return at
        first = passages[0]
        return max(at, first.sent + self._window + self._late(first, now))

    def sent(self, now: float) -> Passage:
        """A request is sent at this moment."""
        passage = Passage(now)
        self._passages.append(passage)
        return passage

    def answered(self, passage: Passage, now: float) -> None:
        """Its answer is here at this moment."""
        passage.seconds = now - passage.sent
        self._seconds.append(passage.seconds)

    def _late(self, passage: Passage, now: float) -> float:
        """How late a request may have arrived, in seconds: as much as its answer took longer than the quickest."""
        quickest = min(self._seconds, default=float("inf"))
        if passage.seconds is None:
            return self._most_late if now - passage.sent > quickest else 0.0
        return min(self._most_late, max(0.0, passage.seconds - quickest))
