"""How long to wait for audio that is not there yet."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.engine.audio_backoff import (
    MAX_WAIT_SECONDS,
    MIN_WAIT_SECONDS,
    NOT_YET_SECONDS,
    postponed_if_recent,
    retry_delay,
)
from receiver.errors import AudioError, AudioGone, AudioPostponed, AudioRefused


def missing(kind: type[AudioError] = AudioGone) -> AudioError:
    error = kind("https://h.example/a answers 404: nothing is there.")
    error.not_found = True
    return error


@given(st.floats(0, 0.999), st.floats(-60, 0.999))
def test_an_event_of_any_moment_is_asked_about_a_few_times_and_then_the_error_stands(
    chance: float, begin: float
) -> None:
    age, waits = begin, list[float]()
    while (postponed := postponed_if_recent(missing(), age, chance)) is not None:
        assert isinstance(postponed, AudioPostponed)
        assert not postponed.counts
        waits.append(postponed.after)
        age += postponed.after
    assert age >= NOT_YET_SECONDS
    assert waits[0] <= 1.25 * MIN_WAIT_SECONDS
    assert max(waits) <= 1.25 * MAX_WAIT_SECONDS
    assert len(waits) <= 15 + 60 / (0.75 * MIN_WAIT_SECONDS)


def test_the_waits_double() -> None:
    age, waits = 0.0, []
    while (postponed := postponed_if_recent(missing(), age, 0.5)) is not None:
        waits.append(postponed.after)
        age += postponed.after
    assert waits == [1, 1, 2, 4, 8, 16, 32, 60, 60, 60, 56]


@pytest.mark.parametrize("age", [NOT_YET_SECONDS, 1e9, -61.0, -1e9])
def test_of_an_old_event_and_one_from_before_the_clock_was_set_back_the_error_stands(age: float) -> None:
    assert postponed_if_recent(missing(), age, 0.5) is None


def test_only_a_final_error_with_a_404_in_it_is_waited_out() -> None:
    assert postponed_if_recent(AudioGone("410"), 1.0, 0.5) is None
    assert postponed_if_recent(missing(AudioError), 1.0, 0.5) is None
    assert postponed_if_recent(missing(AudioRefused), 1.0, 0.5) is not None


@given(st.floats(allow_nan=False), st.floats(0, 0.999))
def test_a_wait_is_bounded_whatever_the_clock_says(age: float, chance: float) -> None:
    assert 0.75 * MIN_WAIT_SECONDS <= retry_delay(age, chance) <= 1.25 * MAX_WAIT_SECONDS


def test_the_message_says_how_old_the_event_is_and_what_was_tried() -> None:
    postponed = postponed_if_recent(missing(), 3.4, 0.5)
    assert str(postponed) == (
        "The job completed 3 s ago, and its audio is not there yet. https://h.example/a answers 404: nothing is there."
    )
