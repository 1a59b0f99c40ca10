"""Where a claim begins to read the index of pending runs, while there is a backlog.

A claimed run leaves a dead entry in that index. The server removes it soon, but not while somebody's transaction is
held open, such as that of a backup: then each claim would read all of them again, and dispatch would slow down with
each run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

RESCAN_SECONDS = 1.0
"""How often a claim reads from the beginning: a run may have become due again before those that were claimed last."""
MANY_CLAIMS = 1000
"""Before this many claims it always does: so few entries cost nothing."""


@dataclass(slots=True)
class Backlog:
    """What one connection knows of the pending runs of a handler.

    Attributes:
        scanned_at: when a claim last read from the beginning, unix seconds.
    """

    scanned_at: float = -math.inf
    _claims: int = 0
    _reached: float = -math.inf

    def start_at(self, now: float) -> float:
        """The earliest due time to claim; minus infinity for all."""
        if self._claims < MANY_CLAIMS or not 0 <= now - self.scanned_at < RESCAN_SECONDS:
            self.scanned_at = now
            return -math.inf
        return self._reached

    def claimed(self, due: Sequence[float], *, full: bool) -> None:
        """Remember a claim of runs with these due times; `full` if there may be more."""
        self._claims += len(due)
        self._reached = max(due) if full and due else -math.inf
