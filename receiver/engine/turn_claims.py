"""Which runs a turn claims: those that are prefetched, and those for the slots that another turn leaves.

Prefetching: runs of a handler with few slots are claimed before a slot is free, half a second of its work. No other
process can start a claimed run, so claims that do not start soon are released (docs/adr/0057).

Overlap: with many slots a second turn is written beside the first, on a connection of its own. While the handlers of
one half of the slots execute, the server works on the other half (docs/adr/0090).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import structlog

from receiver.model.slots import FreeSlots, Slots
from receiver.store.claims import Claim

log = structlog.get_logger("receiver.dispatch")

PREFETCH_SECONDS = 0.5
"""How soon a run that is prefetched should start. An attempt that takes longer is not quick."""
MAX_PREFETCH_FACTOR = 8
"""At most this many times a handler's share of the slots is prefetched."""
MAX_SLOTS = 4
"""With more slots nothing is prefetched: one claim for all slots costs less than a second update of each run."""

OVERLAP_RUNS = 64
"""How many attempts end during a turn before a second one is written beside it. It is for twice as many slots."""
FIRST, SECOND = 0, 1
"""The turns that are written at one time."""


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

    def needs_turns(self, at: float) -> bool:
        """Whether anything is prefetched, or is to be prefetched or released."""
        return bool(self.claims or self.to_release or self.wanted(at))

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


class Overlap:
    """Decides when turns overlap, and which slots are left for each. For the dispatcher's loop.

    Args:
        two_writers: whether the store can commit two transactions at one time.
        plain: whether the next turns only write results and start runs, so that their order does not matter.
        ended: called when a second turn has ended.
    """

    def __init__(
        self, slots: Slots, *, two_writers: bool, plain: Callable[[], bool], ended: Callable[[], None]
    ) -> None:
        # Within a bound of all processes a claim waits for those of others, here for our own.
        self._is_possible = two_writers and slots.total >= 2 * OVERLAP_RUNS and not slots.cluster
        self._slots = slots
        self._plain = plain
        self._ended = ended
        self._claiming = [Counter[str](), Counter[str]()]
        """By turn that is being written, in how many slots of each handler it may start runs."""
        self._is_open = False
        """Whether a first turn is being written that a second one may accompany."""
        self._second: asyncio.Task[None] | None = None

    @property
    def _allowed(self) -> bool:
        return self._is_possible and self._plain()

    def free(self, number: int, running: Mapping[str, int], rotation: int) -> FreeSlots:
        """The slots in which a turn may start runs: at most half of all, if another turn is to use the others."""
        if not self._is_possible:
            return self._slots.free(running, rotation, None)
        limit = self._slots.total // 2 if self._allowed else None
        free = self._slots.free(Counter(running) + self._claiming[1 - number], rotation, limit)
        self._claiming[number] = Counter({handler: free.available(handler) for handler in free.handlers})
        return free

    @contextmanager
    def first(self) -> Iterator[None]:
        """Write the first turn in this context."""
        self._is_open = self._allowed
        try:
            yield
        finally:
            self._is_open = False
            self._claiming[FIRST].clear()

    def may_begin(self, results: int) -> bool:
        """Whether to write a second turn now, with so many results."""
        return self._is_open and self._second is None and results >= OVERLAP_RUNS and self._allowed

    def begin(self, turn: Coroutine[Any, Any, object]) -> None:
        """Write the second turn."""
        self._second = asyncio.create_task(self._write(turn))

    async def _write(self, turn: Coroutine[Any, Any, object]) -> None:
        try:
            await turn
        except Exception:
            log.exception("dispatch.broken")
        finally:
            self._second = None
            self._claiming[SECOND].clear()
            self._ended()

    async def wait(self, results: int) -> None:
        """Wait for the end of the second turn, unless a first one with so many results may be written beside it."""
        if self._second is not None and not (results >= OVERLAP_RUNS and self._allowed):
            await asyncio.wait([self._second])
