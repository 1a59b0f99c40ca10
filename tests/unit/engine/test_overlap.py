"""When a second turn is written beside the first, and which slots each may use."""

from __future__ import annotations

import asyncio

import pytest

from receiver.engine.turn_claims import FIRST, OVERLAP_RUNS, SECOND, Overlap
from receiver.model.slots import Slots

pytestmark = pytest.mark.anyio

SLOTS = Slots(4 * OVERLAP_RUNS, {"a": None})
HALF = SLOTS.total // 2


def overlap(slots: Slots = SLOTS, *, two_writers: bool = True, plain: bool = True) -> Overlap:
    return Overlap(slots, two_writers=two_writers, plain=lambda: plain, ended=lambda: None)


def test_each_of_two_turns_starts_half_of_the_runs_and_all_slots_are_used_once() -> None:
    both = overlap()
    with both.first():
        assert both.free(FIRST, {}, 0).available("a") == HALF
        assert both.free(SECOND, {"a": 10}, 0).available("a") == HALF - 10


def test_slots_of_a_turn_that_has_ended_are_counted_by_its_runs() -> None:
    both = overlap()
    with both.first():
        both.free(FIRST, {}, 0)
    assert both.free(SECOND, {"a": HALF}, 0).available("a") == HALF


@pytest.mark.parametrize(
    ("both", "results", "begins"),
    [
        (overlap(), OVERLAP_RUNS, True),
        (overlap(), OVERLAP_RUNS - 1, False),
        (overlap(plain=False), OVERLAP_RUNS, False),
        (overlap(two_writers=False), OVERLAP_RUNS, False),
        (overlap(Slots(2 * OVERLAP_RUNS - 1, {"a": None})), OVERLAP_RUNS, False),
        (overlap(Slots(SLOTS.total, {"a": 9}, {"a": 9})), OVERLAP_RUNS, False),
    ],
)
def test_a_second_turn_begins_with_many_results_while_a_first_one_that_allows_it_is_written(
    both: Overlap, results: int, *, begins: bool
) -> None:
    assert not both.may_begin(results)
    with both.first():
        assert both.may_begin(results) is begins
    assert not both.may_begin(results)


async def test_there_are_never_three() -> None:
    both, done = overlap(), asyncio.Event()
    with both.first():
        both.begin(done.wait())
        assert not both.may_begin(SLOTS.total)
    waiting = asyncio.ensure_future(both.wait(OVERLAP_RUNS - 1))
    await asyncio.sleep(0)
    await both.wait(OVERLAP_RUNS)  # may be written beside it
    assert not waiting.done()
    done.set()
    await waiting


async def test_a_turn_whose_order_matters_waits_for_the_second_one() -> None:
    plain, done = [True], asyncio.Event()
    both = Overlap(SLOTS, two_writers=True, plain=lambda: plain[0], ended=lambda: None)
    with both.first():
        both.begin(done.wait())
    plain[0] = False
    waiting = asyncio.ensure_future(both.wait(SLOTS.total))
    await asyncio.sleep(0)
    assert not waiting.done()
    done.set()
    await waiting


async def test_a_second_turn_that_breaks_frees_its_slots_and_has_the_next_one_taken() -> None:
    ended: list[bool] = []
    both = Overlap(SLOTS, two_writers=True, plain=lambda: True, ended=lambda: ended.append(True))

    async def broken() -> None:
        raise RuntimeError

    both.free(SECOND, {}, 0)
    with both.first():
        both.begin(broken())
    await both.wait(0)
    assert ended
    assert both.free(FIRST, {"a": HALF}, 0).available("a") == HALF
