"""Local counters and histograms look like Prometheus' own."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from receiver.local_counters import LocalCounters, LocalHistogram

BUCKETS = (0.001, 0.25, 0.5, 1, 10)
NAME, WORDS = "seconds", "How long it took."


def text_of(register: Callable[[CollectorRegistry], object]) -> str:
    """What is shown, without the time of its making."""
    registry = CollectorRegistry()
    register(registry)
    return re.sub(r"(_created.*) \S+\n", r"\1\n", generate_latest(registry).decode())


@given(st.lists(st.floats(0, 20) | st.sampled_from(BUCKETS)))
def test_a_histogram_is_shown_as_prometheus_own(values: list[float]) -> None:
    def ours(registry: CollectorRegistry) -> None:
        histogram = LocalHistogram(NAME, WORDS, buckets=BUCKETS, registry=registry)
        for value in values:
            histogram.labels().observe(value)

    def theirs(registry: CollectorRegistry) -> None:
        histogram = Histogram(NAME, WORDS, buckets=BUCKETS, registry=registry)
        for value in values:
            histogram.observe(value)

    assert text_of(ours) == text_of(theirs)


@given(st.lists(st.tuples(st.sampled_from(["save_audio", "log"]), st.floats(0, 20) | st.sampled_from(BUCKETS))))
def test_a_histogram_with_labels_is_shown_as_prometheus_own(values: list[tuple[str, float]]) -> None:
    def ours(registry: CollectorRegistry) -> None:
        histogram = LocalHistogram(NAME, WORDS, ["handler"], buckets=BUCKETS, registry=registry)
        for handler, value in values:
            histogram.labels(handler).observe(value)

    def theirs(registry: CollectorRegistry) -> None:
        histogram = Histogram(NAME, WORDS, ["handler"], buckets=BUCKETS, registry=registry)
        for handler, value in values:
            histogram.labels(handler).observe(value)

    assert text_of(ours) == text_of(theirs)


def test_two_histograms_of_one_name_are_refused_as_any_two_metrics_are() -> None:
    registry = CollectorRegistry()
    LocalHistogram(NAME, WORDS, buckets=BUCKETS, registry=registry)
    with pytest.raises(ValueError, match="Duplicated"):
        Histogram(NAME, WORDS, registry=registry)


def test_a_local_counter_adds_each_increment_once_however_often_it_is_collected() -> None:
    registry = CollectorRegistry()
    local_counters = LocalCounters(registry)
    counter = Counter("seen", WORDS, ["source"], registry=registry)
    local = local_counters.create(counter.labels("aitts"))

    def shown() -> float | None:
        return registry.get_sample_value("seen_total", {"source": "aitts"})

    local.count += 2
    assert (shown(), shown()) == (2, 2)
    counter.labels("aitts").inc()  # others raise it too
    local.count += 1
    assert (shown(), shown()) == (4, 4)
