"""Failed logins: some in a row, then one every few seconds, in bounded memory."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.web.api.problems import ProblemError
from receiver.web.console.login_limits import (
    ADDRESS_SECONDS,
    BURST,
    MAX_KEYS,
    NAME_SECONDS,
    AttemptLimit,
    LoginLimits,
)
from tests.clocks import SetClock


def failed(limits: LoginLimits, address: str | None, name: str | None) -> int:
    """The seconds to wait; 0 if an attempt was allowed, which then failed."""
    try:
        limits.attempt(address, name)
    except ProblemError as refusal:
        found = refusal
    else:
        return 0
    assert (found.status, found.reason) == (429, "too_many_failures")
    return int(found.headers["Retry-After"])


def test_after_some_failures_of_an_address_the_next_has_to_wait_and_no_other_address() -> None:
    clock = SetClock(100.0)
    limits = LoginLimits(clock)
    assert [failed(limits, "192.0.2.1", None) for _ in range(BURST)] == [0] * BURST
    assert failed(limits, "192.0.2.1", None) == ADDRESS_SECONDS
    assert failed(limits, "192.0.2.2", None) == 0
    clock.time += ADDRESS_SECONDS - 1
    assert failed(limits, "192.0.2.1", None) == 1
    clock.time += 1
    assert failed(limits, "192.0.2.1", None) == 0
    assert failed(limits, "192.0.2.1", None) == ADDRESS_SECONDS


def test_a_name_is_limited_over_all_addresses_whether_there_is_such_a_user_or_not() -> None:
    limits = LoginLimits(SetClock())
    for number in range(BURST):
        assert failed(limits, f"192.0.2.{number}", "anna") == 0
    assert failed(limits, "198.51.100.1", "anna") == NAME_SECONDS
    assert failed(limits, "198.51.100.1", "ben") == 0
    assert failed(limits, "198.51.100.1", None) == 0, "with a token"


def test_a_refused_attempt_counts_for_nothing_else() -> None:
    """Somebody whose address has to wait does not use up the attempts of others at a name."""
    limits = LoginLimits(SetClock())
    for _ in range(BURST):
        failed(limits, "192.0.2.1", None)
    assert [failed(limits, "192.0.2.1", "anna") > 0 for _ in range(99)] == [True] * 99
    assert failed(limits, "192.0.2.2", "anna") == 0


def test_a_success_is_not_counted_and_forgives_no_failure() -> None:
    limits = LoginLimits(SetClock())
    for _ in range(BURST - 1):
        failed(limits, "192.0.2.1", "anna")
    for _ in range(99):
        limits.attempt("192.0.2.1", "anna").refund()
    assert failed(limits, "192.0.2.1", "anna") == 0
    assert failed(limits, "192.0.2.1", "anna") > 0


def test_a_client_has_a_network_of_ipv6() -> None:
    limits = LoginLimits(SetClock())
    for number in range(BURST):
        assert failed(limits, f"2001:db8::{number}", None) == 0
    assert failed(limits, "2001:db8::ffff:1", None) > 0
    assert failed(limits, "2001:db8:0:1::1", None) == 0
    assert failed(limits, None, None) == 0


def test_what_is_counted_has_a_bound_and_is_small() -> None:
    limit = AttemptLimit(SetClock(), 30, max_keys=100)
    for number in range(1000):
        limit.take(str(number))
    assert len(limit._free_at) == 100
    assert limit.wait("999") == 0
    limits = LoginLimits(SetClock())
    failed(limits, "192.0.2.1", "x" * 60_000)
    (key,) = limits._names._free_at
    assert MAX_KEYS * (sys.getsizeof(key) + sys.getsizeof(1.0) + 200) < 4_000_000


@given(st.lists(st.tuples(st.floats(0, 100), st.booleans()), max_size=60))
def test_no_order_of_events_allows_more_than_the_rate(events: list[tuple[float, bool]]) -> None:
    clock = SetClock(1000.0)
    limit = AttemptLimit(clock, 10.0, burst=3)
    failures: list[float] = []
    for seconds, succeeds in events:
        clock.time += seconds
        if limit.wait("a"):
            continue
        limit.take("a")
        if succeeds:
            limit.refund("a")
        else:
            failures.append(clock.time)
    for first, at in enumerate(failures):
        for count, until in enumerate(failures[first:], 1):
            assert count <= 3 + (until - at) / 10.0 + 1e-6


@pytest.mark.parametrize("key", ["a", "b"])
def test_a_refund_of_what_is_forgotten_is_nothing(key: str) -> None:
    limit = AttemptLimit(SetClock(), 30, max_keys=1)
    limit.take("a")
    limit.take("c")
    limit.refund(key)
    assert limit.wait(key) == 0
