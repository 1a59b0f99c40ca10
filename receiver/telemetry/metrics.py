"""Counts what the hooks report. A counter is looked up once for each combination of labels, not at each report."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import TypeVar

from receiver.errors import ReceiverError
from receiver.local_counters import LocalCounter
from receiver.metrics import Metrics
from receiver.model.crashes import CrashDecision
from receiver.model.delivery import Delivery
from receiver.model.event import TERMINAL, TEST, Origin
from receiver.store.artifacts import ArtifactRow
from receiver.store.claims import Claim
from receiver.store.inbox import Receipt
from receiver.store.runs import POSTPONED, RunResult
from receiver.telemetry.hooks import Telemetry, Token

T = TypeVar("T")

MAX_ERROR_KINDS = 50
"""Kinds of errors that are labels in one process. Handlers can make classes of exceptions without end."""
_LABELLED = TERMINAL | {TEST}
_POLL: str = Origin.POLL.value


def event_label(type_: str) -> str:
    """An event's type as a label, of which there are few."""
    return type_ if type_ in _LABELLED else "other"


class _ByLabels(dict[tuple[str, ...], T]):
    """Makes what is missing of its labels."""

    def __init__(self, make: Callable[[tuple[str, ...]], T]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, labels: tuple[str, ...]) -> T:
        made = self[labels] = self._make(labels)
        return made


class MetricsTelemetry(Telemetry):
    """Raises the counters and histograms of one receiver.

    Args:
        with_webhooks: the sources whose providers send webhooks.
    """

    def __init__(self, metrics: Metrics, with_webhooks: Collection[str]) -> None:
        self._with_webhooks = with_webhooks
        self._intake_seconds = metrics.intake_seconds.labels()
        self._start_seconds = metrics.start_seconds.labels()
        self._run_errors = metrics.run_errors
        self._error_kinds: set[str] = set()
        self._recovered = metrics.recovered
        self._submits = metrics.submits
        self._polls = metrics.polls
        self._audio_bytes = metrics.audio_bytes
        self._audio_seconds = metrics.audio_seconds
        self._handler_seconds = _ByLabels(lambda labels: metrics.handler_seconds.labels(*labels))
        create = metrics.local_counters.create
        self._deliveries = _ByLabels[LocalCounter](lambda labels: create(metrics.deliveries.labels(*labels)))
        self._events = _ByLabels[LocalCounter](lambda labels: create(metrics.events.labels(*labels)))
        self._runs = _ByLabels[LocalCounter](lambda labels: create(metrics.runs.labels(*labels)))

    # deliveries

    def delivery_received(self, source: str) -> Token:
        """Begin to measure the time until the response is ready."""
        return time.perf_counter()

    def delivery_stored(self, token: Token, delivery: Delivery, receipt: Receipt, outcome: str) -> None:
        """Count the delivery, and its time."""
        self._deliveries[delivery.source, outcome].count += 1
        self._intake_seconds.observe(time.perf_counter() - token)

    def delivery_refused(
        self, token: Token, source: str, status: int | None, outcome: str | None, error: BaseException,
        client: str | None,
    ) -> None:  # fmt: skip
        """Count the delivery unless its work was cancelled, and its time if there is a response."""
        if outcome is not None:
            self._deliveries[source, outcome].count += 1
        if status is not None:
            self._intake_seconds.observe(time.perf_counter() - token)

    def event_stored(self, delivery: Delivery) -> None:
        """Count the event; also as recovered, if a poll reported it before the webhook."""
        self._events[delivery.source, event_label(delivery.type), delivery.origin].count += 1
        if delivery.origin == _POLL and delivery.source in self._with_webhooks:
            self._recovered.labels(delivery.source).inc()

    # runs

    def run_started(self, claim: Claim, waited: float) -> Token:
        """Record how long the run was due."""
        self._start_seconds.observe(max(0.0, waited))

    def run_finished(self, token: Token, result: RunResult, seconds: float, trace: str) -> None:
        """Count the attempt, and its time."""
        handler = result.claim.handler
        self._runs[handler, result.outcome].count += 1
        self._handler_seconds[(handler,)].observe(seconds)
        if result.error_kind is not None and result.outcome != POSTPONED:
            self._count_error(handler, result.error_kind)

    def run_discarded(self, token: Token, claim: Claim, outcome: str, seconds: float, reason: str) -> None:
        """Record the attempt's time."""
        self._handler_seconds[(claim.handler,)].observe(seconds)

    def run_crashed(self, claim: Claim, owner: str, after: CrashDecision) -> None:
        """Count the attempt."""
        self._runs[claim.handler, "crashed"].count += 1
        self._count_error(claim.handler, "crashed")

    def _count_error(self, handler: str, kind: str) -> None:
        if len(self._error_kinds) < MAX_ERROR_KINDS:
            self._error_kinds.add(kind)
        self._run_errors.labels(handler, kind if kind in self._error_kinds else "other").inc()

    # jobs

    def job_submitted(self, source: str, own_id: str, outcome: str, error: BaseException | None) -> None:
        """Count the submit."""
        self._submits.labels(source, outcome).inc()

    def submit_refused(self, source: str, error: ReceiverError) -> None:
        """Count it with the submits."""
        self._submits.labels(source, error.reason).inc()

    def job_polled(self, source: str, job_id: str | None, outcome: str, error: BaseException | None) -> None:
        """Count the poll."""
        self._polls.labels(source, outcome).inc()

    # audio

    def fetch_stored(self, token: Token, source: str, job_id: str, artifact: ArtifactRow) -> None:
        """Count the file's bytes, and the fetch's time."""
        self._audio_seconds.labels(source, "fetched").observe(artifact.fetch_seconds)
        self._audio_bytes.labels(source).inc(artifact.bytes)

    def fetch_failed(
        self, token: Token, source: str, event_id: str, job_id: str, n: int, seconds: float, reason: str | None,
        error: BaseException,
    ) -> None:  # fmt: skip
        """Record the fetch's time, if anything was requested."""
        if reason is not None:
            self._audio_seconds.labels(source, reason).observe(seconds)
