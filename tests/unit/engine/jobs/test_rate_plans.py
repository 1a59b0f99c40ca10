"""When jobs are submitted and polled where the provider reports rate limits, in buckets, to several processes."""

from __future__ import annotations

from collections.abc import Callable
from email.utils import formatdate

import pytest
from sqlalchemy import text

from receiver.model.poll_schedule import PollSchedule
from receiver.simulator.limits import RateLimit
from tests.integration.intake_support import Lines
from tests.integration.outbound_support import ReceivedRequest, Say
from tests.unit.engine.jobs.support import COMPLETED, PENDING, Polling, job_of, status

pytestmark = pytest.mark.anyio

WINDOW = 900.0
SCHEDULE = PollSchedule(first_seconds=3.0, min_seconds=1.0, max_seconds=60.0)
"""The one of an account of `aitts` without webhooks."""


class Plan:
    """A provider whose jobs take a while, with a limit of requests for each bucket; no two requests are free.

    Args:
        seconds: how long its jobs take.
        bucket_of: the bucket of a method.
        ahead: how far its clock is ahead.
        reset: the form of `X-RateLimit-Reset`, of the unix seconds of the reset.
    """

    def __init__(
        self,
        up: Polling,
        *,
        limit: int = 10,
        seconds: float = 40.0,
        bucket_of: Callable[[str], str] = lambda method: "account",
        ahead: float = 0.0,
        reset: Callable[[float], str] = lambda at: str(int(at)),
    ) -> None:
        self.up, self.seconds, self.bucket_of, self.ahead, self.reset = up, seconds, bucket_of, ahead, reset
        self.limits = {bucket_of(method): RateLimit(limit, WINDOW, bucket_of(method)) for method in ("GET", "POST")}
        self.begun: dict[str, float] = {}
        self.refused: list[str] = []
        self.ended: dict[str, float] = {}
        """When we heard of each job's end, in seconds from its submit."""
        up.server.behave = self.answer

    async def process(self) -> None:
        """Another process, which looks at the store every minute only, unless it is woken."""
        await self.up.poller(rate=1.0, schedule=SCHEDULE, poll_seconds=lambda usual: 60.0)

    def submit(self) -> None:
        self.up.submit()
        for poller in self.up.pollers:
            poller.wake()

    def answer(self, request: ReceivedRequest) -> Say:
        now = self.up.clock.now() + self.ahead
        limit = self.limits[self.bucket_of(request.method)]
        taken = limit.take(now)
        said = self._body(request) if taken else Say(429, {"Retry-After": str(limit.seconds_left(now))})
        if not taken:
            self.refused.append(request.method)
        headers = limit.headers(now)
        headers["X-RateLimit-Reset"] = self.reset(float(headers["X-RateLimit-Reset"]))
        if not headers["X-RateLimit-Bucket"]:
            del headers["X-RateLimit-Bucket"]
        self.up.signal.notify()
        return Say(said.status, {**said.headers, **headers, "Date": formatdate(now, usegmt=True)}, said.body)

    def _body(self, request: ReceivedRequest) -> Say:
        now = self.up.clock.now()
        if request.method == "POST":
            job = f"job-{len(self.begun)}"
            self.begun[job] = now
            return status("PENDING", jobId=job)
        job = job_of(request)
        self.up.polls[job].append(now)
        if now < self.begun.setdefault(job, now) + self.seconds:
            return PENDING
        self.ended.setdefault(job, now - self.begun[job])
        return COMPLETED


def apart(method: str) -> str:
    return "submit" if method == "POST" else "status"


def as_date(at: float) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(at, UTC).isoformat()


@pytest.mark.parametrize("bucket_of", [lambda method: "account", apart, lambda method: ""])
@pytest.mark.parametrize("ahead", [0.0, 7200.0, -200.0])
async def test_a_job_of_40_seconds_is_known_within_90_by_10_requests_in_15_minutes(
    up: Polling, bucket_of: Callable[[str], str], ahead: float
) -> None:
    plan = Plan(up, bucket_of=bucket_of, ahead=ahead)
    await plan.process()
    plan.submit()
    await up.pass_time(90)
    assert up.states() == {"completed": 1}
    assert plan.ended["job-0"] <= 90
    assert plan.refused == []


@pytest.mark.parametrize("reset", [lambda at: str(int(at * 1000)), as_date])
async def test_each_form_of_the_reset_is_followed(up: Polling, reset: Callable[[float], str]) -> None:
    plan = Plan(up, reset=reset)
    await plan.process()
    plan.submit()
    await up.pass_time(90)
    assert (up.states(), plan.refused) == ({"completed": 1}, [])


async def test_later_jobs_are_polled_when_they_are_expected_to_end(up: Polling) -> None:
    plan = Plan(up)
    await plan.process()
    for _ in range(6):
        plan.submit()
        await up.pass_time(WINDOW + 10)
    polls = [len(up.polls[job]) for job in plan.begun]
    assert polls[-1] < polls[0]
    assert polls[-1] <= 3
    assert all(after <= 75 for after in list(plan.ended.values())[1:])


async def test_a_used_up_bucket_of_submits_does_not_stop_polls(up: Polling) -> None:
    plan = Plan(up, limit=3, bucket_of=apart, seconds=10.0)
    await plan.process()
    for _ in range(5):
        plan.submit()
    await up.pass_time(WINDOW - 10)
    assert len(plan.begun) == 3
    assert up.states()["completed"] >= 2
    assert "POST" not in plan.refused
    await up.pass_time(2 * WINDOW)
    assert up.states() == {"completed": 5}
    assert plan.refused == []


async def test_a_used_up_bucket_of_polls_does_not_stop_submits(up: Polling) -> None:
    plan = Plan(up, limit=3, bucket_of=apart, seconds=1e9)
    await plan.process()
    plan.submit()
    await up.pass_time(600)
    plan.limits["status"]._used = 3
    plan.submit()
    await up.pass_time(5)
    assert len(plan.begun) == 2


@pytest.mark.parametrize("store_kind", ["sqlite", "postgresql"])
async def test_many_jobs_share_the_requests_of_all_processes_and_each_gets_its_turn(up: Polling) -> None:
    plan = Plan(up, seconds=1e9)
    ids = [f"old-{number}" for number in range(12)]
    up.watch(*ids, deadline=1e6)
    for _ in range(2):
        await plan.process()
    await up.pass_time(3 * WINDOW)
    polls = [len(up.polls[job]) for job in ids]
    assert plan.refused == []
    assert min(polls) >= 1
    assert max(polls) - min(polls) <= 2
    assert sum(polls) >= 3 * 7


async def test_submits_leave_requests_to_the_polls_of_what_was_submitted(up: Polling) -> None:
    plan = Plan(up, seconds=20.0)
    await plan.process()
    for _ in range(12):
        plan.submit()
    await up.pass_time(WINDOW - 5)
    assert 3 <= len(plan.begun) <= 7
    assert up.states()["completed"] >= 3
    await up.pass_time(6 * WINDOW)
    assert up.states() == {"completed": 12}
    assert plan.refused == []


async def test_a_429_pauses_only_its_bucket(up: Polling) -> None:
    plan = Plan(up, bucket_of=apart, seconds=30.0)
    await plan.process()
    plan.submit()
    await up.pass_time(1)
    plan.limits["submit"]._used = 10  # by another program with this key
    plan.submit()
    await up.pass_time(80)
    assert plan.refused == ["POST"]
    assert up.states() == {"completed": 1, "submitting": 1}
    assert up.pause() is None


async def test_without_headers_polls_are_as_the_schedule_says(up: Polling) -> None:
    up.takes_on(lambda request: status("PENDING", jobId="a"))
    await up.poller()
    up.submit()
    await up.pass_time(60)
    assert len(up.polls["a"]) >= 7
    assert up.times[0] == 0


async def test_a_limit_that_cannot_be_stored_loses_no_submit(up: Polling, lines: Lines) -> None:
    plan = Plan(up)
    await plan.process()
    with up.writing() as database:
        refuse = "CREATE TRIGGER refuse BEFORE INSERT ON rate_buckets BEGIN SELECT RAISE(ABORT, 'refused'); END"
        database.transact(lambda connection: connection.execute(text(refuse)))
    plan.submit()
    await up.pass_time(5)
    assert up.states() == {"watching": 1}
    assert lines.of("provider.rate_limit_not_stored")
