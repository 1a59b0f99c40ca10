"""Times of the store as times of the calendar."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from receiver.model.timestamps import utc


def test_unix_seconds_are_a_time_in_utc() -> None:
    assert utc(1_800_000_000.25) == datetime(2027, 1, 15, 8, 0, 0, 250_000, tzinfo=UTC)


@pytest.mark.parametrize("seconds", [1e12, 1e300, float("inf")])
def test_a_time_after_the_calendar_is_its_last(seconds: float) -> None:
    assert utc(seconds).isoformat() == "9999-12-31T23:59:59.999999+00:00"
    assert utc(-seconds).isoformat() == "0001-01-01T00:00:00+00:00"
