"""Runs start at once, are tried again as the policy says, end as the handler did, and nobody disturbs another."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from receiver import Context, Event, JobCompleted, JobFailed, Reject, RetryLater, handler
from receiver.engine.dispatcher import Bounds
from receiver.model.retry import RetryPolicy
from receiver.store import runs
from tests.integration.engine_support import NOW, SECRET, Gate, Signal, engine
from tests.integration.intake_support import Lines, logged
from tests.stores import Store, contents_of

pytestmark = [pytest.mark.anyio, pytest.mark.every_database]

Ctx = Context[Any]


@pytest.fixture
def lines() -> Iterator[Lines]:
    with logged(secrets=(SECRET,)) as lines:
        yield lines


# started


async def test_a_new_event_starts_its_handler_at_once(store: Store, lines: Lines) -> None:
    @handler(on=JobCompleted)
    async def work(event: JobCompleted, ctx: Ctx) -> dict[str, Any]:
        return {"job": event.job_id, "attempt": ctx.attempt, "key": ctx.idempotency_key}

    async with engine(store, work) as up:
        await up.poll_once()  # it has looked, found nothing and waits; the clock never moves from here on
        [event_id] = up.new("job_1")
        await up.until_state("succeeded")
        row = up.run()
        assert row["result"] == {"job": "job_1", "attempt": 1, "key": f"{event_id}:work"}
        assert (row["attempt"], row["error"], row["lease_owner"], row["finished_at"]) == (1, None, None, NOW)
        assert up.attempts() == [(1, "succeeded")]
        assert up.metric('tts_receiver_runs_total{handler="work",outcome="succeeded"}') == 1
        [line] = lines.of("run.succeeded")
        assert (line["event"], line["job"], line["handler"], line["attempt"]) == (event_id, "job_1", "work", 1)


async def test_what_was_there_before_the_start_is_run_at_the_start(store: Store) -> None:
    @handler(on=Event)
    async def work(event: Event, ctx: Ctx) -> None: ...

    async with engine(store, work, start=False) as up:
        up.add(*(f"job_{number}" for number in range(50)))
        await up.start()
        await up.until_state("succeeded", 50)


async def test_a_run_that_another_process_made_due_is_found_within_a_second(store: Store) -> None:
    @handler(on=Event)
    async def work(event: Event, ctx: Ctx) -> None: ...

    async with engine(store, work) as up:
        await up.poll_once()
        up.add("job_1")  # and nobody tells this dispatcher
        assert up.run()["state"] == "pending"
        up.clock.advance(1)
        await up.until_state("succeeded")


async def test_a_handler_runs_only_for_the_events_it_subscribes_to(store: Store) -> None:
    @handler(on=JobFailed)
    async def alarm(event: JobFailed, ctx: Ctx) -> str:
        return event.type

    @handler(on=(JobCompleted, JobFailed))
    async def both(event: Event, ctx: Ctx) -> str:
        return event.type

    async with engine(store, alarm, both) as up:
        up.new("job_1")
        up.new("job_2", type="job.failed")
        await up.until_state("succeeded", 3)
        assert [(row["handler"], row["result"]) for row in up.runs()] == [
            ("both", "job.completed"), ("alarm", "job.failed"), ("both", "job.failed"),
        ]  # fmt: skip


async def test_a_plain_function_runs_beside_the_loop_and_may_wait_for_something_async(store: Store) -> None:
    @handler(on=Event)
    def work(event: Event, ctx: Ctx) -> str:
        async def answer() -> str:
            return "42"

        return ctx.wait(answer())

    async with engine(store, work) as up:
        up.new("job_1")
        await up.until_state("succeeded")
        assert up.run()["result"] == "42"


async def test_the_runs_of_a_handler_that_is_not_active_wait(store: Store) -> None:
    @handler(on=Event)
    async def work(event: Event, ctx: Ctx) -> None: ...

    async with engine(store, work) as up:
        up.new("job_1", handlers=("work", "retired"))
        await up.until_state("succeeded")
        await up.poll_once()
        assert (up.run(handler="retired")["state"], up.run(handler="retired")["attempt"]) == ("pending", 0)


# tried again


async def test_a_retry_waits_as_the_policy_says_and_runs_when_the_clock_reaches_it(store: Store, lines: Lines) -> None:
    @handler(on=Event, attempts=4)
    async def work(event: Event, ctx: Ctx) -> int:
        if ctx.attempt < 4:
            raise ValueError(f"not the {ctx.attempt}.")
        return ctx.attempt

    async with engine(store, work) as up:
        up.new("job_1")
        due = NOW
        for number, wait in ((1, 5.0), (2, 20.0), (3, 80.0)):  # chance is 0: each wait is its bound
            await up.until(lambda number=number: (up.run()["attempt"], up.run()["state"]) == (number, "pending"))
            due += wait
            assert (up.run()["due_at"], up.run()["error"]) == (due, f"ValueError: not the {number}.")
            up.clock.advance(wait - 0.5)
            await up.poll_once()
            assert up.run()["attempt"] == number
            up.clock.advance(0.5)
        await up.until_state("succeeded")
        assert up.run()["result"] == 4
        assert up.run()["error"] is None
        assert up.attempts() == [(1, "failed"), (2, "failed"), (3, "failed"), (4, "succeeded")]
        assert [line["again_in"] for line in lines.of("run.failed")] == [5.0, 20.0, 80.0]


@pytest.mark.parametrize(("chance", "wait"), [(0.0, 10.0), (0.75, 2.5)])
async def test_the_wait_has_full_jitter_and_a_cap(store: Store, chance: float, wait: float) -> None:
    @handler(on=Event)
    async def work(event: Event, ctx: Ctx) -> None:
        raise ValueError

    async with engine(store, work, chance=chance, backoff=RetryPolicy(base_seconds=50, cap_seconds=10)) as up:
        up.new("job_1")
        await up.until(lambda: up.attempts())
        assert up.run()["due_at"] == NOW + wait


async def test_a_run_is_dead_after_its_attempts_and_kept(store: Store, lines: Lines) -> None:
    @handler(on=Event, attempts=2)
    async def work(event: Event, ctx: Ctx) -> None:
        raise KeyError("episode")

    async with engine(store, work) as up:
        [event_id] = up.new("job_1")
        await up.until(lambda: up.attempts())
        up.clock.advance(5)
        await up.until_state("dead")
        row = up.run()
        assert (row["attempt"], row["error"], row["finished_at"]) == (2, "KeyError: 'episode'", NOW + 5)
        assert up.attempts() == [(1, "failed"), (2, "failed")]
        [line] = lines.of("run.dead")
        assert (line["level"], line["event"], line["attempt"]) == ("error", event_id, 2)
        assert "Traceback" in line["exception"]
        up.clock.advance(100_000)
        await up.poll_once()
        assert up.run() == row


async def test_a_replayed_dead_letter_has_all_its_attempts_again_and_the_same_key(store: Store) -> None:
    keys: list[tuple[int, str]] = []

    @handler(on=Event, attempts=1)
    async def work(event: Event, ctx: Ctx) -> None:
        keys.append((ctx.attempt, ctx.idempotency_key))
        if len(keys) == 1:
            raise Reject("the bucket is gone")

    async with engine(store, work) as up:
        [event_id] = up.new("job_1")
        await up.until_state("dead")
        assert up.database.transact(runs.replay, [(event_id, "work")], up.clock.now())
        up.dispatcher.wake()
        await up.until_state("succeeded")
        assert keys == [(1, f"{event_id}:work")] * 2
        assert up.attempts() == [(1, "rejected"), (2, "succeeded")]


async def test_reject_is_a_dead_letter_at_once(store: Store, lines: Lines) -> None:
    @handler(on=Event)
    async def work(event: Event, ctx: Ctx) -> None:
        raise Reject("there is no episode of this name")

    async with engine(store, work) as up:
        up.new("job_1")
        await up.until_state("dead")
        assert (up.run()["attempt"], up.run()["error"]) == (1, "there is no episode of this name")
        assert up.metric('tts_receiver_runs_total{handler="work",outcome="rejected"}') == 1
        [line] = lines.of("run.dead")
        assert "exception" not in line  # the handler said it on purpose


@pytest.mark.parametrize(("after", "wait"), [(600.0, 600.0), (0.1, 5.0)])
async def test_retry_later_is_a_floor_under_the_backoff(store: Store, after: float, wait: float) -> None:
    @handler(on=Event)
    async def work(event: Event, ctx: Ctx) -> None:
        raise RetryLater("the service is down", after=after)

    async with engine(store, work) as up:
        up.new("job_1")
        await up.until(lambda: up.attempts())
        assert (up.run()["state"], up.run()["due_at"]) == ("pending", NOW + wait)
        assert up.attempts() == [(1, "retry_later")]


async def test_retry_later_counts_as_an_attempt(store: Store) -> None:
    @handler(on=Event, attempts=1)
    async def work(event: Event, ctx: Ctx) -> None:
        raise RetryLater("the service is down", after=1)

    async with engine(store, work) as up:
        up.new("job_1")
        await up.until_state("dead")


# timed out


async def test_an_async_handler_that_never_returns_is_timed_out(store: Store) -> None:
    cancelled: list[bool] = []

    @handler(on=Event, timeout=0.05)
    async def work(event: Event, ctx: Ctx) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    async with engine(store, work) as up:
        up.new("job_1")
        timed_out = 'tts_receiver_runs_total{handler="work",outcome="timeout"}'
        await up.until(lambda: up.metric(timed_out) == 1 and cancelled)
        assert up.run()["error"] == "TimeoutError: not done after 0.05 s"
        assert up.attempts() == [(1, "timeout")]


async def test_a_plain_handler_that_never_returns_is_timed_out_and_its_thread_is_counted(store: Store) -> None:
    gate = Gate(Signal())

    @handler(on=JobCompleted, timeout=0.05, attempts=1)
    def work(event: Event, ctx: Ctx) -> str:
        gate.block()
        return "too late"

    @handler(on=JobFailed)
    async def other(event: Event, ctx: Ctx) -> None: ...

    async with engine(store, work, other, signal=gate._signal) as up:
        up.new("job_1")
        await up.until_state("dead")
        assert up.attempts() == [(1, "timeout")]
        await up.until(lambda: up.metric("tts_receiver_abandoned_threads") == 1)
        gate.open()
        await up.until(lambda: gate.inside == 0)
        up.new("job_2", type="job.failed")  # another run passes through the loop after the thread's own end
        await up.until_state("succeeded")
        assert up.metric("tts_receiver_abandoned_threads") == 0
        assert up.runs()[0]["result"] is None


async def test_an_async_handler_that_swallows_its_cancellation_is_timed_out_all_the_same(store: Store) -> None:
    signal = Signal()
    swallowed: list[bool] = []
    release = Gate(signal)

    @handler(on=JobCompleted, timeout=0.05, attempts=1)
    async def stubborn(event: Event, ctx: Ctx) -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            swallowed.append(True)
        await release.wait_open()
        return "too late"

    @handler(on=JobFailed)
    async def other(event: Event, ctx: Ctx) -> None: ...

    async with engine(store, stubborn, other, signal=signal) as up:
        up.new("job_1")
        await up.until_state("dead")
        await up.until(lambda: swallowed)
        up.new("job_2", type="job.failed")
        await up.until_state("succeeded")
        release.open()
        await up.until(lambda: release.inside == 0)
        assert (up.run(handler="stubborn")["state"], up.run(handler="stubborn")["result"]) == ("dead", None)


# nobody disturbs another


async def test_a_raising_handler_does_not_disturb_another_of_the_same_event(store: Store) -> None:
    @handler(on=Event)
    async def bad(event: Event, ctx: Ctx) -> None:
        raise RuntimeError("bad")

    @handler(on=Event)
    def bad_in_a_thread(event: Event, ctx: Ctx) -> None:
        raise RuntimeError("bad")

    @handler(on=Event)
    async def good(event: Event, ctx: Ctx) -> str:
        return "done"

    async with engine(store, bad, bad_in_a_thread, good) as up:
        up.new("job_1")
        await up.until(lambda: len(up.attempts()) == 3)
        assert {row["handler"]: (row["state"], row["attempt"]) for row in up.runs()} == {
            "bad": ("pending", 1),
            "bad_in_a_thread": ("pending", 1),
            "good": ("succeeded", 1),
        }
        up.clock.advance(5)
        await up.until(lambda: len(up.attempts()) == 5)
        assert up.run(handler="good")["attempt"] == 1


@pytest.mark.parametrize("word", ["SystemExit", "KeyboardInterrupt"])
@pytest.mark.parametrize("kind", ["async", "plain", "task"])
async def test_a_handler_that_exits_ends_its_attempt_and_not_the_receiver(store: Store, word: str, kind: str) -> None:
    error = {"SystemExit": SystemExit, "KeyboardInterrupt": KeyboardInterrupt}[word]

    async def leave() -> None:
        raise error("enough")

    async def work_async(event: Event, ctx: Ctx) -> None:
        await leave()

    async def work_task(event: Event, ctx: Ctx) -> None:
        await asyncio.gather(leave())

    def work_plain(event: Event, ctx: Ctx) -> None:
        raise error("enough")

    @handler(on=JobFailed)
    async def after(event: Event, ctx: Ctx) -> None: ...

    work = handler(on=JobCompleted, name="work")({"async": work_async, "plain": work_plain, "task": work_task}[kind])
    async with engine(store, work, after) as up:
        up.new("job_1")
        await up.until(lambda: up.attempts())
        assert (up.run()["state"], up.run()["error"]) == ("pending", f"{word}: enough")
        up.new("job_2", type="job.failed")
        await up.until_state("succeeded")


async def test_a_handler_whose_own_task_was_cancelled_has_failed_and_is_not_given_back(store: Store) -> None:
    @handler(on=Event, attempts=2)
    async def work(event: Event, ctx: Ctx) -> None:
        inner = asyncio.ensure_future(asyncio.Event().wait())
        inner.cancel()
        await inner

    async with engine(store, work) as up:
        up.new("job_1")
        await up.until(lambda: up.attempts())
        assert up.attempts() == [(1, "failed")]
        assert "CancelledError" in up.run()["error"]
        up.clock.advance(5)
        await up.until_state("dead")


class MuteError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("a name \udcff"), "ValueError: a name \\udcff"),
        (ValueError("nul \0"), "ValueError: nul \\x00"),
        (MuteError(), "MuteError"),
        (ExceptionGroup("many", [ValueError(1)]), "ExceptionGroup: many (1 sub-exception)"),
        (ValueError("x" * 10_000), "ValueError: " + "x" * 1987 + "…"),
    ],
    ids=["surrogate", "nul", "mute", "group", "long"],
)
async def test_an_error_that_is_hard_to_write_down_is_written_down(
    store: Store, lines: Lines, error: Exception, text: str
) -> None:
    @handler(on=Event, attempts=1)
    async def work(event: Event, ctx: Ctx) -> None:
        raise error

    async with engine(store, work) as up:
        up.new("job_1")
        await up.until_state("dead")
        assert up.run()["error"] == text
        [line] = lines.of("run.dead")
        assert line["error"] == text


# results


def holds_itself() -> list[Any]:
    one: list[Any] = []
    one.append(one)
    return one


@pytest.mark.parametrize(
    ("returned", "kept"),
    [
        (None, None),
        ({"n": 1, "path": Path("/a"), "raw": b"\xff"}, {"n": 1, "path": "/a", "raw": "_w=="}),
        ({"nan": float("nan"), "far": float("inf")}, {"nan": "NaN", "far": "Infinity"}),
        ((1, {2}), [1, [2]]),
        ("x" * 70_000, {"truncated": True, "bytes": 70_002}),
        (holds_itself(), {"not_json": "list", "reason": "ValueError"}),
        ("\udcff", {"not_json": "str", "reason": "PydanticSerializationError"}),
    ],
    ids=["none", "types", "numbers", "containers", "long", "circle", "surrogate"],
)
async def test_a_result_is_kept_as_bounded_json_and_never_undoes_what_was_done(
    store: Store, returned: Any, kept: Any
) -> None:
    @handler(on=Event)
    async def work(event: Event, ctx: Ctx) -> Any:
        return returned

    async with engine(store, work) as up:
        up.new("job_1")
        await up.until_state("succeeded")
        assert up.run()["result"] == kept
        assert up.attempts() == [(1, "succeeded")]


async def test_secrets_are_cut_out_of_an_error_in_row_attempt_and_log(store: Store, lines: Lines) -> None:
    @handler(on=Event, attempts=1)
    async def work(event: Event, ctx: Ctx) -> None:
        raise ValueError(f"GET https://user:pass@api.test/a?token=t0ken with {SECRET}")

    async with engine(store, work) as up:
        up.new("job_1")
        await up.until_state("dead")
        assert up.run()["error"] == "ValueError: GET https://api.test/a?[redacted] with [redacted]"
        assert lines.of("run.dead")
    everything = lines.text + json.dumps([row["error"] for row in up.runs()]) + contents_of(store)
    for secret in (SECRET, "t0ken", "user:pass"):
        assert secret not in everything


# bounds


async def test_no_more_handlers_run_at_once_than_the_bound_and_all_run_in_the_end(store: Store) -> None:
    gate = Gate(Signal())

    @handler(on=Event)
    async def work(event: Event, ctx: Ctx) -> None:
        await gate.wait_open()

    async with engine(store, work, signal=gate._signal, bounds=Bounds(concurrency=3)) as up:
        up.new(*(f"job_{number}" for number in range(10)))
        await up.until(lambda: gate.entered == 3)
        await up.poll_once()
        assert up.states() == {"running": 3, "pending": 7}
        gate.open()
        await up.until_state("succeeded", 10)
        assert gate.peak == 3


async def test_a_handlers_own_bound_holds_it_alone(store: Store) -> None:
    signal = Signal()
    narrow_gate, wide_gate = Gate(signal), Gate(signal)

    @handler(on=Event, concurrency=2)
    def narrow(event: Event, ctx: Ctx) -> None:
        narrow_gate.block()

    @handler(on=Event)
    async def wide(event: Event, ctx: Ctx) -> None:
        await wide_gate.wait_open()

    async with engine(store, narrow, wide, signal=signal) as up:
        up.new(*(f"job_{number}" for number in range(6)))
        await up.until(lambda: narrow_gate.entered == 2 and wide_gate.entered == 6)
        await up.poll_once()
        assert len(up.runs(handler="narrow", state="running")) == 2
        narrow_gate.open()
        wide_gate.open()
        await up.until_state("succeeded", 12)
        assert (narrow_gate.peak, wide_gate.peak) == (2, 6)


async def test_one_handlers_backlog_keeps_no_other_handler_waiting(store: Store) -> None:
    order: list[str] = []

    @handler(on=JobCompleted)
    async def busy(event: Event, ctx: Ctx) -> None:
        order.append("busy")

    @handler(on=JobFailed)
    async def other(event: Event, ctx: Ctx) -> None:
        order.append("other")

    async with engine(store, busy, other, bounds=Bounds(concurrency=1), start=False) as up:
        up.add(*(f"job_{number}" for number in range(20)))
        up.add("job_x", "job_y", type="job.failed")
        await up.start()
        await up.until_state("succeeded", 22)
        assert sorted(order[:2]) == ["busy", "other"]  # one each: there are never fewer slots than handlers


async def test_a_hundred_handlers_that_wait_do_not_keep_a_new_one_waiting(store: Store) -> None:
    gate = Gate(Signal())

    @handler(on=JobCompleted)
    async def waits(event: Event, ctx: Ctx) -> None:
        await gate.wait_open()

    @handler(on=JobFailed)
    async def quick(event: Event, ctx: Ctx) -> None: ...

    async with engine(store, waits, quick, signal=gate._signal, bounds=Bounds(concurrency=200)) as up:
        up.new(*(f"job_{number}" for number in range(100)))
        await up.until(lambda: gate.entered == 100)
        up.new("job_x", type="job.failed")
        await up.until_state("succeeded")
        assert gate.inside == 100
        gate.open()
        await up.until_state("succeeded", 101)
