"""Decides which downloads may start. Each source has reserved slots, so that a slow one cannot occupy all.

The rule is the same as for the runs' slots (docs/adr/0036). Runs do not wait here: a waiting run would occupy a slot of
the dispatcher, so it is postponed instead (docs/adr/0027).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from receiver.clock import Clock
from receiver.engine.audio_backoff import retry_delay
from receiver.errors import AudioPostponed
from receiver.model.slots import Slots

MAX_DOWNLOADS = 32
"""Events downloaded at one time in one process. Two files of each at once fit in the connection pool."""


class DownloadSlots:
    """The downloads of one process.

    Args:
        max_downloads: events whose files may be downloaded at one time.
        sources: names of the sources that have audio.
        clock: measures how long downloads have stalled.
    """

    def __init__(self, max_downloads: int, sources: Iterable[str], clock: Clock) -> None:
        self._slots = Slots(min(max_downloads, MAX_DOWNLOADS), dict.fromkeys(sources))
        self._running: Counter[str] = Counter()
        self._clock = clock
        self._changed: dict[str, float] = {}

    def take(self, source: str, age: float, jitter: float) -> None:
        """Take a slot, which `release` returns.

        Args:
            age, jitter: as for `retry_delay`.

        Raises:
            AudioPostponed: the source has its maximum (`reason` `downloads_busy`). The wait is about as long as no
                download of the source has begun or ended, and no longer than the event's age.
        """
        if not self._slots.free(self._running).available(source):
            raise AudioPostponed(
                f"The source {source} has {self._running[source]} downloads in progress, its maximum.",
                after=retry_delay(min(age, self._stalled_seconds(source)), jitter),
                reason="downloads_busy",
            )
        self._running[source] += 1
        self._changed[source] = self._clock.monotonic()

    def release(self, source: str) -> None:
        """Return a slot."""
        self._running[source] -= 1
        self._changed[source] = self._clock.monotonic()

    def _stalled_seconds(self, source: str) -> float:
        now = self._clock.monotonic()
        return now - self._changed.get(source, now)
