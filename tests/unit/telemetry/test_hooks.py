"""How several classes of hooks become one: each is called with its own token, and one that raises stops nothing."""

from __future__ import annotations

from asyncio import CancelledError
from collections import Counter
from typing import Any

import pytest

from receiver.telemetry.hooks import EVENTS, SPANS, Telemetry, Token, combine
from tests.integration.intake_support import logged
from tests.integration.telemetry_support import Broken

HOOKS = {*SPANS, *EVENTS, *(end for ends in SPANS.values() for end in ends)}
ERROR = ValueError("no")


class Tracer(Telemetry):
    """Begins and ends requests."""

    def __init__(self, name: str, calls: list[tuple[Any, ...]]) -> None:
        self._name, self._calls = name, calls

    def request_sent(self, source: str, method: str, url: str) -> Token:
        self._calls.append((self._name, "begins", source))
        return f"a token of {self._name}"

    def request_failed(self, token: Token, source: str, error: BaseException) -> None:
        self._calls.append((self._name, token, error))


class Line(Telemetry):
    """Wants the end only."""

    def __init__(self, calls: list[tuple[Any, ...]]) -> None:
        self._calls = calls

    def request_failed(self, token: Token, source: str, error: BaseException) -> None:
        self._calls.append(("line", error))


def test_every_hook_is_in_the_tables_that_combine_goes_by() -> None:
    methods = {name for name in vars(Telemetry) if not name.startswith("_")}
    assert methods == HOOKS


@pytest.mark.parametrize("hook", sorted(HOOKS))
def test_a_hook_that_no_part_overrides_stays_the_empty_one(hook: str) -> None:
    for combined in (combine(), combine(Telemetry(), combine(Telemetry()))):
        assert getattr(combined, hook).__func__ is getattr(Telemetry, hook)


def test_each_part_gets_its_own_token_and_all_are_called_in_their_order() -> None:
    calls: list[tuple[Any, ...]] = []
    combined = combine(Tracer("one", calls), Line(calls), Tracer("two", calls))
    combined.request_failed(combined.request_sent("aitts", "GET", "/"), "aitts", ERROR)
    assert calls == [
        ("one", "begins", "aitts"),
        ("two", "begins", "aitts"),
        ("one", "a token of one", ERROR),
        ("line", ERROR),
        ("two", "a token of two", ERROR),
    ]


def test_parts_that_are_combined_already_keep_their_tokens() -> None:
    calls: list[tuple[Any, ...]] = []
    inner = combine(Tracer("one", calls), Tracer("two", calls))
    combined = combine(inner, Tracer("three", calls))
    combined.request_failed(combined.request_sent("aitts", "GET", "/"), "aitts", ERROR)
    assert calls[3:] == [(name, f"a token of {name}", ERROR) for name in ("one", "two", "three")]


def test_a_part_that_raises_stops_neither_the_caller_nor_the_other_parts() -> None:
    calls: list[tuple[Any, ...]] = []
    counted: Counter[str] = Counter()
    with logged() as lines:
        combined = combine(
            Broken(), Tracer("one", calls), Broken(), Line(calls), failed=lambda hook: counted.update([hook])
        )
        combined.request_failed(combined.request_sent("aitts", "GET", "/"), "aitts", ERROR)
        combined.job_submitted("aitts", "job_1", "submitted", None)
        written = [(line["hook"], line["telemetry"], line["exception"]) for line in lines.of("telemetry.failed")]
    assert calls == [("one", "begins", "aitts"), ("one", "a token of one", ERROR), ("line", ERROR)]
    assert counted == {"request_sent": 2, "job_submitted": 2}
    assert [line[:2] for line in written] == [("request_sent", "Broken")] * 2 + [("job_submitted", "Broken")] * 2
    assert all("RuntimeError: telemetry is broken" in line[2] for line in written)


@pytest.mark.parametrize("hook", sorted(HOOKS))
def test_a_single_part_that_raises_does_not_stop_the_caller(hook: str) -> None:
    counted: list[str] = []
    combined = combine(Broken(), failed=counted.append)
    getattr(combined, hook)("an argument")
    assert counted == [hook]


def test_a_part_whose_beginning_has_raised_does_not_get_the_end_and_those_without_a_beginning_do() -> None:
    calls: list[tuple[Any, ...]] = []

    class NotBegun(Tracer):
        def request_sent(self, source: str, method: str, url: str) -> Token:
            raise ERROR

    for parts in ([NotBegun("one", calls), Line(calls)], [combine(NotBegun("one", calls), Line(calls))]):
        combined = combine(*parts)
        combined.request_failed(combined.request_sent("aitts", "GET", "/"), "aitts", ERROR)
    assert calls == [("line", ERROR)] * 2


def test_a_cancelled_error_of_a_hook_does_not_cancel_the_work() -> None:
    class Cancels(Telemetry):
        def job_submitted(self, source: str, own_id: str, outcome: str, error: BaseException | None) -> None:
            raise CancelledError

    counted: list[str] = []
    combine(Cancels(), failed=counted.append).job_submitted("aitts", "job_1", "submitted", None)
    assert counted == ["job_submitted"]


def test_a_count_that_raises_stops_nothing_either() -> None:
    def fail(hook: str) -> None:
        raise ERROR

    combine(Broken(), failed=fail).job_submitted("aitts", "job_1", "submitted", None)
