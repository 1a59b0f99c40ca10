"""Whether a download is fast enough to keep its place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.errors import AudioDelayed
from receiver.outbound.rate import AVERAGE_FACTOR, GRACE_SECONDS, RESUME_AFTER_SECONDS, WINDOW_SECONDS, RateMonitor

LEAST = 1000.0


def seconds_until_cut(rate: float, size: int, *, step: float = 1.0, total: int | None = None) -> float | None:
    """When a download of `size` bytes that come evenly is cut; None if it comes to its end."""
    watch, now, have = RateMonitor(LEAST), 0.0, 0
    while have < size:
        count = min(max(1, int(rate * step)), size - have)
        have += count
        try:
            watch.received(count, now, total=total)
        except AudioDelayed:
            return now
        now += step
    return None


def test_one_that_brings_too_little_in_a_window_is_cut_after_it() -> None:
    assert seconds_until_cut(0.9 * LEAST, 10**9) == WINDOW_SECONDS
    watch = RateMonitor(LEAST)
    watch.received(5, 0.0, total=None)
    with pytest.raises(AudioDelayed, match="too slow: 10 bytes in 30 s") as caught:
        watch.received(5, WINDOW_SECONDS, total=None)
    assert (caught.value.reason, caught.value.after) == ("download_too_slow", RESUME_AFTER_SECONDS)


def test_a_byte_now_and_then_is_too_little() -> None:
    assert seconds_until_cut(0.0, 10**6, step=29.0) == 58.0


@given(st.floats(AVERAGE_FACTOR * LEAST, 1e7), st.integers(1, 10**9), st.floats(1.0, 25.0))
def test_one_that_is_as_fast_as_the_average_asks_for_is_never_cut(rate: float, size: int, step: float) -> None:
    size = min(size, int(rate * step * 2000))
    assert seconds_until_cut(rate, size, step=step) is None


@given(st.integers(1, int(LEAST * 1.1 * GRACE_SECONDS)))
def test_what_is_done_within_the_grace_need_only_keep_the_least_rate(size: int) -> None:
    assert seconds_until_cut(1.1 * LEAST, size, total=size) is None


@pytest.mark.parametrize(
    ("total", "seconds"), [(16_000_000, GRACE_SECONDS + 1000), (160_000_000, GRACE_SECONDS + 10_000)]
)
def test_the_deadline_grows_with_the_size(total: int, seconds: float) -> None:
    assert seconds_until_cut(2 * LEAST, total, step=10.0, total=total) == pytest.approx(seconds, abs=10.1)


def test_where_the_size_is_not_known_what_has_come_stands_for_it() -> None:
    cut = seconds_until_cut(2 * LEAST, 10**9)
    assert cut == pytest.approx(GRACE_SECONDS / (1 - 2 / AVERAGE_FACTOR), abs=2)


def test_the_wait_for_the_first_bytes_is_not_counted() -> None:
    watch = RateMonitor(LEAST)
    watch.received(1, 1_000_000.0, total=None)
    watch.received(1, 1_000_001.0, total=None)
