"""Counters and histograms without locks, for paths on which one thread counts each delivery or run.

Prometheus' own take a lock for each update, three or more for each delivery. These keep plain numbers, which are added
to Prometheus' when it collects. Names, labels and types are the same.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample
from prometheus_client.utils import floatToGoString


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


class Observations:
    """The values that one thread adds to a histogram, for one combination of labels."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, amount: float) -> None:
        """Add a value."""
        self._counts[bisect_left(self._bounds, amount)] += 1
        self._sum += amount

    def samples(self) -> dict[str, float]:
        """By the end of a sample's name, and for a bucket by its bound, the current value."""
        cumulative = list(accumulate(self._counts))
        bounds = map(floatToGoString, (*self._bounds, float("inf")))
        return {"_sum": self._sum, "_count": cumulative[-1], **dict(zip(bounds, cumulative, strict=True))}


class LocalHistogram(Collector):
    """A histogram to which one thread adds values.

    Args:
        buckets: upper bounds, ascending.
    """

    def __init__(
        self,
        name: str,
        documentation: str,
        labelnames: Sequence[str] = (),
        *,
        buckets: Sequence[float],
        registry: CollectorRegistry,
    ) -> None:
        self._empty = Histogram(name, documentation, labelnames, buckets=buckets, registry=None)
        self._labelnames = tuple(labelnames)
        self._bounds = tuple(buckets)
        self._observed: dict[tuple[str, ...], Observations] = {}
        if not labelnames:
            self.labels()
        registry.register(self)

    def labels(self, *values: str) -> Observations:
        """Where to add values with these labels."""
        if values not in self._observed:
            if values:
                self._empty.labels(*values)
            self._observed[values] = Observations(self._bounds)
        return self._observed[values]

    def describe(self) -> Iterable[Metric]:
        """Its name and type."""
        return self._empty.describe()

    def collect(self) -> Iterable[Metric]:
        """Its current values."""
        (metric,) = self._empty.collect()
        current = {labels: observed.samples() for labels, observed in list(self._observed.items())}
        metric.samples = [sample._replace(value=self._value(sample, current)) for sample in metric.samples]
        return [metric]

    def _value(self, sample: Sample, current: Mapping[tuple[str, ...], Mapping[str, float]]) -> float:
        values = current.get(tuple(sample.labels[name] for name in self._labelnames), {})
        kind = sample.labels.get("le", sample.name[sample.name.rindex("_") :])
        return values.get(kind, sample.value)
