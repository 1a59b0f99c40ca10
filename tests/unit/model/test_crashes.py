"""A crash: not counted until the run is a suspect, then counted, further and further apart."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.model.crashes import CrashDecision, after_crash
from receiver.model.retry import RetryPolicy

POLICY = RetryPolicy(attempts=3, base_seconds=5.0, factor=4.0)


@pytest.mark.parametrize(
    ("crashes", "counted", "expected"),
    [
        (0, 1, CrashDecision(1, counts=False, wait=0.0)),
        (1, 3, CrashDecision(2, counts=False, wait=0.0)),  # two may be chance, even in its last attempt
        (2, 1, CrashDecision(3, counts=True, wait=5.0)),
        (3, 2, CrashDecision(4, counts=True, wait=20.0)),
        (4, 3, CrashDecision(5, counts=True, wait=None)),
        (9, 1, CrashDecision(10, counts=True, wait=5.0)),
    ],
)
def test_what_a_crash_means(crashes: int, counted: int, expected: CrashDecision) -> None:
    assert after_crash(POLICY, crashes, counted, 0.0) == expected


@given(counted=st.integers(1, 7), chance=st.floats(0, 1, exclude_max=True))
def test_a_suspect_waits_between_half_of_its_bound_and_all_of_it(counted: int, chance: float) -> None:
    policy = RetryPolicy()
    bound = min(policy.cap_seconds, policy.base_seconds * policy.factor ** (counted - 1))
    wait = after_crash(policy, 2, counted, chance).wait
    assert wait is not None
    assert bound / 2 <= wait <= bound


def test_a_process_killed_for_twenty_minutes_makes_no_dead_letter_of_a_suspect_that_always_ran() -> None:
    policy, least, crashes = RetryPolicy(), 0.0, 2
    for counted in range(1, policy.attempts):
        wait = after_crash(policy, crashes, counted, 0.999).wait
        assert wait is not None
        least, crashes = least + wait, crashes + 1
    assert least > 20 * 60
