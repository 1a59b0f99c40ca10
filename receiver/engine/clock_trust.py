"""Whether our clock can be believed enough to delete by it, or to give a job up.

A machine may start with its clock days ahead: everything would be older than its retention, and every job past its
deadline. So what cannot be undone waits until somebody else's time agrees with ours, or until the process has itself
seen enough time pass.
"""

from __future__ import annotations

import asyncio

import structlog

from receiver.engine.clock import Clock
from receiver.model.retry_after import AGREES_SECONDS, http_date

log = structlog.get_logger("receiver.clock")

UPTIME_SECONDS = 86_400.0
"""A clock that has gone on for this long without a step, and that nobody has put right, is believed."""


class ClockTrust:
    """What is known of our clock. On one loop.

    Attributes:
        confirmed: somebody else's time has agreed with ours since the start, and since the clock's last step.
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
        """Somebody else's time, that cannot be made up, is `skew` seconds from ours.

        Args:
            by: whose, for the log.
        """
        if not self.confirmed and abs(skew) <= AGREES_SECONDS:
            self.confirmed = True
            self.wake.set()
            log.info("clock.confirmed", by=by, skew=round(skew, 1))

    def read_date(self, value: str | None, by: str) -> None:
        """The `Date` header of a provider's answer that has just come; None or unreadable: it says nothing."""
        if not self.confirmed and (at := http_date(value)) is not None:
            self.compare(self._clock.now() - at, by)

    def doubt(self) -> None:
        """The clock was set: what was known of it says nothing any more."""
        self._since = self._clock.monotonic()
        self.confirmed = False
        self.wake.clear()
