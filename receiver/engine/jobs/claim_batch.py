"""Claimed jobs with the times that are reserved for their requests."""

from __future__ import annotations

from typing import NamedTuple

from receiver.store.job_leases import JobClaim


class ClaimBatch(NamedTuple):
    """Claims and when their requests are sent.

    The store reserves unix times. A process waits by its monotonic clock, so that requests keep their distance, and
    none waits longer, if the machine's clock is set meanwhile.

    Attributes:
        single: claims with a request each, and when it is sent.
        listed: claims that are looked for in the provider's history.
        listed_at: when the history is requested.
    """

    single: list[tuple[JobClaim, float]]
    listed: list[JobClaim]
    listed_at: float

    def shifted(self, seconds: float) -> ClaimBatch:
        """A copy with every time so many seconds later, to convert from one clock to another."""
        single = [(claim, send_at + seconds) for claim, send_at in self.single]
        return ClaimBatch(single, self.listed, self.listed_at + seconds)
