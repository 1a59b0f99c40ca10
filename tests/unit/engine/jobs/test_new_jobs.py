"""A job that its provider has given us an id of, and does not know yet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from receiver.engine.jobs.polling import MAX_MISSES, NEW_JOB_SECONDS
from tests.integration.engine_support import NOW
from tests.integration.outbound_support import ReceivedRequest, Say
from tests.unit.engine.jobs.support import COMPLETED, Polling, job_of
from tests.unit.engine.jobs.test_submitting import BOTH, KEYLESS, loop_of, row, taken_on

pytestmark = pytest.mark.anyio

NO_SUCH_JOB = Say(404, {}, b'{"success": false, "message": "Job not found"}')


def knows_after(up: Polling, source: str, seconds: float) -> Callable[[ReceivedRequest], Any]:
    """A provider that takes a job on, and knows nothing of it for a while."""

    def behave(request: ReceivedRequest) -> Say:
        if request.method == "POST":
            up.submits.append(request)
            return taken_on(source)
        up.polls[job_of(request)].append(up.clock.now())
        if up.clock.now() < NOW + seconds:
            return NO_SUCH_JOB
        return COMPLETED if source == KEYLESS else taken_on(source, status="completed")

    return behave


@BOTH
async def test_a_job_that_its_provider_does_not_know_yet_is_asked_for_ever_more_rarely(
    up: Polling, source: str
) -> None:
    up.server.behave = knows_after(up, source, 120)
    await loop_of(up, source)
    id_ = up.submit(source=source)
    await up.pass_time(110)
    found = row(up, id_)
    assert found["state"] == "watching"
    assert found["misses"] > MAX_MISSES
    gaps = [later - earlier for earlier, later in zip(up.times, up.times[1:], strict=False)]
    assert gaps[-1] > 5 * gaps[0]
    await up.pass_time(80)
    assert row(up, id_)["state"] == "completed"
    assert up.event()["type"] == "job.completed"


async def test_a_job_that_its_provider_never_knows_is_given_up_after_some_minutes(up: Polling) -> None:
    up.server.behave = knows_after(up, KEYLESS, 1e9)
    await loop_of(up, KEYLESS)
    id_ = up.submit(source=KEYLESS)
    await up.pass_time(NEW_JOB_SECONDS - 1)
    assert row(up, id_)["state"] == "watching"
    await up.pass_time(120)
    assert row(up, id_)["state"] == "expired"
    assert up.event()["payload"]["error"]["code"] == "JOB_UNKNOWN"


async def test_a_job_that_is_forgotten_later_is_given_up_after_five_polls(up: Polling) -> None:
    up.takes_on(lambda request: taken_on(KEYLESS))
    await loop_of(up, KEYLESS)
    id_ = up.submit(source=KEYLESS)
    await up.pass_time(NEW_JOB_SECONDS + 60)
    assert row(up, id_)["state"] == "watching"
    asked_before = len(up.times)
    up.answers(lambda job: NO_SUCH_JOB)
    await up.pass_time(400)
    assert row(up, id_)["state"] == "expired"
    assert len(up.times) == asked_before + MAX_MISSES


async def test_an_id_that_an_operator_named_is_given_up_after_five_polls_at_once(up: Polling) -> None:
    up.watch("mistyped")
    up.answers(lambda job: NO_SUCH_JOB)
    await up.poller()
    await up.pass_time(60)
    assert up.job("mistyped")["state"] == "expired"
    assert len(up.times) == MAX_MISSES
