"""Where a claim begins to read the index of pending runs.

A claimed run leaves a dead entry in that index. The server removes it soon, but not while somebody's transaction is
held open, such as that of a backup: then each claim would read all of them again, and dispatch would slow down with
each run. So most claims begin where the claims before them ended. Some read from the beginning, because a run may have
become due behind that: one that was released, or whose event was committed late.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

RESCAN_SECONDS = 1.0
"""How often a claim reads from the beginning, if that reads few entries."""
RESCAN_SECONDS_PER_ENTRY = 20e-6
"""The same for each entry that it reads: about twenty times as long as that takes."""
MANY_CLAIMS = 1000
"""Before this many claims it always does: so few entries cost nothing."""
LATE_SECONDS = 0.25
"""By how much later than later events an event is usually committed, at the most. Claims begin earlier by this, while
they find all that is due."""


@dataclass(slots=True)
class Backlog:
    """What one connection knows of the pending runs of a handler.

    Attributes:
        scanned_at: when they were last read from the beginning, unix seconds.
        complete_at: when all that was due was last claimed.
    """

    scanned_at: float = -math.inf
    complete_at: float = -math.inf
    _interval: float = RESCAN_SECONDS
    _claims: int = 0
    _reached: float = -math.inf
    _margin: float = 0.0
    _full: bool = False

    @property
    def scan_at(self) -> float:
        """When they are to be read from the beginning again, unix seconds."""
        return self.scanned_at + self._interval

    @property
    def skips(self) -> bool:
        """Whether there may be so many dead entries that they are passed over."""
        return self._claims >= MANY_CLAIMS

    @property
    def is_long(self) -> bool:
        """Whether there were many claims, and the last one has left runs that are due."""
        return self.skips and self._full

    def start_at(self, now: float) -> float:
        """The due time from which to read; minus infinity for the beginning."""
        self._reached = min(self._reached, now)
        if self.skips and self.scanned_at <= now < self.scan_at:
            return self._reached - self._margin
        self.scanned_at = now
        return -math.inf

    def read(self, entries: int) -> None:
        """Remember how many entries were read from the beginning."""
        self._interval = max(RESCAN_SECONDS, RESCAN_SECONDS_PER_ENTRY * entries)

    def claimed(self, due: Sequence[float], now: float, *, after: float, full: bool) -> None:
        """Remember a claim from `after` on of runs with these due times; `full` if there may be more."""
        self._claims += len(due)
        self._full = full
        if full:
            self._reached, self._margin = max(due, default=after), 0.0
            return
        self._reached, self._margin = max([*due, self._reached]), LATE_SECONDS
        if after == -math.inf:
            self.complete_at = now

    def found(self, due: float) -> None:
        """Let the next claim begin with a run that is due at this time, if it would begin later."""
        if due < self._reached - self._margin:
            self._reached, self._margin = due, 0.0


@dataclass(slots=True)
class Backlogs:
    """What one connection knows of the backlogs of all handlers, and of suspects."""

    _handlers: dict[str, Backlog] = field(default_factory=dict)
    _looked_at: float = -math.inf

    def of(self, handler: str) -> Backlog:
        """The handler's backlog."""
        return self._handlers.setdefault(handler, Backlog())

    def looks_for_suspects(self, now: float) -> bool:
        """Whether a claim looks for a suspect: while there is a long backlog, once in `RESCAN_SECONDS`."""
        long = any(backlog.is_long for backlog in self._handlers.values())
        return not (long and 0 <= now - self._looked_at < RESCAN_SECONDS)

    def looked_for_suspects(self, now: float, *, found: bool) -> None:
        """Remember whether there are suspects. While there are, every claim looks for one."""
        self._looked_at = -math.inf if found else now
