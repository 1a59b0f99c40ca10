"""How often a loop polls where other processes tell it of new jobs, and when it tells them."""

from __future__ import annotations

import pytest

from receiver.model.poll_schedule import PollSchedule
from receiver.store.changes import OPEN_POLL_SECONDS, QUIET_POLL_SECONDS
from tests.integration.engine_support import NOW
from tests.unit.engine.jobs.support import PENDING, Polling

pytestmark = pytest.mark.anyio

RARELY = PollSchedule(min_seconds=600.0, max_seconds=600.0, deadline_seconds=3600.0)


async def test_a_loop_polls_rarely_without_open_jobs_and_more_often_while_another_process_may_follow_one(
    up: Polling,
) -> None:
    up.answers(lambda _: PENDING)
    loop = await up.poller(schedule=RARELY, poll_seconds=lambda _: QUIET_POLL_SECONDS)
    await up.until_idle()
    assert up.clock.moments(loop._wake_event) == [NOW + QUIET_POLL_SECONDS]
    up.watch("a")
    loop.wake()
    await up.until_idle()
    assert up.times == [0]
    assert up.clock.moments(loop._wake_event) == [NOW + OPEN_POLL_SECONDS]


async def test_a_loop_that_stops_says_that_its_jobs_can_be_followed_by_another_process(up: Polling) -> None:
    loop = await up.poller()
    assert up.releases == 0
    await loop.stop()
    up.pollers.remove(loop)
    assert up.releases == 1
