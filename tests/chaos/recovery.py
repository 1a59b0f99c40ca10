"""How long after a fault it is repaired: a killed process's runs are taken up, a server's deliveries are accepted."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.chaos.store_view import HeldRuns, StoreUnreadable, StoreView


@dataclass
class Recovery:
    """Follows the runs of a killed process.

    Attributes:
        killed_at: monotonic clock, seconds.
        killed_on: the machine's clock, unix seconds.
        held: its runs that have not been taken up yet; None until the store can be read.
        seconds: from the kill until all were; None until then.
        found_seconds: from the kill until another process said that it is dead; None if none did.
    """

    pid: int
    killed_at: float
    killed_on: float
    held: HeldRuns | None = None
    seconds: float | None = None
    found_seconds: float | None = None
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


@dataclass
class Reopening:
    """Follows the replicas that could be asked when a server was started again, until each has accepted a delivery.

    Attributes:
        started_at: monotonic clock, seconds.
        waiting: their addresses; those that were killed or frozen meanwhile do not count.
        seconds: from the start until the last one did.
    """

    started_at: float
    waiting: set[str]
    seconds: list[float] = field(default_factory=list)

    def poll(self, acknowledged_at: Mapping[str, float], awake: set[str]) -> None:
        """Check which have."""
        self.waiting &= awake
        for base in list(self.waiting):
            if (at := acknowledged_at.get(base, 0.0)) > self.started_at:
                self.seconds.append(at - self.started_at)
                self.waiting.remove(base)


def taken_up(recoveries: Sequence[Recovery]) -> list[float]:
    """Seconds from each kill of a process that held runs until all were taken up again."""
    return [item.seconds for item in recoveries if item.had_runs and item.seconds is not None]


def found_dead(recoveries: Sequence[Recovery]) -> list[float]:
    """Seconds from each kill of a process that held runs until another process said that it is dead."""
    return [item.found_seconds for item in recoveries if item.had_runs and item.found_seconds is not None]


def summary(seconds: Sequence[float]) -> str:
    """In words."""
    if not seconds:
        return "none"
    found = sorted(seconds)
    at = math.ceil(0.95 * len(found)) - 1
    return f"median {statistics.median(found):.2f} s, p95 {found[at]:.2f} s, longest {found[-1]:.2f} s"


def median(seconds: Sequence[float]) -> float:
    """Seconds; 0 if there are none."""
    return statistics.median(seconds) if seconds else 0.0
