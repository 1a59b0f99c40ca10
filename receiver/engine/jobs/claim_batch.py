"""Claims with the turns that their requests have, as the store gave them out and as this process waits for them."""

from __future__ import annotations

from typing import NamedTuple

from receiver.store.holding import JobClaim


class ClaimBatch(NamedTuple):
    """Claims with their turns: each has one, or all of `together` have one.

    The store's turns are unix seconds. A process waits for them by its monotonic clock: should the other one be set
    meanwhile, requests keep their distance and none waits for longer.
    """

    alone: list[tuple[JobClaim, float]]
    together: list[JobClaim]
    turn: float

    def shifted(self, seconds: float) -> ClaimBatch:
        """The same with every turn so many seconds later: from one clock's time to another's."""
        return ClaimBatch([(claim, turn + seconds) for claim, turn in self.alone], self.together, self.turn + seconds)
