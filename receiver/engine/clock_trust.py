"""Whether our clock is trusted enough to delete events or give up jobs by it.

A machine may start with its clock days ahead: everything would be older than its retention, and every job past its
deadline. So what cannot be undone waits until another clock agrees with ours (ours is then *confirmed*), or until this
process has run for long enough.
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
    """Whether our clock is confirmed. For use on one event loop.

    Attributes:
        confirmed: another clock has agreed with ours since the start, and since the last step of ours.
        wake: set when it is confirmed.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since = clock.monotonic()
        self.confirmed = False
        self.wake = asyncio.Event()

    @property
    def trusted(self) -> bool:
        """Whether what is older than some age by this clock is that old."""
        return self.vouches_for(UPTIME_SECONDS)

    def vouches_for(self, seconds: float) -> bool:
        """Whether a wait of so many seconds that has passed by this clock has passed."""
        return self.confirmed or self._clock.monotonic() - self._since >= min(seconds, UPTIME_SECONDS)

    def compare(self, skew: float, by: str) -> None:
        """Compare with a signed or authenticated time of another machine, `skew` seconds from ours.

        Args:
            by: the source it comes from, for the log.
        """
        if not self.confirmed and abs(skew) <= MAX_CLOCK_DIFFERENCE_SECONDS:
            self.confirmed = True
            self.wake.set()
            log.info("clock.confirmed", by=by, skew=round(skew, 1))

    def read_date(self, value: str | None, by: str) -> None:
        """Compare with the `Date` header of an answer that has just arrived; ignored if missing or unreadable."""
        if not self.confirmed and (at := http_date(value)) is not None:
            self.compare(self._clock.now() - at, by)

    def doubt(self) -> None:
        """The clock was set: it is no longer confirmed."""
        self._since = self._clock.monotonic()
        self.confirmed = False
        self.wake.clear()
