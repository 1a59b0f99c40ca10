"""Whether a download is fast enough to continue. Pure: the time is passed in.

A server that sends single bytes never exceeds a read time-out, and could occupy a connection, a run's slot and a part
file without limit. So each half minute needs a minimum number of bytes, and the whole download a deadline that grows
with its size.
"""

from __future__ import annotations

from receiver.errors import AudioDelayed

WINDOW_SECONDS = 30.0
GRACE_SECONDS = 300.0
"""Seconds allowed for any file."""
AVERAGE_FACTOR = 16
"""How much faster than the minimum rate the whole download must be, after the grace."""
RESUME_AFTER_SECONDS = 60.0
"""How long to wait before a slow download is resumed."""


class RateMonitor:
    """Checks the rate of one download, over all its connections.

    Args:
        min_rate: the minimum of every window, in bytes a second.
    """

    def __init__(self, min_rate: float) -> None:
        self._min_rate = min_rate
        self._started: float | None = None
        self._window = 0.0
        self._in_window = self._received = 0

    def received(self, count: int, now: float, *, total: int | None) -> None:
        """Count received bytes of the body.

        Args:
            count: how many.
            now: seconds of a monotonic clock.
            total: bytes of the complete file; None if unknown: then the bytes so far count.

        Raises:
            AudioDelayed: the download is too slow (`reason` `download_too_slow`); it is resumed later.
        """
        if self._started is None:  # waiting for the first bytes has a time-out of its own
            self._started = self._window = now
        self._received += count
        self._in_window += count
        if now - self._window >= WINDOW_SECONDS:
            if self._in_window < self._min_rate * (now - self._window):
                raise _too_slow(f"{self._in_window} bytes in {now - self._window:.0f} s")
            self._window, self._in_window = now, 0
        size = max(self._received, total or 0)
        seconds = GRACE_SECONDS + size / (AVERAGE_FACTOR * self._min_rate)
        if now - self._started > seconds:
            raise _too_slow(f"incomplete after {now - self._started:.0f} s, with {self._received} bytes")


def _too_slow(what: str) -> AudioDelayed:
    return AudioDelayed(
        f"The download is too slow: {what}. It is resumed later.",
        after=RESUME_AFTER_SECONDS,
        reason="download_too_slow",
    )
