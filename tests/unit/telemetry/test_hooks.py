"""How several classes of hooks become one, and that this costs nothing where there is one or none."""

from __future__ import annotations

from typing import Any

import pytest

from receiver.telemetry.hooks import EVENTS, SPANS, Telemetry, Token, combine

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


def test_a_hook_that_one_part_overrides_is_the_parts_own_method() -> None:
    line, tracer = Line([]), Tracer("one", [])
    assert combine(Telemetry(), line).request_failed == line.request_failed
    assert combine(line, combine(tracer)).request_sent == tracer.request_sent


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
