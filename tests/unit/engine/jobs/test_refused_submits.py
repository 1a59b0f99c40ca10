"""What a submit's answer means that is no job: refused, or broken."""

from __future__ import annotations

import pytest

from tests.integration.outbound_support import Say
from tests.unit.engine.jobs.support import Polling
from tests.unit.engine.jobs.test_submitting import BOTH, KEYED, KEYLESS, error, keys, loop_of, row, taken_on

pytestmark = pytest.mark.anyio

NO = b'{"success": false, "message": "Insufficient credits"}'
BROKEN = error(500, "GENERATION_FAILED")


@BOTH
@pytest.mark.parametrize("status", [200, 202, 400, 403, 409, 418])
async def test_a_submit_that_is_answered_with_no_success_has_failed_and_is_not_unknown(
    up: Polling, source: str, status: int
) -> None:
    up.takes_on(lambda request: Say(status, {}, NO))
    await loop_of(up, source)
    id_ = up.submit(source=source)
    await up.jump(1)
    found = row(up, id_)
    assert found["state"] == "failed"
    assert "Insufficient credits" in found["error"]
    assert "jobs watch" not in found["error"]
    await up.jump(600)
    assert len(up.submits) == 1


async def test_under_a_500_the_same_words_leave_it_open(up: Polling) -> None:
    up.takes_on(lambda request: Say(500, {}, NO))
    await loop_of(up, KEYLESS)
    id_ = up.submit(source=KEYLESS)
    await up.jump(1)
    assert row(up, id_)["state"] == "unknown"


async def test_a_submit_that_broke_is_made_once_more_under_its_key_and_has_then_failed(up: Polling) -> None:
    up.takes_on(lambda request: BROKEN)
    await loop_of(up, KEYED)
    id_ = up.submit(source=KEYED)
    await up.pass_time(60)
    found = row(up, id_)
    assert (found["state"], found["error_code"]) == ("failed", "provider_generation_failed")
    assert "GENERATION_FAILED: In its own words." in found["error"]
    assert len(up.submits) == 2
    assert len(keys(up)) == 1
    await up.jump(3600)
    assert len(up.submits) == 2


async def test_the_second_try_of_a_submit_that_broke_may_work(up: Polling) -> None:
    up.takes_on(lambda request: BROKEN if len(up.submits) == 1 else taken_on(KEYED))
    await loop_of(up, KEYED)
    id_ = up.submit(source=KEYED)
    await up.pass_time(60)
    assert (row(up, id_)["state"], row(up, id_)["error"]) == ("watching", None)
    assert len(keys(up)) == 1


async def test_a_submit_that_broke_after_a_lost_answer_has_its_own_second_try(up: Polling) -> None:
    up.takes_on(lambda request: [Say(502), BROKEN, taken_on(KEYED)][len(up.submits) - 1])
    await loop_of(up, KEYED)
    id_ = up.submit(source=KEYED)
    await up.pass_time(60)
    assert row(up, id_)["state"] == "watching"
    assert len(up.submits) == 3


async def test_a_maintenance_at_the_submit_is_waited_for_as_told(up: Polling) -> None:
    up.takes_on(lambda request: error(503, "MAINTENANCE") if len(up.submits) == 1 else taken_on(KEYED))
    await loop_of(up, KEYED)
    id_ = up.submit(source=KEYED)
    await up.pass_time(299)
    assert (row(up, id_)["state"], len(up.submits)) == ("submitting", 1)
    await up.pass_time(10)
    assert (row(up, id_)["state"], len(up.submits)) == ("watching", 2)
