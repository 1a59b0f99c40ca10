"""Which lines are thinned: the repetitions of a few messages, and never what tells of another event."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from receiver.logs import thinning as module
from receiver.logs.thinning import FIRST_LINES, THINNED, WINDOW_SECONDS, Thinning
from tests.clocks import SetClock


class Thinned:
    """A processor whose lines that passed are kept."""

    def __init__(self) -> None:
        self.clock = SetClock(1000.0)
        self.thinning = Thinning(lambda level, event: f"{level} {event}", self.clock)
        self.passed: list[dict[str, Any]] = []

    def log(self, message: str, method: str = "error", **fields: Any) -> None:
        with contextlib.suppress(structlog.DropEvent):
            self.passed.append(dict(self.thinning(None, method, {"event": message, **fields})))


@pytest.fixture
def thinned() -> Thinned:
    return Thinned()


def test_the_first_lines_are_written_and_one_a_minute_counts_the_rest(thinned: Thinned) -> None:
    for number in range(100):
        thinned.log("run.result_not_stored", event_id="evt_1", handler="h", detail=f"full {number}")
    assert [line["detail"] for line in thinned.passed] == [f"full {number}" for number in range(FIRST_LINES)]
    assert thinned.thinning.due_lines() == []
    assert thinned.thinning.seconds_until_due() == WINDOW_SECONDS
    thinned.clock.time += WINDOW_SECONDS
    same = {"event": "run.result_not_stored", "event_id": "evt_1", "handler": "h"}
    assert thinned.thinning.due_lines() == [f"error {same | {'repeated': 95, 'seconds': 60}}"]
    for _ in range(7):
        thinned.log("run.result_not_stored", event_id="evt_1", handler="h")
    assert len(thinned.passed) == FIRST_LINES
    thinned.clock.time += WINDOW_SECONDS
    assert thinned.thinning.due_lines() == [f"error {same | {'repeated': 7, 'seconds': 60}}"]
    thinned.clock.time += WINDOW_SECONDS
    assert thinned.thinning.due_lines() == []
    assert thinned.thinning.seconds_until_due() is None
    thinned.log("run.result_not_stored", event_id="evt_1", handler="h")
    assert len(thinned.passed) == FIRST_LINES + 1


def test_each_event_has_its_own_first_lines(thinned: Thinned) -> None:
    for number in range(50):
        thinned.log("run.result_not_stored", event_id=f"evt_{number}", handler="h")
    assert len(thinned.passed) == 50


@pytest.mark.parametrize("message", ["run.dead", "run.failed", "job.not_submitted", "delivery.stale", "run.lease_lost"])
def test_facts_about_an_event_are_never_thinned(thinned: Thinned, message: str) -> None:
    for _ in range(100):
        thinned.log(message, event_id="evt_1", handler="h")
    assert len(thinned.passed) == 100
    assert message not in THINNED


def test_what_was_left_out_last_is_told_at_the_end(thinned: Thinned) -> None:
    for _ in range(FIRST_LINES + 2):
        thinned.log("dispatch.store_unavailable")
    [line] = thinned.thinning.remaining_lines()
    assert "'repeated': 2" in line


def test_more_kinds_than_are_kept_in_memory_are_written(thinned: Thinned, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WINDOWS", 10)
    for _ in range(FIRST_LINES + 1):
        for number in range(12):
            thinned.log("delivery.refused", source=f"{number}", outcome="mismatch")
    assert len(thinned.passed) == 12 * (FIRST_LINES + 1) - 10


@given(st.lists(st.tuples(st.sampled_from(sorted(THINNED)), st.integers(0, 3), st.floats(0, 100))))
def test_every_line_is_written_or_counted(calls: list[tuple[str, int, float]]) -> None:
    thinned = Thinned()
    written: list[str] = []
    for message, number, seconds in calls:
        thinned.clock.time += seconds
        written += thinned.thinning.due_lines()
        thinned.log(message, **dict.fromkeys(THINNED[message], number))
    written += thinned.thinning.remaining_lines()
    counted = sum(int(line.partition("'repeated': ")[2].partition(",")[0]) for line in written)
    assert len(thinned.passed) + counted == len(calls)
