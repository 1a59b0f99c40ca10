"""Counters and histograms without locks, for paths on which one thread counts each delivery or run.

Prometheus' own take a lock for each update, three or more for each delivery. These keep plain numbers, which are added
to Prometheus' when it collects. Names, labels and types are the same.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Iterable, Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector


class LocalCounter:
    """The increments of one thread to a Prometheus counter. The thread adds to `count`."""

    __slots__ = ("_counter", "_flushed", "count")

    def __init__(self, counter: Counter) -> None:
        self.count = 0
        self._flushed = 0
        self._counter = counter

    def flush(self) -> None:
        """Add the increments since the last flush to the Prometheus counter."""
        count = self.count
        self._counter.inc(count - self._flushed)
        self._flushed = count


class LocalCounters(Collector):
    """The local counters of a registry. Create it before the counters: Prometheus collects in order of registration."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._counters: list[LocalCounter] = []
        self._lock = threading.Lock()
        registry.register(self)

    def create(self, counter: Counter) -> LocalCounter:
        """A local counter for a Prometheus counter, whose labels must be set."""
        local = LocalCounter(counter)
        self._counters.append(local)
        return local

    def collect(self) -> Iterable[Metric]:
        """Flush every counter. Yields no metric: the Prometheus counters have the values."""
        with self._lock:
            for counter in self._counters:
                counter.flush()
        return ()


class LocalHistogram(Collector):
    """A histogram without labels to which one thread adds values.

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
        """Its current values."""
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
