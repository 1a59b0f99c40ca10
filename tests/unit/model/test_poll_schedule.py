"""How long until the next poll: within its bounds, whatever the provider and the jitter say."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from receiver.model.poll_schedule import PollSchedule, next_wait
from receiver.providers.protocols import WebhookProvider
from receiver.settings import WEBHOOK_SECONDS, Poll, SigningSecret, Source


@st.composite
def _schedules(draw: st.DrawFn) -> PollSchedule:
    least = draw(st.floats(0.01, 3600))
    return PollSchedule(min_seconds=least, max_seconds=least * draw(st.floats(1, 1000)), factor=draw(st.floats(1, 10)))


_JITTERS = st.floats(0, 1, exclude_max=True)
_POLLS = st.integers(1, 10**9)
_PROGRESS = st.none() | st.integers(0, 100)
_ELAPSED = st.floats(0, 1e9)


@given(schedule=_schedules(), polls=_POLLS, elapsed=_ELAPSED, progress=_PROGRESS, jitter=_JITTERS)
def test_a_wait_is_never_shorter_than_the_least_and_never_longer_than_the_most(
    schedule: PollSchedule, polls: int, elapsed: float, progress: int | None, jitter: float
) -> None:
    wait = next_wait(schedule, polls, elapsed, progress, jitter)
    assert math.isfinite(wait)
    assert schedule.min_seconds <= wait <= schedule.max_seconds


@given(schedule=_schedules(), polls=st.integers(1, 200), jitter=_JITTERS)
def test_without_progress_a_wait_never_shrinks_from_one_poll_to_the_next(
    schedule: PollSchedule, polls: int, jitter: float
) -> None:
    assert next_wait(schedule, polls + 1, 0, None, jitter) >= next_wait(schedule, polls, 0, None, jitter)


@given(schedule=_schedules(), polls=_POLLS, elapsed=_ELAPSED, progress=st.sampled_from([0, 100]), jitter=_JITTERS)
def test_a_progress_that_says_nothing_is_as_none(
    schedule: PollSchedule, polls: int, elapsed: float, progress: int, jitter: float
) -> None:
    assert next_wait(schedule, polls, elapsed, progress, jitter) == next_wait(schedule, polls, elapsed, None, jitter)


@given(schedule=_schedules(), elapsed=_ELAPSED, progress=st.integers(1, 98), jitter=_JITTERS, polls=_POLLS)
def test_more_progress_never_means_a_longer_wait(
    schedule: PollSchedule, elapsed: float, progress: int, jitter: float, polls: int
) -> None:
    assert next_wait(schedule, polls, elapsed, progress + 1, jitter) <= next_wait(
        schedule, polls, elapsed, progress, jitter
    )


@pytest.mark.parametrize(("polls", "wait"), [(1, 2), (2, 3), (3, 4.5), (4, 6.75), (9, 50), (10**6, 50)])
def test_the_default_waits_grow_by_half_up_to_where_their_spread_ends_at_a_minute(polls: int, wait: float) -> None:
    assert next_wait(PollSchedule(), polls, 0, None, 0.5) == pytest.approx(wait)


@pytest.mark.parametrize("polls", [4, 50])
def test_the_dice_spread_a_wait_by_a_fifth_to_either_side_at_the_cap_as_well(polls: int) -> None:
    middle = next_wait(PollSchedule(), polls, 0, None, 0.5)
    assert next_wait(PollSchedule(), polls, 0, None, 0.0) == pytest.approx(middle * 0.8)
    assert next_wait(PollSchedule(), polls, 0, None, 1 - 2**-53) == pytest.approx(middle * 1.2)


def test_half_of_the_time_that_a_job_still_seems_to_need_is_waited() -> None:
    assert next_wait(PollSchedule(), 7, 30.0, 50, 0.5) == pytest.approx(15.0)
    assert next_wait(PollSchedule(), 1, 30.0, 75, 0.5) == pytest.approx(5.0)
    assert next_wait(PollSchedule(), 1, 30.0, 99, 0.5) == 2.0


@pytest.mark.parametrize("provider", ["aitts", "audixa", "finevoice", "miragic"])
def test_a_source_is_never_polled_more_often_than_its_provider_allows(provider: str) -> None:
    poll = Poll(min_seconds=0.01, max_seconds=0.02)
    secrets = (SigningSecret(secret=SecretStr("tts_signing_secret_0123456789")),)
    source = Source(provider=provider, api_key=SecretStr("a-key"), signing_secrets=secrets, poll=poll)
    assert source.schedule.min_seconds == source.provider.capabilities.min_poll_seconds == source.schedule.max_seconds
    assert source.schedule.first_seconds == (WEBHOOK_SECONDS if isinstance(source.provider, WebhookProvider) else 0)
