"""When a run is tried again: within its bounds, whatever the jitter is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.model.retry import RetryPolicy, backoff_seconds, wait_seconds

_POLICIES = st.builds(
    RetryPolicy,
    attempts=st.integers(1, 1000),
    base_seconds=st.floats(0.001, 3600),
    factor=st.floats(1, 100),
    cap_seconds=st.floats(0.001, 1e6),
)
_JITTERS = st.floats(0, 1, exclude_max=True)


@given(policy=_POLICIES, attempt=st.integers(-5, 10**9), jitter=_JITTERS)
def test_a_wait_is_above_zero_and_never_above_the_cap(policy: RetryPolicy, attempt: int, jitter: float) -> None:
    assert 0 < backoff_seconds(policy, attempt, jitter) <= policy.cap_seconds


@given(policy=_POLICIES, jitter=_JITTERS)
def test_the_first_wait_is_at_most_the_base(policy: RetryPolicy, jitter: float) -> None:
    assert backoff_seconds(policy, 1, jitter) <= policy.base_seconds


@given(policy=_POLICIES, attempt=st.integers(1, 100), jitter=_JITTERS)
def test_the_bound_never_shrinks_from_one_attempt_to_the_next(policy: RetryPolicy, attempt: int, jitter: float) -> None:
    assert backoff_seconds(policy, attempt + 1, jitter) >= backoff_seconds(policy, attempt, jitter)


@given(policy=_POLICIES, attempt=st.integers(1, 2000), jitter=_JITTERS, retry_after=st.floats(0, 1e6))
def test_a_run_waits_at_least_what_it_was_told_or_is_out_of_attempts(
    policy: RetryPolicy, attempt: int, jitter: float, retry_after: float
) -> None:
    wait = wait_seconds(policy, attempt, jitter, retry_after=retry_after)
    if attempt >= policy.attempts:
        assert wait is None
    else:
        assert wait == max(retry_after, backoff_seconds(policy, attempt, jitter))


@pytest.mark.parametrize(("attempt", "bound"), [(1, 5), (2, 20), (3, 80), (4, 320), (5, 1280), (6, 3600), (7, 3600)])
def test_the_default_bounds_grow_fourfold_to_an_hour(attempt: int, bound: float) -> None:
    assert wait_seconds(RetryPolicy(), attempt, 0.0) == bound
    assert wait_seconds(RetryPolicy(), attempt, 0.75) == bound / 4


def test_after_the_eighth_attempt_a_default_run_is_dead() -> None:
    assert wait_seconds(RetryPolicy(), 8, 0.5) is None
    assert wait_seconds(RetryPolicy(attempts=1), 1, 0.5, retry_after=9) is None
