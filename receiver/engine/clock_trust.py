"""Whether the clock is trusted enough to delete events or give up jobs by it.

A machine may start with its clock days ahead: every event would be older than its retention, and every job past its
deadline. So what cannot be undone waits until another machine's clock agrees (the clock is then *confirmed*), or until
this process has run for long enough.
"""

from __future__ import annotations

import asyncio

import structlog

from receiver.clock import Clock
from receiver.model.retry_after import MAX_CLOCK_DIFFERENCE_SECONDS, http_date

log = structlog.get_logger("receiver.clock")

UPTIME_SECONDS = 86_400.0
"""A clock that has run for this long without a step is trusted: an operator had time to correct it."""


class ClockTrust:
    """Whether the clock is confirmed. For use on one event loop.

    Attributes:
        confirmed: another machine's clock has agreed since the start, and since the last step of the clock.
        wake: set when it is confirmed.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since = clock.monotonic()
        self.confirmed = False
        self.wake = asyncio.Event()

    @property
    def trusted(self) -> bool:
        """Whether ages by this clock can be relied on."""
        return self.confirms_wait(UPTIME_SECONDS)

    def confirms_wait(self, seconds: float) -> bool:
        """Whether a wait of `seconds` that has elapsed by this clock has really elapsed."""
        return self.confirmed or self._clock.monotonic() - self._since >= min(seconds, UPTIME_SECONDS)

    def compare(self, skew: float, by: str) -> None:
        """Compare with a signed or authenticated time of another machine, `skew` seconds from this clock.

        Args:
            by: the source of that time, for the log.
        """
        if not self.confirmed and abs(skew) <= MAX_CLOCK_DIFFERENCE_SECONDS:
            self.confirmed = True
            self.wake.set()
            log.info("clock.confirmed", by=by, skew=round(skew, 1))

    def read_date(self, value: str | None, by: str) -> None:
        """Compare with the `Date` header of a response that has just arrived; ignored if missing or unreadable."""
        if not self.confirmed and (at := http_date(value)) is not None:
            self.compare(self._clock.now() - at, by)

    def invalidate(self) -> None:
        """The clock was set: it is no longer confirmed."""
        self._since = self._clock.monotonic()
        self.confirmed = False
        self.wake.clear()
