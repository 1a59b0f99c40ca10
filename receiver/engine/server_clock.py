"""Compares this machine's clock with the database server's, by which all machines that share a store agree on leases.

A lease is a time. A machine whose clock is ahead sees the leases of living processes expired and takes their runs; one
whose clock is behind writes leases that others see expired. So a process whose clock differs too much claims nothing
until it is right again (docs/adr/0088). The processes of a store in a folder share one clock.
"""

from __future__ import annotations

from typing import Protocol

import structlog

from receiver.clock import Clock
from receiver.errors import StoreUnavailable
from receiver.metrics import Metrics
from receiver.store.clocks import compare_with_server
from receiver.store.database import Database

log = structlog.get_logger("receiver.clock")

WARN_SECONDS = 2.0
"""The smallest difference that is reported: a synchronized clock is within milliseconds."""
COMPARE_SECONDS, RETRY_SECONDS = 60.0, 5.0
"""How often the clocks are compared; and while they differ, or could not be compared."""
REMIND_SECONDS = 600.0
"""How often a difference that stays is logged again."""
_NOT_COMPARED = "This machine's clock could not be compared with the database server's yet."


def max_difference(lease_seconds: float) -> float:
    """Seconds by which the clock of a process may differ; above it, the process claims nothing."""
    return lease_seconds / 3


class LeaseClock(Clock, Protocol):
    """The clock of a process that holds leases."""

    @property
    def paused(self) -> str | None:
        """Why nothing may be claimed and no lease of another process counts as expired; None if nothing is wrong."""

    def server_now(self) -> float:
        """Unix seconds by the database server, as far as is known."""


class ServerClock:
    """Whether this machine's clock may decide about leases. For use on one event loop.

    Args:
        clock: this machine's.
        lease_seconds: see `max_difference`.

    Attributes:
        paused: as for `LeaseClock`.
        reference: a clock by `server_now`, for times that processes compare with each other's.
    """

    def __init__(self, database: Database, clock: Clock, lease_seconds: float, metrics: Metrics) -> None:
        self._database = database
        self._clock = clock
        self._limit = max_difference(lease_seconds)
        self._metrics = metrics
        self._compares = database.folder is None
        self._difference = 0.0
        self._compared = False
        self._compare_at = float("-inf")
        self._remind_at = float("-inf")
        self._reported = False
        self.paused: str | None = _NOT_COMPARED if self._compares else None
        self.now, self.monotonic, self.wait = clock.now, clock.monotonic, clock.wait
        self.reference: Clock = _Reference(self)

    def server_now(self) -> float:
        """Unix seconds by the database server, as far as is known."""
        return self._clock.now() - self._difference

    @property
    def difference(self) -> float | None:
        """By how many seconds this machine's clock is ahead of the server's; None if they were not compared."""
        return self._difference if self._compared else None

    def stepped(self, seconds: float) -> None:
        """This machine's clock was set; call before that takes effect."""
        if self._compares:
            self._compare_at = float("-inf")
            self._judge(self._difference + seconds)

    async def compare_if_due(self) -> None:
        """Compare the clocks, if it is time to. If the store is unavailable, what is known stays."""
        if not self._compares or self._clock.monotonic() < self._compare_at:
            return
        self._compare_at = self._clock.monotonic() + RETRY_SECONDS
        try:
            difference = await self._database.read(compare_with_server, self._clock)
        except StoreUnavailable as error:
            log.warning("clock.not_compared", detail=str(error))
            return
        self._compared = True
        self._judge(difference)
        if self.paused is None:
            self._compare_at = self._clock.monotonic() + COMPARE_SECONDS

    def _judge(self, difference: float) -> None:
        before, self._difference = self.paused, difference
        self._metrics.clock_difference.set(difference)
        wrong = abs(difference) > self._limit
        self.paused = self._cause(difference) if wrong else None
        now = self._clock.monotonic()
        if wrong or abs(difference) > WARN_SECONDS:
            if now >= self._remind_at or (before is None) is wrong:
                self._remind_at = now + REMIND_SECONDS
                log.warning("clock.differs", seconds=round(difference, 1), paused=wrong, hint=self._cause(difference))
            self._reported = True
        elif self._reported:
            self._reported, self._remind_at = False, float("-inf")
            log.info("clock.agrees", seconds=round(difference, 1))

    def _cause(self, difference: float) -> str:
        direction = "ahead of" if difference > 0 else "behind"
        return (
            f"This machine's clock is {abs(difference):.1f} s {direction} the database server's. Runs and jobs are "
            f"claimed only within {self._limit:.3g} s: synchronize both clocks (timedatectl, chrony)."
        )


class _Reference:
    """A clock whose time is the database server's."""

    def __init__(self, server: ServerClock) -> None:
        self.now, self.monotonic, self.wait = server.server_now, server.monotonic, server.wait
