"""How slots are shared: each handler keeps a part, the rest is lent, and no bound is passed."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.model.slots import Slots

NAMES = [f"h{number}" for number in range(12)]
bounds = st.dictionaries(st.sampled_from(NAMES), st.none() | st.integers(1, 30), min_size=1)
due = st.dictionaries(st.sampled_from(NAMES), st.integers(0, 40))


def claimed(slots: Slots, running: Counter[str], due: dict[str, int], turn: int = 0) -> Counter[str]:
    """What one claim starts where so many runs are due."""
    free = slots.free(running, turn)
    started: Counter[str] = Counter()
    for handler, available in free.offers():
        runs = min(available, due.get(handler, 0) - started[handler])
        free.take(handler, runs)
        started[handler] += runs
    return +started


def kept_busy(slots: Slots, running: Counter[str], due: dict[str, int]) -> Counter[str]:
    """What is at work when nothing more can be started."""
    left, running = Counter(due), Counter(running)
    for turn in range(1000):
        started = claimed(slots, running, left, turn)
        if not started.total():
            break
        running += started
        left -= started
    return running


@pytest.mark.parametrize(
    ("concurrency", "handlers", "kept", "limit"),
    [(16, 1, 8, 16), (16, 2, 4, 12), (16, 3, 2, 12), (16, 8, 1, 9), (16, 16, 1, 1), (1, 2, 1, 1), (1, 1, 1, 1)],
)
def test_half_of_the_slots_are_kept_in_equal_parts_and_one_handler_may_borrow_the_other_half(
    concurrency: int, handlers: int, kept: int, limit: int
) -> None:
    slots = Slots(concurrency, dict.fromkeys(map(str, range(handlers))))
    assert set(slots.reserved.values()) == {kept}
    assert set(slots.limits.values()) == {limit}


def test_what_a_narrow_handler_cannot_use_is_common() -> None:
    slots = Slots(16, {"narrow": 1, "wide": None})
    assert (slots.reserved, slots.limits) == ({"narrow": 1, "wide": 4}, {"narrow": 1, "wide": 15})


def test_a_backlog_of_each_gets_an_equal_part_at_once() -> None:
    slots = Slots(16, {"a": None, "b": None})
    assert claimed(slots, Counter(), {"a": 100, "b": 100}) == {"a": 8, "b": 8}


def test_a_backlog_of_one_gets_its_part_and_everything_common_at_once() -> None:
    slots = Slots(16, {"a": None, "b": None})
    assert claimed(slots, Counter(), {"a": 100}) == {"a": 12}
    assert claimed(slots, Counter(a=12), {"a": 100, "b": 100}) == {"b": 4}


def test_a_slot_that_is_given_back_goes_to_whoever_has_the_fewest_runs() -> None:
    slots = Slots(16, {"a": None, "b": None})
    assert claimed(slots, Counter(a=11, b=4), {"a": 100, "b": 100}) == {"b": 1}


def test_handlers_with_equally_many_runs_come_first_in_turn() -> None:
    slots = Slots(3, {"a": None, "b": None})
    assert [next(slots.free({}, turn).offers())[0] for turn in range(3)] == ["a", "b", "a"]


def test_no_handler_no_slot() -> None:
    assert list(Slots(16, {}).free({}).offers()) == []


@given(concurrency=st.integers(1, 40), bounds=bounds, due=due)
def test_no_bound_is_passed_and_the_slots_are_used_as_far_as_they_may_be(
    concurrency: int, bounds: dict[str, int | None], due: dict[str, int]
) -> None:
    slots = Slots(concurrency, bounds)
    running = kept_busy(slots, Counter(), due)
    assert running.total() <= max(concurrency, len(bounds))
    for name, bound in bounds.items():
        assert running[name] <= min(slots.limits[name], slots.total if bound is None else bound)
        assert running[name] >= min(slots.reserved[name], due.get(name, 0))
    idle = slots.total - running.total()
    waiting = [name for name in bounds if due.get(name, 0) > running[name] and running[name] < slots.limits[name]]
    unused = sum(slots.reserved[name] - min(slots.reserved[name], running[name]) for name in bounds)
    assert not waiting or idle == unused


@given(concurrency=st.integers(1, 40), bounds=bounds, due=due, late=st.data())
def test_whatever_the_others_hold_a_handler_can_start_all_that_is_kept_for_it(
    concurrency: int, bounds: dict[str, int | None], due: dict[str, int], late: st.DataObject
) -> None:
    slots = Slots(concurrency, bounds)
    name = late.draw(st.sampled_from(sorted(bounds)))
    running = kept_busy(slots, Counter(), {**due, name: 0})
    assert 1 <= slots.reserved[name] <= slots.free(running).available(name)
    assert name in slots.free(running).startable()


def test_another_process_may_start_what_ended_here_and_was_not_replaced() -> None:
    slots = Slots(9, {"narrow": 2, "wide": None}, {"narrow": 2})
    assert slots.frees(["narrow", "wide"], ["wide"])
    assert not slots.frees(["narrow", "wide"], ["narrow"])
    assert not slots.frees(["wide"], [])
    assert not Slots(9, {"narrow": 2}).frees(["narrow"], [])
