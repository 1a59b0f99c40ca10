"""No window has more requests than the rate says, by when they arrive: late ones, slow ones, and those that connect."""

from __future__ import annotations

import bisect
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.engine.rate_limiter import LATE_SHARE, MIN_SAMPLES, WINDOW_FACTOR, RateLimiter, RequestSlot


def through(limiter: RateLimiter, now: float) -> tuple[float, RequestSlot]:
    """Go through as soon as it opens, `now` at the earliest."""
    while (at := limiter.next_send_at(now)) > now:
        now = at
    return now, limiter.record_sent(now)


def max_in_window(times: list[float], window: float) -> int:
    times = sorted(times)
    return max(index + 1 - bisect.bisect_right(times, at - window) for index, at in enumerate(times))


def test_who_is_on_time_does_not_wait() -> None:
    limiter = RateLimiter(50)
    for number in range(200):
        now = 1000 + number * 1.02 / 50
        assert limiter.next_send_at(now) <= now
        limiter.record_response(limiter.record_sent(now), now + 0.1)


def test_those_that_are_late_catch_up_at_twice_the_rate_and_stay_within_the_window() -> None:
    limiter, times = RateLimiter(10), []
    for _ in range(30):
        now, slot = through(limiter, times[-1] if times else 1000.0)
        limiter.record_response(slot, now)
        times.append(now)
    assert times[1] - times[0] == pytest.approx(0.05)
    assert max_in_window(times, 1.0) == 10


@pytest.mark.parametrize("rate", [0.1, 1, 2.5, 50])
def test_a_request_that_may_have_arrived_late_is_waited_for(rate: float) -> None:
    limiter, in_window = RateLimiter(rate), max(1, int(rate))
    late = 0.1 * in_window / rate
    first, slot = through(limiter, 1000.0)
    limiter.record_response(slot, first + late)  # it had to connect, perhaps
    for _ in range(in_window - 1):
        now, slot = through(limiter, first)
        limiter.record_response(slot, now)
    if in_window == 1:
        limiter.record_response(RequestSlot(0.0), 0.0)  # another was quick
    now, _ = through(limiter, first)
    assert now - first == pytest.approx(WINDOW_FACTOR * in_window / rate + late)


@pytest.mark.parametrize("seconds", [None, 60.0])
def test_an_answer_that_takes_for_ever_holds_up_the_others_by_a_part_of_the_window_only(seconds: float | None) -> None:
    limiter = RateLimiter(1)
    limiter.record_response(RequestSlot(0.0), 0.1)
    slot = limiter.record_sent(1000.0)
    if seconds is not None:
        limiter.record_response(slot, 1000.0 + seconds)
    now, _ = through(limiter, 1000.5)
    assert now == pytest.approx(1000.0 + WINDOW_FACTOR + LATE_SHARE)


def test_a_provider_that_has_become_slow_is_not_taken_for_late_requests_for_ever() -> None:
    limiter, now = RateLimiter(1), 1000.0
    limiter.record_response(limiter.record_sent(now), now + 0.01)
    waits = []
    for _ in range(MIN_SAMPLES + 2):
        before = now
        now, slot = through(limiter, now + 1.02)
        waits.append(now - before)
        limiter.record_response(slot, now + 0.9)
    assert waits[2] == pytest.approx(WINDOW_FACTOR + LATE_SHARE)
    assert waits[-1] == pytest.approx(1.02)


@given(
    st.floats(0.2, 200),
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=20, max_size=80),
    st.floats(0.001, 0.5),
)
def test_no_window_has_too_many_whatever_is_late_within_what_is_thought_of(
    rate: float, requests: list[tuple[float, float]], quickest: float
) -> None:
    """Each request comes to the limiter a little after the one before, and takes its time to arrive; some take none.

    What is quick can be told only as long as a quick one is remembered.
    """
    limiter, in_window = RateLimiter(rate), max(1, int(rate))
    max_late = LATE_SHARE * in_window / rate
    limiter.record_response(RequestSlot(0.0), quickest)
    now, arrivals, answers = 1000.0, [], list[tuple[float, int, RequestSlot]]()
    for number, (pause, late) in enumerate(requests):
        now += pause * 0.5 / rate
        while True:
            for answered_at, _, slot in [answer for answer in answers if answer[0] <= now]:
                limiter.record_response(slot, answered_at)
            answers = [answer for answer in answers if answer[0] > now]
            at = limiter.next_send_at(now)
            if at <= now:
                break
            now = min([at, *(answer[0] for answer in answers)])
        on_the_way = late * max_late if number % (MIN_SAMPLES // 2) else 0.0
        arrivals.append(now + on_the_way)
        answers.append((now + quickest + on_the_way, number, limiter.record_sent(now)))
    window = in_window / rate
    assert max_in_window(arrivals, window * (1 - 1e-9)) <= in_window
    assert math.isfinite(now)


def test_the_order_of_arrival_is_another_than_that_of_sending() -> None:
    rng, limiter, times = random.Random(7), RateLimiter(50), []
    limiter.record_response(RequestSlot(0.0), 0.01)
    now = 1000.0
    for number in range(500):
        now, slot = through(limiter, max(now, 1000 + number * 1.02 / 50))
        late = rng.choice([0.0, 0.0, 0.0, 0.15])
        times.append(now + late)
        limiter.record_response(slot, now + 0.01 + late)
    assert times != sorted(times)
    assert max_in_window(times, 1.0) <= 50
