"""How much is claimed ahead: what a handler gets through, nothing where it is slow, and never more than its shares."""

from __future__ import annotations

import pytest

from receiver.engine.ahead import AHEAD_SECONDS, MAX_SLOTS, MAX_TIMES, ClaimsAhead
from receiver.model.slots import Slots
from receiver.store.claims import Claim

SLOTS = Slots(5, {"a": None, "b": 2})
LIMIT = SLOTS.limits["a"]


def ended(ahead: ClaimsAhead, runs: int, at: float, seconds: float = 0.01, handler: str = "a") -> None:
    for _ in range(runs):
        ahead.ended(handler, seconds, at)


def claims(handler: str, number: int) -> list[Claim]:
    return [Claim(f"evt_{n}", handler, 1, 1, float(n), 0.0, {}) for n in range(number)]


@pytest.fixture
def ahead() -> ClaimsAhead:
    return ClaimsAhead(SLOTS)


def test_nothing_is_wanted_of_a_handler_that_has_not_run_or_has_slots_enough(ahead: ClaimsAhead) -> None:
    assert ahead.wanted(0.0) == {}
    ended(ahead, LIMIT, 0.0)
    assert ahead.wanted(0.1) == {}


def test_what_ended_within_half_a_second_is_wanted(ahead: ClaimsAhead) -> None:
    ended(ahead, 20, 0.0)
    ended(ahead, 5, 0.3)
    assert ahead.wanted(0.4) == {"a": 25}
    assert ahead.wanted(AHEAD_SECONDS + 0.3) == {"a": 25}  # in the stretch before
    assert ahead.wanted(2 * AHEAD_SECONDS + 0.3) == {}


def test_a_handlers_share_bounds_what_is_wanted(ahead: ClaimsAhead) -> None:
    ended(ahead, 10_000, 0.0)
    ended(ahead, 10_000, 0.0, handler="b")
    assert ahead.wanted(0.1) == {"a": MAX_TIMES * LIMIT, "b": MAX_TIMES * 2}


def test_nothing_is_wanted_of_a_handler_whose_slots_are_filled_by_one_claim() -> None:
    slots = Slots(2 * MAX_SLOTS, {"few": MAX_SLOTS, "many": MAX_SLOTS + 1})
    ahead = ClaimsAhead(slots)
    for handler in slots.limits:
        ended(ahead, 100, 0.0, handler=handler)
    assert ahead.wanted(0.1) == {"few": MAX_TIMES * MAX_SLOTS}


def test_slow_attempts_that_end_together_make_no_handler_quick(ahead: ClaimsAhead) -> None:
    ended(ahead, 100, 0.0, seconds=AHEAD_SECONDS)
    assert ahead.wanted(0.1) == {}


def test_what_a_slower_handler_will_not_start_soon_is_given_back_the_last_due_of_it(ahead: ClaimsAhead) -> None:
    ahead.claims = {"a": claims("a", 60), "b": claims("b", 8)}
    ended(ahead, 60, 0.0)
    ended(ahead, 8, 0.0, handler="b")
    ahead.release_surplus(0.1)
    assert (ahead.claims, ahead.to_release) == ({"a": claims("a", 60), "b": claims("b", 8)}, [])
    ended(ahead, 20, AHEAD_SECONDS)
    ahead.release_surplus(2 * AHEAD_SECONDS)
    assert (ahead.claims, ahead.to_release) == ({"a": claims("a", 60)[:20]}, [*claims("a", 60)[20:], *claims("b", 8)])
    ahead.release_all()
    assert (ahead.claims, len(ahead.to_release)) == ({}, 68)
