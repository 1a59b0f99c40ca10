"""How long after a kill the killed process's runs are taken up again."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

from tests.chaos.store_view import HeldRuns, StoreUnreadable, StoreView


@dataclass
class Recovery:
    """Follows the runs of a killed process.

    Attributes:
        killed_at: monotonic clock, seconds.
        held: its runs that have not been taken up yet; None until the store can be read.
        seconds: from the kill until all were; None until then.
    """

    pid: int
    killed_at: float
    held: HeldRuns | None = None
    seconds: float | None = None
    had_runs: bool = False

    def poll(self, view: StoreView) -> None:
        """Check whether its runs are taken up."""
        try:
            if self.held is None:
                self.held = view.held_by(self.pid)
                self.had_runs = bool(self.held)
            elif self.held:
                self.held = view.not_taken_up(self.held)
        except StoreUnreadable:
            return
        if not self.held:
            self.seconds = time.monotonic() - self.killed_at


def summary(recoveries: Sequence[Recovery]) -> str:
    """In words."""
    found = sorted(item.seconds for item in recoveries if item.had_runs and item.seconds is not None)
    if not found:
        return "no killed replica held runs"
    at = math.ceil(0.95 * len(found)) - 1
    return (
        f"{len(found)} of the killed replicas held runs; from the kill until all were taken up again: median "
        f"{statistics.median(found):.2f} s, p95 {found[at]:.2f} s, longest {found[-1]:.2f} s"
    )


def median(recoveries: Sequence[Recovery]) -> float:
    """Seconds; 0 if no killed replica held runs."""
    found = [item.seconds for item in recoveries if item.had_runs and item.seconds is not None]
    return statistics.median(found) if found else 0.0
