"""Requests are never more than a rate limit leaves, and the ends of jobs are known soon with what it leaves."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.model.job_durations import KEPT, JobDurations, measured_seconds
from receiver.model.poll_schedule import PollSchedule, next_wait, polls_within
from receiver.model.rate_plan import Bucket, RatePlan, RequestKind, spread_wait

NOW = 1_793_613_600.0
WINDOW = 900.0
SCHEDULE = PollSchedule()
STATUS, SUBMIT, VOICES = RequestKind.STATUS, RequestKind.SUBMIT, RequestKind.VOICES
_SECONDS = st.floats(0, 1e5)


def plan(limit: int | None, remaining: int | None, *, apart: bool = False, reset_at: float = NOW + WINDOW) -> RatePlan:
    of = {name: Bucket(name, limit, remaining, reset_at) for name in (["submit", "status"] if apart else ["account"])}
    return RatePlan(of, {STATUS: "status" if apart else "account", SUBMIT: "submit" if apart else "account"})


@given(
    st.integers(0, 2000),
    st.integers(0, 2000),
    st.booleans(),
    st.integers(0, 3000),
    st.lists(st.sampled_from(list(RequestKind))),
)
def test_no_more_is_reserved_than_is_left(
    limit: int, remaining: int, apart: bool, waiting: int, kinds: list[RequestKind]
) -> None:
    found = plan(limit, remaining, apart=apart)
    sent = dict.fromkeys(found.buckets, 0)
    for kind in kinds:
        free = found.free(kind, 50, NOW, waiting)
        found = found.after(kind, free, NOW)
        if (bucket := found.bucket(kind)) is not None:
            sent[bucket.name] += free
    assert all(count <= remaining for count in sent.values())


@given(st.integers(0, 2000), st.booleans(), st.integers(0, 3000), st.sampled_from([STATUS, SUBMIT, VOICES]))
def test_a_new_window_allows_a_request_of_every_kind(limit: int, apart: bool, waiting: int, kind: RequestKind) -> None:
    found = plan(limit, 0, apart=apart)
    assert found.free(kind, 9, NOW + WINDOW, waiting) >= 1
    assert found.free_at(kind, NOW + WINDOW, waiting) == NOW + WINDOW
    assert found.free_at(kind, NOW, waiting) in (NOW, NOW + WINDOW)


@given(
    st.integers(1, 1000), st.integers(0, 1000), st.integers(1, 50), _SECONDS, st.none() | _SECONDS, st.floats(1, 1e5)
)
def test_the_requests_of_a_window_last_for_it_and_its_polls_end(
    limit: int, remaining: int, watched: int, age: float, expected: float | None, window: float
) -> None:
    """Each job follows the plan; together they send no more than is left without the reserve."""
    found = plan(limit, min(limit, remaining), reset_at=NOW + window)
    allowed = found.free(STATUS, 10**6, NOW)
    due = [(NOW, number) for number in range(watched)]
    polls, sent = [1] * watched, 0
    while due[0][0] < NOW + window and sent <= allowed:
        at, number = due.pop(0)
        if found.free(STATUS, 1, at) == 0:
            due = sorted([*due, (found.free_at(STATUS, at), number)])
            continue
        found, sent = found.after(STATUS, 1, at), sent + 1
        polls[number] += 1
        seen = age + at - NOW
        planned = found.poll_wait(
            SCHEDULE, at, polls=polls[number], age=seen, idle=0.0, watched=watched, expected=expected
        )
        due = sorted([*due, (at + max(planned, next_wait(SCHEDULE, polls[number], seen, None, 0.5)), number)])
    assert sent <= allowed


@given(_SECONDS, st.floats(0, 1e4), _SECONDS, st.none() | _SECONDS, st.floats(0.01, 1e3))
def test_a_wait_is_never_longer_than_the_window(
    window: float, share: float, age: float, expected: float | None, base: float
) -> None:
    wait = spread_wait(window, share, age=age, expected=expected, base=base)
    assert 0 <= wait <= window


@given(st.integers(0, 100), _SECONDS, st.integers(1, 50), st.none() | _SECONDS)
def test_without_a_rate_limit_nothing_is_later_than_the_schedule_says(
    polls: int, age: float, watched: int, expected: float | None
) -> None:
    for found in (RatePlan(), plan(None, None), plan(10, 0, reset_at=0.0), plan(None, 0, reset_at=NOW - 1)):
        given_ = {"polls": polls, "age": age, "idle": 0.0, "watched": watched, "expected": expected}
        assert found.poll_wait(SCHEDULE, NOW, **given_) == 0.0  # type: ignore[arg-type]
        assert found.free(STATUS, 9, NOW) == 9


def test_a_generous_limit_changes_nothing() -> None:
    found = plan(1000, 900)
    assert found.poll_wait(SCHEDULE, NOW, polls=0, age=0.0, idle=0.0, watched=20, expected=40.0) == 0.0


@pytest.mark.parametrize("limit", [7, 10, 15])
@given(st.floats(1, 600))
def test_the_delay_is_in_proportion_to_the_duration(limit: int, seconds: float) -> None:
    found, at, polls = plan(limit, limit - 1), 0.0, 0
    while at < seconds:
        planned = found.poll_wait(SCHEDULE, NOW + at, polls=polls, age=at, idle=0.0, watched=1, expected=None)
        at += max(planned, next_wait(SCHEDULE, max(1, polls), at, None, 0.5) if polls else 0.0)
        found, polls = found.after(STATUS, 1, NOW + at), polls + 1
    assert at <= max(15.0, 2.9 * seconds)
    assert polls <= limit - 1


def test_the_first_poll_is_when_the_job_is_expected_to_end_and_then_soon_again() -> None:
    found = plan(10, 9)
    wait = found.poll_wait(SCHEDULE, NOW, polls=0, age=0.0, idle=0.0, watched=1, expected=40.0)
    assert wait == pytest.approx(44)
    later = found.poll_wait(SCHEDULE, NOW + 44, polls=1, age=44.0, idle=0.0, watched=1, expected=40.0)
    assert 5 < later < 20


def test_which_requests_share_a_bucket_is_what_they_leave_to_each_other() -> None:
    assert plan(10, 10).free(STATUS, 99, NOW) == 8
    assert plan(10, 10, apart=True).free(STATUS, 99, NOW) == 9
    assert plan(10, 10).free(SUBMIT, 99, NOW, waiting=2) == 6
    assert plan(10, 2).free(SUBMIT, 99, NOW, waiting=2) == 2
    assert plan(10, 10).free(SUBMIT, 99, NOW, waiting=30) == 5
    assert plan(10, 10, apart=True).free(SUBMIT, 99, NOW, waiting=30) == 10


def test_a_paused_bucket_stops_only_its_requests_until_the_pause_ends() -> None:
    found = plan(10, 5, apart=True)
    paused = RatePlan({**found.buckets, "submit": found.buckets["submit"]._replace(pause_until=NOW + 30)}, found.kinds)
    assert (paused.free(SUBMIT, 1, NOW), paused.free_at(SUBMIT, NOW)) == (0, NOW + 30)
    assert (paused.free(STATUS, 1, NOW), paused.free(SUBMIT, 1, NOW + 30)) == (1, 1)
    assert (paused.pause(NOW), found.pause(NOW)) == (None, None)


@given(st.integers(0, 80), st.floats(0, 1e5))
def test_the_number_of_polls_is_about_what_the_schedule_makes(polls: int, seconds: float) -> None:
    count, left, number = 0, seconds, max(1, polls)
    while (wait := next_wait(SCHEDULE, number, 0.0, None, 0.5)) < left:
        count, left, number = count + 1, left - wait, number + 1
    assert abs(polls_within(SCHEDULE, polls, seconds) - count) <= 2 + 0.1 * count


# durations


def add(stats: JobDurations, characters: int | None, seconds: float) -> JobDurations:
    length, took = stats.sample(characters, seconds)
    new = (1.0, length, took, length * length, length * took)
    return JobDurations(*(KEPT * old + value for old, value in zip(stats, new, strict=True)))


def test_what_is_expected_follows_the_length_of_the_text() -> None:
    stats = JobDurations()
    for length in (100, 400, 200, 800, 300):
        stats = add(stats, length, 5 + 0.05 * length)
    assert stats.expected(1000) == pytest.approx(55, rel=0.01)
    assert stats.expected(None) == pytest.approx(stats.seconds / stats.weight)


def test_a_job_that_was_stuck_changes_little() -> None:
    stats = add(add(JobDurations(), 100, 40.0), 100, 3600.0)
    assert (stats.expected(100) or 0) <= 90


@given(
    st.lists(st.tuples(st.none() | st.integers(0, 10**6), st.floats(0, 1e6)), max_size=30),
    st.none() | st.integers(0, 10**6),
)
def test_an_expected_duration_is_a_time(samples: list[tuple[int | None, float]], characters: int | None) -> None:
    stats = JobDurations()
    for length, seconds in samples:
        stats = add(stats, length, seconds)
    found = stats.expected(characters)
    assert (found is None) == (not samples)
    assert found is None or (math.isfinite(found) and found >= 0)


def test_a_job_ended_between_the_last_two_polls() -> None:
    assert measured_seconds(60.0, 40.0) == 50.0
    assert measured_seconds(60.0, None) == 45.0
    assert measured_seconds(60.0, 70.0) == 60.0
