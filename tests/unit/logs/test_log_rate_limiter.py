"""Which lines are rate limited: the repetitions of a few messages, and never what reports another event."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from receiver.logs import rate_limiter as module
from receiver.logs.rate_limiter import FIRST_LINES, RATE_LIMITED, WINDOW_SECONDS, LogRateLimiter
from tests.clocks import SetClock


class Limited:
    """A processor whose lines that passed are kept."""

    def __init__(self) -> None:
        self.clock = SetClock(1000.0)
        self.limiter = LogRateLimiter(lambda level, event: f"{level} {event}", self.clock)
        self.passed: list[dict[str, Any]] = []

    def log(self, message: str, method: str = "error", **fields: Any) -> None:
        with contextlib.suppress(structlog.DropEvent):
            self.passed.append(dict(self.limiter(None, method, {"event": message, **fields})))


@pytest.fixture
def limited() -> Limited:
    return Limited()


def test_the_first_lines_are_written_and_one_a_minute_counts_the_rest(limited: Limited) -> None:
    for number in range(100):
        limited.log("run.result_not_stored", event_id="evt_1", handler="h", detail=f"full {number}")
    assert [line["detail"] for line in limited.passed] == [f"full {number}" for number in range(FIRST_LINES)]
    assert limited.limiter.due_lines() == []
    assert limited.limiter.seconds_until_due() == WINDOW_SECONDS
    limited.clock.time += WINDOW_SECONDS
    same = {"event": "run.result_not_stored", "event_id": "evt_1", "handler": "h"}
    assert limited.limiter.due_lines() == [f"error {same | {'repeated': 95, 'seconds': 60}}"]
    for _ in range(7):
        limited.log("run.result_not_stored", event_id="evt_1", handler="h")
    assert len(limited.passed) == FIRST_LINES
    limited.clock.time += WINDOW_SECONDS
    assert limited.limiter.due_lines() == [f"error {same | {'repeated': 7, 'seconds': 60}}"]
    limited.clock.time += WINDOW_SECONDS
    assert limited.limiter.due_lines() == []
    assert limited.limiter.seconds_until_due() is None
    limited.log("run.result_not_stored", event_id="evt_1", handler="h")
    assert len(limited.passed) == FIRST_LINES + 1


def test_each_event_has_its_own_first_lines(limited: Limited) -> None:
    for number in range(50):
        limited.log("run.result_not_stored", event_id=f"evt_{number}", handler="h")
    assert len(limited.passed) == 50


@pytest.mark.parametrize("message", ["run.dead", "run.failed", "job.not_submitted", "delivery.stale", "run.lease_lost"])
def test_facts_about_an_event_are_never_rate_limited(limited: Limited, message: str) -> None:
    for _ in range(100):
        limited.log(message, event_id="evt_1", handler="h")
    assert len(limited.passed) == 100
    assert message not in RATE_LIMITED


def test_what_was_left_out_last_is_counted_at_the_end(limited: Limited) -> None:
    for _ in range(FIRST_LINES + 2):
        limited.log("dispatch.store_unavailable")
    [line] = limited.limiter.remaining_lines()
    assert "'repeated': 2" in line


def test_more_kinds_than_are_kept_in_memory_are_written(limited: Limited, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WINDOWS", 10)
    for _ in range(FIRST_LINES + 1):
        for number in range(12):
            limited.log("delivery.refused", source=f"{number}", outcome="mismatch")
    assert len(limited.passed) == 12 * (FIRST_LINES + 1) - 10


@given(st.lists(st.tuples(st.sampled_from(sorted(RATE_LIMITED)), st.integers(0, 3), st.floats(0, 100))))
def test_every_line_is_written_or_counted(calls: list[tuple[str, int, float]]) -> None:
    limited = Limited()
    written: list[str] = []
    for message, number, seconds in calls:
        limited.clock.time += seconds
        written += limited.limiter.due_lines()
        limited.log(message, **dict.fromkeys(RATE_LIMITED[message], number))
    written += limited.limiter.remaining_lines()
    counted = sum(int(line.partition("'repeated': ")[2].partition(",")[0]) for line in written)
    assert len(limited.passed) + counted == len(calls)
