"""What the dispatcher counts of runs. A counter is looked up once for each handler, not for each run."""

from __future__ import annotations

from prometheus_client import Histogram

from receiver.local_counters import LocalCounter
from receiver.metrics import Metrics


class RunMetrics:
    """The runs' counters of one dispatcher, raised by its thread alone."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._start_seconds = metrics.start_seconds
        self._outcomes: dict[tuple[str, str], LocalCounter] = {}
        self._seconds: dict[str, Histogram] = {}

    def started(self, seconds: float) -> None:
        """A run has started, this long after it was due."""
        self._start_seconds.observe(max(0.0, seconds))

    def ended(self, handler: str, seconds: float) -> None:
        """An attempt has ended; it took this long."""
        histogram = self._seconds.get(handler)
        if histogram is None:
            histogram = self._seconds[handler] = self._metrics.handler_seconds.labels(handler)
        histogram.observe(seconds)

    def written(self, handler: str, outcome: str) -> None:
        """The outcome of an attempt is in the store."""
        counter = self._outcomes.get((handler, outcome))
        if counter is None:
            metrics = self._metrics
            counter = metrics.local_counters.create(metrics.runs.labels(handler, outcome))
            self._outcomes[handler, outcome] = counter
        counter.count += 1
