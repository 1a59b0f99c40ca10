"""Counts what the hooks report, for the rollups in the store. Plain numbers: one thread reports what is counted."""

from __future__ import annotations

from bisect import bisect_left

from receiver.errors import ReceiverError
from receiver.model.crashes import CrashDecision
from receiver.model.delivery import Delivery
from receiver.store.claims import Claim
from receiver.store.inbox import Receipt
from receiver.store.rollups import DURATION_BOUNDS, UNFINISHED, Counts, Kind, Series
from receiver.store.runs import RunResult
from receiver.telemetry.hooks import Telemetry, Token
from receiver.telemetry.metrics import event_label

MAX_SERIES = 500
"""Series that are counted at one time; the others are counted together, as `OTHER`."""
OTHER = "other"
_BOUNDS = [f"{bound:g}" for bound in DURATION_BOUNDS]


class RollupTelemetry(Telemetry):
    """Counts until `take`. Both are called by the event loop that receives deliveries."""

    def __init__(self) -> None:
        self._counts: dict[tuple[Kind, str, str], int] = {}

    def take(self) -> Counts:
        """What was counted since the last call."""
        counts, self._counts = self._counts, {}
        return {Series(*key): count for key, count in counts.items()}

    def _count(self, kind: Kind, name: str, label: str) -> None:
        counts, key = self._counts, (kind, name, label)
        if key in counts:
            counts[key] += 1
        elif len(counts) < MAX_SERIES:
            counts[key] = 1
        else:
            counts[kind, OTHER, OTHER] = counts.get((kind, OTHER, OTHER), 0) + 1

    # deliveries

    def delivery_stored(self, token: Token, delivery: Delivery, receipt: Receipt, outcome: str) -> None:
        """Count the delivery."""
        self._count(Kind.DELIVERIES, delivery.source, outcome)

    def delivery_refused(
        self, token: Token, source: str, status: int | None, outcome: str | None, error: BaseException,
        client: str | None,
    ) -> None:  # fmt: skip
        """Count the delivery unless its work was cancelled."""
        if outcome is not None:
            self._count(Kind.DELIVERIES, source, outcome)

    def event_stored(self, delivery: Delivery) -> None:
        """Count the event."""
        self._count(Kind.EVENTS, delivery.source, event_label(delivery.type))

    # runs

    def run_finished(self, token: Token, result: RunResult, seconds: float, trace: str) -> None:
        """Count the attempt, and its duration if it ran to an end."""
        handler = result.claim.handler
        self._count(Kind.RUNS, handler, result.outcome)
        if result.outcome not in UNFINISHED:
            self._count(Kind.RUN_SECONDS, handler, _BOUNDS[bisect_left(DURATION_BOUNDS, seconds)])

    def run_crashed(self, claim: Claim, owner: str, after: CrashDecision) -> None:
        """Count the attempt."""
        self._count(Kind.RUNS, claim.handler, "crashed")

    # jobs

    def job_submitted(self, source: str, own_id: str, outcome: str, error: BaseException | None) -> None:
        """Count the submit."""
        self._count(Kind.SUBMITS, source, outcome)

    def submit_refused(self, source: str, error: ReceiverError) -> None:
        """Count it with the submits."""
        self._count(Kind.SUBMITS, source, error.reason)

    def job_polled(self, source: str, job_id: str | None, outcome: str, error: BaseException | None) -> None:
        """Count the poll."""
        self._count(Kind.POLLS, source, outcome)
