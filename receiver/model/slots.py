"""How handlers share the slots for runs: a part reserved for each, the rest for handlers with due runs.

Pure: the active runs are passed in. Separate from the dispatcher, which claims, because the rule is worth reading
and testing alone (docs/adr/0036).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping


class Slots:
    """The slots of one process, and each handler's share of them.

    Half of the slots are divided evenly among the handlers and reserved for them, so that each can start runs
    whatever the others do. The other half, and what a handler's own bound keeps it from using, is common.

    Args:
        concurrency: runs at work at one time, all together; with more handlers than that, one for each.
        bounds: handler name to its own `concurrency`; None where it has none.
    """

    def __init__(self, concurrency: int, bounds: Mapping[str, int | None]) -> None:
        self.total = max(concurrency, len(bounds))
        share = max(1, self.total // (2 * len(bounds))) if bounds else 0
        self.reserved = {name: min(share, bound or share) for name, bound in bounds.items()}
        self.shared = self.total - sum(self.reserved.values())
        self.limits = {
            name: min(bound or self.total, self.reserved[name] + self.shared) for name, bound in bounds.items()
        }

    def free(self, running: Mapping[str, int], rotation: int = 0) -> FreeSlots:
        """The slots in which runs may start now.

        Args:
            running: handler name to how many of its runs are at work.
            turn: raised with each claim, so that handlers with equally many runs come first in turn.
        """
        return FreeSlots(self, running, rotation)


class FreeSlots:
    """The slots that are free, for one claim. Used up by `take`."""

    def __init__(self, slots: Slots, running: Mapping[str, int], rotation: int) -> None:
        self._slots = slots
        self._rotation = rotation
        self._running = {name: running.get(name, 0) for name in slots.reserved}
        self._shared = slots.shared - sum(map(self._borrowed, self._running))
        names = list(self._running)
        first = rotation % len(names) if names else 0
        self._order = sorted(names[first:] + names[:first], key=self._running.__getitem__)

    @property
    def handlers(self) -> list[str]:
        """Every handler, whether or not a run of it may be started."""
        return self._order

    def _borrowed(self, handler: str) -> int:
        return max(0, self._running[handler] - self._slots.reserved[handler])

    def available(self, handler: str) -> int:
        """How many runs of the handler may be started."""
        running = self._running[handler]
        reserved = max(0, self._slots.reserved[handler] - running)
        return max(0, min(self._slots.limits[handler] - running, reserved + self._shared))

    def startable(self) -> list[str]:
        """Handlers of which a run may be started."""
        return [handler for handler in self._order if self.available(handler)]

    def copy(self) -> FreeSlots:
        """An independent copy of the slots."""
        return FreeSlots(self._slots, self._running, self._rotation)

    def take(self, handler: str, runs: int) -> None:
        """Use up slots for started runs of the handler."""
        before = self._borrowed(handler)
        self._running[handler] += runs
        self._shared -= self._borrowed(handler) - before

    def offers(self) -> Iterator[tuple[str, int]]:
        """(handler, how many of its runs may be started); `take` what was started before asking for the next.

        The handler with the fewest active runs comes first. Each is offered an even part; those that use theirs up
        are offered the rest.
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
