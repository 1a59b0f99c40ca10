"""Prefetching: runs of a handler with few slots are claimed before a slot is free, half a second of its work.

No other process can start a claimed run, so claims that do not start soon are released (docs/adr/0057).
"""

from __future__ import annotations

from dataclasses import dataclass

from receiver.model.slots import Slots
from receiver.store.claims import Claim

PREFETCH_SECONDS = 0.5
"""How soon a run that is prefetched should start. An attempt that takes longer is not quick."""
MAX_PREFETCH_FACTOR = 8
"""At most this many times a handler's share of the slots is prefetched."""
MAX_SLOTS = 4
"""With more slots nothing is prefetched: one claim for all slots costs less than a second update of each run."""


@dataclass(slots=True)
class _EndRate:
    """Quick attempts of a handler that ended in this period of `PREFETCH_SECONDS`, and in the one before."""

    since: float
    ended: int = 0
    before: int = 0

    def turn(self, at: float) -> None:
        elapsed = at - self.since
        if elapsed >= PREFETCH_SECONDS:
            self.before = self.ended if elapsed < 2 * PREFETCH_SECONDS else 0
            self.ended, self.since = 0, at


class PrefetchedClaims:
    """What this process has claimed and not started, and how much that should be.

    Attributes:
        claims: by handler, in the order in which they start.
        to_release: to be released in the next turn.

    Args:
        slots: whose shares bound what is prefetched.
    """

    def __init__(self, slots: Slots) -> None:
        self.claims: dict[str, list[Claim]] = {}
        self.to_release: list[Claim] = []
        # Nothing of a handler whose bound holds for all processes: a claim takes a place that another could use now.
        self._limits = {name: limit for name, limit in slots.limits.items() if name not in slots.cluster}
        self._end_rates: dict[str, _EndRate] = {}

    def ended(self, handler: str, seconds: float, at: float) -> None:
        """An attempt has ended.

        Args:
            seconds: how long it took.
            at: monotonic seconds.
        """
        if seconds < PREFETCH_SECONDS and self._limits.get(handler, MAX_SLOTS + 1) <= MAX_SLOTS:
            rate = self._end_rates.setdefault(handler, _EndRate(at))
            rate.turn(at)
            rate.ended += 1

    def wanted(self, at: float) -> dict[str, int]:
        """By handler how many to have prefetched; only those that get through more than their few slots."""
        wanted = {}
        for handler, rate in self._end_rates.items():
            rate.turn(at)
            quick, limit = max(rate.ended, rate.before), self._limits[handler]
            if limit < quick:
                wanted[handler] = min(quick, MAX_PREFETCH_FACTOR * limit)
        return wanted

    def release_surplus(self, at: float) -> None:
        """Release what a handler that has become slower will not start soon: the claims that are due last."""
        if not self.claims:
            return
        wanted = self.wanted(at)
        for handler, claims in list(self.claims.items()):
            keep = wanted.get(handler, 0)
            if len(claims) > 2 * keep:
                self.to_release += claims[keep:]
                self.claims[handler] = claims[:keep]
        self.claims = {handler: claims for handler, claims in self.claims.items() if claims}

    def release_all(self) -> None:
        """Release all."""
        self.to_release += [claim for claims in self.claims.values() for claim in claims]
        self.claims = {}
