"""`Retry-After` in all its forms, and in none."""

from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.model.retry_after import MAX_RETRY_AFTER, parse_retry_after, sender_time

NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        (" 7 ", 7.0),
        ("86401", MAX_RETRY_AFTER),
        ("9" * 6000, MAX_RETRY_AFTER),
        (formatdate(NOW + 90, usegmt=True), 90.0),
        (formatdate(NOW - 90, usegmt=True), 0.0),
        (formatdate(NOW + 1e6, usegmt=True), MAX_RETRY_AFTER),
        (None, None),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("٣", None),
        ("Mon, 99 Foo 2026 99:99:99 GMT", None),
    ],
)
def test_a_wait_is_read(value: str | None, seconds: float | None) -> None:
    assert parse_retry_after(value, NOW) == seconds


@given(st.text())
def test_any_text_gives_a_sane_wait_or_none(value: str) -> None:
    seconds = parse_retry_after(value, NOW)
    assert seconds is None or 0 <= seconds <= MAX_RETRY_AFTER


@given(st.integers(0, 80_000))
def test_a_date_means_the_seconds_until_it(ahead: int) -> None:
    assert parse_retry_after(formatdate(NOW + ahead, usegmt=True), NOW) == ahead


@pytest.mark.parametrize(("theirs", "seen"), [(0, 0), (-300, 0), (300, 0), (-301, -301), (40 * 86_400, 40 * 86_400)])
def test_a_time_that_a_server_names_is_read_by_its_own_clock_where_that_is_not_ours(theirs: int, seen: int) -> None:
    now = 1_700_000_000
    assert sender_time(formatdate(now + theirs, usegmt=True), now) == now + seen
    assert sender_time(None, now) == now
