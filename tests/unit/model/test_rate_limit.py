"""The account's limit is read where it is told, and nothing absurd is believed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.model.rate_limit import MAX_RESET_SECONDS, RateLimit, read_rate_limit

NOW = 1_793_613_600.0
NAMES = ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset", "x-ratelimit-bucket")


def read(
    limit: str | None = None, remaining: str | None = None, reset: str | None = None, bucket: str | None = None
) -> RateLimit | None:
    given = dict(zip(NAMES, (limit, remaining, reset, bucket), strict=True))
    return read_rate_limit(given.get, NOW)


def test_all_four_headers_are_read() -> None:
    assert read("100", "97", str(int(NOW) + 900), "tts") == RateLimit(100, 97, NOW + 900, "tts")


def test_an_answer_that_says_nothing_has_no_limit() -> None:
    assert read() is None
    assert read("", " ", "soon", "\n") is None


@pytest.mark.parametrize(
    ("reset", "at"),
    [
        ("0", NOW), ("37", NOW + 37), (" 900 ", NOW + 900), ("604800", NOW + 604_800), ("604801", None),
        (str(int(NOW)), NOW), (str(int(NOW) - 60), NOW - 60), (str(int(NOW) + 604_801), None),
        ("1793613637000", NOW + 37), ("1793613600.5", NOW + 0.5), ("1.5", NOW + 1.5), ("1793613637500", NOW + 37.5),
        ("2026-11-02T10:00:37Z", NOW + 37), ("2026-11-02T12:00:37.250+02:00", NOW + 37.25),
        ("2026-11-02T02:00:37", None), ("2026-11-02", None), ("2026-13-02T02:00:37Z", None), ("20261102T020037Z", None),
        ("-1", None), ("1e3", None), ("9" * 5000, None), ("١٢", None), ("6m0s", None), ("1793613600000000", None),
    ],
)  # fmt: skip
def test_a_reset_is_read_in_the_forms_that_cannot_be_mistaken_for_each_other(reset: str, at: float | None) -> None:
    found = read(remaining="0", reset=reset)
    assert found is not None
    assert found.reset_at == at


@pytest.mark.parametrize("word", ["-1", "1.5", "many", "", "9" * 16, "١"])
def test_what_is_no_number_of_requests_is_passed_over(word: str) -> None:
    assert read(limit=word, remaining="3") == RateLimit(remaining=3)


@pytest.mark.parametrize(
    ("said", "bucket"), [(" tts ", "tts"), ("a b", "a b"), ("x" * 65, None), ("ü", None), ("a\0", None)]
)
def test_a_bucket_is_a_short_word(said: str, bucket: str | None) -> None:
    assert read(remaining="3", bucket=said) == RateLimit(remaining=3, bucket=bucket)


_VALUES = st.none() | st.text() | st.integers().map(str) | st.sampled_from(["37", "1793613700", "9" * 400])


@given(_VALUES, _VALUES, _VALUES, _VALUES, st.floats(0, 1e11))
def test_whatever_is_told_the_reset_is_not_far_ahead(
    limit: str | None, remaining: str | None, reset: str | None, bucket: str | None, now: float
) -> None:
    given = dict(zip(NAMES, (limit, remaining, reset, bucket), strict=True))
    found = read_rate_limit(given.get, now)
    if found is not None:
        assert found != RateLimit()
        assert all(number is None or number >= 0 for number in found[:3])
        assert found.reset_at is None or found.reset_at <= now + MAX_RESET_SECONDS
