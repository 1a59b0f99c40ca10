"""How handlers share the slots for runs: some are reserved for each, the rest is for handlers with due runs.

Pure: the running runs are passed in. Separate from the dispatcher, so that the rule can be read and tested alone
(docs/adr/0036).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping


class Slots:
    """The slots of one process, and each handler's share of them.

    Half of the slots are divided evenly among the handlers and reserved for them, so that each can start runs
    whatever the others do. The other half is shared, with the slots that a handler's own limit keeps it from using.

    Args:
        concurrency: runs that run at one time, in all; with more handlers than that, one for each.
        bounds: by handler, its own `concurrency`; None for no limit.
        cluster: those of the bounds that hold for all processes on the store together. Here they are this process's
            limit as well; the claim counts the runs of the others.
    """

    def __init__(
        self, concurrency: int, bounds: Mapping[str, int | None], cluster: Mapping[str, int] | None = None
    ) -> None:
        self.cluster = dict(cluster or {})
        self.total = max(concurrency, len(bounds))
        share = max(1, self.total // (2 * len(bounds))) if bounds else 0
        self.reserved = {name: min(share, bound or share) for name, bound in bounds.items()}
        self.shared = self.total - sum(self.reserved.values())
        self.limits = {
            name: min(bound or self.total, self.reserved[name] + self.shared) for name, bound in bounds.items()
        }

    def frees(self, ended: Iterable[str], started: Iterable[str]) -> bool:
        """Whether another process may start a run now, within a bound of all processes.

        Args:
            ended: the handlers of the runs that have ended here.
            started: the handlers of the runs that have started here since.
        """
        if not self.cluster:
            return False
        left = Counter(ended)
        left.subtract(started)
        return any(left[handler] > 0 for handler in self.cluster)

    def free(self, running: Mapping[str, int], rotation: int = 0, limit: int | None = None) -> FreeSlots:
        """The slots in which runs may start now.

        Args:
            running: by handler, how many of its runs are running.
            rotation: increases with each claim, so that handlers with equally many runs come first in turn.
            limit: how many runs may start in all; None for no limit.
        """
        return FreeSlots(self, running, rotation, limit)


class FreeSlots:
    """The free slots, for one claim. `take` uses them up.

    Attributes:
        limit: how many runs may start in all; None for no limit.
    """

    def __init__(self, slots: Slots, running: Mapping[str, int], rotation: int, limit: int | None) -> None:
        self._slots = slots
        self._rotation = rotation
        self.limit = limit
        self._left = slots.total if limit is None else limit
        self._startable = dict(slots.cluster)
        self._running = {name: running.get(name, 0) for name in slots.reserved}
        self._shared = slots.shared - sum(map(self._borrowed, self._running))
        names = list(self._running)
        first = rotation % len(names) if names else 0
        self._order = sorted(names[first:] + names[:first], key=self._running.__getitem__)

    @property
    def handlers(self) -> list[str]:
        """All handlers, whether or not they have a free slot."""
        return self._order

    def _borrowed(self, handler: str) -> int:
        return max(0, self._running[handler] - self._slots.reserved[handler])

    def available(self, handler: str) -> int:
        """How many runs of the handler may start."""
        running = self._running[handler]
        reserved = max(0, self._slots.reserved[handler] - running)
        found = min(self._slots.limits[handler] - running, reserved + self._shared, self._left)
        return max(0, min(found, self._startable.get(handler, found)))

    @property
    def cluster(self) -> Mapping[str, int]:
        """The bounds that hold for all processes together, by handler."""
        return self._slots.cluster

    def restrict(self, handler: str, runs: int) -> None:
        """Let at most so many further runs of the handler start, because others run in other processes."""
        self._startable[handler] = runs

    def startable(self) -> list[str]:
        """The handlers that have a free slot."""
        return [handler for handler in self._order if self.available(handler)]

    def copy(self) -> FreeSlots:
        """An independent copy of the slots, before any is taken."""
        return FreeSlots(self._slots, self._running, self._rotation, self.limit)

    def take(self, handler: str, runs: int) -> None:
        """Use up slots for started runs of the handler."""
        before = self._borrowed(handler)
        self._running[handler] += runs
        self._left -= runs
        if handler in self._startable:
            self._startable[handler] -= runs
        self._shared -= self._borrowed(handler) - before

    def offers(self) -> Iterator[tuple[str, int]]:
        """(handler, how many of its runs may start). `take` the slots of started runs before the next iteration.

        The handler with the fewest running runs is first. Each is offered an equal part; those that use theirs up are
        offered the rest.
        """
        even = self._slots.shared // len(self._order) if self._order else 0
        unsatisfied = []
        for handler in self._order:
            before = self._running[handler]
            part = min(self.available(handler), max(0, self._slots.reserved[handler] + even - before))
            if part:
                yield handler, part
            if self._running[handler] - before == part:
                unsatisfied.append(handler)
        for handler in unsatisfied:
            if available := self.available(handler):
                yield handler, available
