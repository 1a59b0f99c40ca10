"""Counts of the intake, kept as plain numbers by the one thread that raises them and shown when somebody looks.

Prometheus' own take a lock for each step, three or more a delivery. Names, labels and types stay Prometheus' own.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Iterable, Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector


class LocalCounter:
    """What one thread has counted for a counter. Raise `count` by what there is to count."""

    __slots__ = ("_counter", "_shown", "count")

    def __init__(self, counter: Counter) -> None:
        self.count = 0
        self._shown = 0
        self._counter = counter

    def show(self) -> None:
        """Raise the counter by what was counted since."""
        count = self.count
        self._counter.inc(count - self._shown)
        self._shown = count


class LocalCounters(Collector):
    """The tallies of a registry's counters. Registered before them, so that they are right when they are looked at."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._tallies: list[LocalCounter] = []
        self._lock = threading.Lock()
        registry.register(self)

    def of(self, counter: Counter) -> LocalCounter:
        """A tally for a counter; one whose labels are given, if it has any."""
        tally = LocalCounter(counter)
        self._tallies.append(tally)
        return tally

    def collect(self) -> Iterable[Metric]:
        """Nothing of its own."""
        with self._lock:
            for tally in self._tallies:
                tally.show()
        return ()


class LocalHistogram(Collector):
    """A histogram without labels that one thread adds to.

    Args:
        buckets: upper bounds, ascending.
    """

    def __init__(self, name: str, documentation: str, buckets: Sequence[float], registry: CollectorRegistry) -> None:
        self._empty = Histogram(name, documentation, buckets=buckets, registry=None)
        self._bounds = tuple(buckets)
        self._counts = [0] * (len(buckets) + 1)
        self._sum = 0.0
        registry.register(self)

    def observe(self, amount: float) -> None:
        """Add a value."""
        self._counts[bisect_left(self._bounds, amount)] += 1
        self._sum += amount

    def describe(self) -> Iterable[Metric]:
        """Its name and type."""
        return self._empty.describe()

    def collect(self) -> Iterable[Metric]:
        """What was added."""
        counts = list(self._counts)
        bounds = (*self._bounds, float("inf"))
        (metric,) = self._empty.collect()
        samples = []
        for sample in metric.samples:
            value = sample.value
            if sample.name.endswith("_bucket"):
                value = sum(counts[: bounds.index(float(sample.labels["le"])) + 1])
            elif sample.name.endswith("_count"):
                value = sum(counts)
            elif sample.name.endswith("_sum"):
                value = self._sum
            samples.append(sample._replace(value=value))
        metric.samples = samples
        return [metric]
