"""Whether a download is fast enough to keep its place. Pure: the time is passed in.

A server that sends a byte now and then meets every time-out for a piece, and holds a connection, a run's slot and a
part file for as long as it likes. So any half minute must bring some bytes, and the whole must be there by a deadline
that grows with its size.
"""

from __future__ import annotations

from receiver.errors import AudioDelayed

WINDOW_SECONDS = 30.0
GRACE_SECONDS = 300.0
"""Seconds allowed for any file."""
AVERAGE_FACTOR = 16
"""How much faster than the minimum rate the whole must be, after the grace."""
RESUME_AFTER_SECONDS = 60.0
"""How long to wait before a slow download is resumed."""


class RateWatch:
    """Watches one download, over all the connections that it takes.

    Args:
        min_rate: bytes a second that every window must bring.
    """

    def __init__(self, min_rate: float) -> None:
        self._min_rate = min_rate
        self._begun: float | None = None
        self._window = 0.0
        self._in_window = self._have = 0

    def came(self, count: int, now: float, *, total: int | None) -> None:
        """More of the body has come.

        Args:
            count: its bytes.
            now: seconds, by a clock that only goes forward.
            total: bytes of the whole; None if it is not known: the bytes so far count instead.

        Raises:
            AudioDelayed: it is too slow (`reason` `download_too_slow`); it is resumed later.
        """
        if self._begun is None:  # the wait for the first bytes has a time-out of its own
            self._begun = self._window = now
        self._have += count
        self._in_window += count
        if now - self._window >= WINDOW_SECONDS:
            if self._in_window < self._min_rate * (now - self._window):
                raise _too_slow(f"{self._in_window} bytes in {now - self._window:.0f} s")
            self._window, self._in_window = now, 0
        size = max(self._have, total or 0)
        seconds = GRACE_SECONDS + size / (AVERAGE_FACTOR * self._min_rate)
        if now - self._begun > seconds:
            raise _too_slow(f"not whole after {now - self._begun:.0f} s, with {self._have} bytes")


def _too_slow(what: str) -> AudioDelayed:
    return AudioDelayed(
        f"The download is too slow: {what}. It is resumed later.",
        after=RESUME_AFTER_SECONDS,
        reason="download_too_slow",
    )
