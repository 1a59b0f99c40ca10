"""How much is prefetched: what a handler gets through, nothing where it is slow, and never more than its shares."""

from __future__ import annotations

import pytest

from receiver.engine.turn_claims import MAX_PREFETCH_FACTOR, MAX_SLOTS, PREFETCH_SECONDS, PrefetchedClaims
from receiver.model.slots import Slots
from receiver.store.claims import Claim

SLOTS = Slots(5, {"a": None, "b": 2})
LIMIT = SLOTS.limits["a"]


def ended(prefetched: PrefetchedClaims, runs: int, at: float, seconds: float = 0.01, handler: str = "a") -> None:
    for _ in range(runs):
        prefetched.ended(handler, seconds, at)


def claims(handler: str, number: int) -> list[Claim]:
    return [Claim(f"evt_{n}", handler, 1, 1, float(n), 0.0, {}) for n in range(number)]


@pytest.fixture
def prefetched() -> PrefetchedClaims:
    return PrefetchedClaims(SLOTS)


def test_nothing_is_wanted_of_a_handler_that_has_not_run_or_has_slots_enough(prefetched: PrefetchedClaims) -> None:
    assert prefetched.wanted(0.0) == {}
    ended(prefetched, LIMIT, 0.0)
    assert prefetched.wanted(0.1) == {}


def test_what_ended_within_half_a_second_is_wanted(prefetched: PrefetchedClaims) -> None:
    ended(prefetched, 20, 0.0)
    ended(prefetched, 5, 0.3)
    assert prefetched.wanted(0.4) == {"a": 25}
    assert prefetched.wanted(PREFETCH_SECONDS + 0.3) == {"a": 25}  # in the stretch before
    assert prefetched.wanted(2 * PREFETCH_SECONDS + 0.3) == {}


def test_a_handlers_share_bounds_what_is_wanted(prefetched: PrefetchedClaims) -> None:
    ended(prefetched, 10_000, 0.0)
    ended(prefetched, 10_000, 0.0, handler="b")
    assert prefetched.wanted(0.1) == {"a": MAX_PREFETCH_FACTOR * LIMIT, "b": MAX_PREFETCH_FACTOR * 2}


def test_nothing_is_wanted_of_a_handler_whose_slots_are_filled_by_one_claim() -> None:
    slots = Slots(2 * MAX_SLOTS, {"few": MAX_SLOTS, "many": MAX_SLOTS + 1})
    prefetched = PrefetchedClaims(slots)
    for handler in slots.limits:
        ended(prefetched, 100, 0.0, handler=handler)
    assert prefetched.wanted(0.1) == {"few": MAX_PREFETCH_FACTOR * MAX_SLOTS}


def test_slow_attempts_that_end_together_make_no_handler_quick(prefetched: PrefetchedClaims) -> None:
    ended(prefetched, 100, 0.0, seconds=PREFETCH_SECONDS)
    assert prefetched.wanted(0.1) == {}


def test_what_a_slower_handler_will_not_start_soon_is_released_the_last_due_first(
    prefetched: PrefetchedClaims,
) -> None:
    prefetched.claims = {"a": claims("a", 60), "b": claims("b", 8)}
    ended(prefetched, 60, 0.0)
    ended(prefetched, 8, 0.0, handler="b")
    prefetched.release_surplus(0.1)
    assert (prefetched.claims, prefetched.to_release) == ({"a": claims("a", 60), "b": claims("b", 8)}, [])
    ended(prefetched, 20, PREFETCH_SECONDS)
    prefetched.release_surplus(2 * PREFETCH_SECONDS)
    assert (prefetched.claims, prefetched.to_release) == (
        {"a": claims("a", 60)[:20]},
        [*claims("a", 60)[20:], *claims("b", 8)],
    )
    prefetched.release_all()
    assert (prefetched.claims, len(prefetched.to_release)) == ({}, 68)
