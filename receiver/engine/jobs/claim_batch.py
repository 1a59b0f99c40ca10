"""Claimed jobs with the times reserved for their requests."""

from __future__ import annotations

from typing import NamedTuple

from receiver.store.job_leases import JobClaim


class ClaimBatch(NamedTuple):
    """Claims and when their requests are sent.

    The store reserves unix times. A process waits by its monotonic clock: a step of the machine's clock neither
    changes the intervals between requests nor prolongs a wait.

    Attributes:
        single: claims with a request each, and when it is sent.
        history: claims to look up in the provider's history.
        history_at: when the history is requested.
    """

    single: list[tuple[JobClaim, float]]
    history: list[JobClaim]
    history_at: float

    def shifted(self, seconds: float) -> ClaimBatch:
        """Return a copy with every time `seconds` later, to convert from one clock to another."""
        single = [(claim, send_at + seconds) for claim, send_at in self.single]
        return ClaimBatch(single, self.history, self.history_at + seconds)
