"""A traceback that is stored is bounded, and keeps what says most."""

from __future__ import annotations

import traceback
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from receiver.model.tracebacks import MAX_TRACEBACK_BYTES, OMITTED, innermost


def deep(levels: int, message: str) -> None:
    if levels == 0:
        raise ValueError(message)
    even(levels - 1, message) if levels % 2 else odd(levels - 1, message)


def even(levels: int, message: str) -> None:
    deep(levels, message)


def odd(levels: int, message: str) -> None:
    deep(levels, message)


def traced(levels: int, message: str) -> str:
    try:
        deep(levels, message)
    except ValueError as error:
        return "".join(traceback.format_exception(error)).rstrip()
    raise AssertionError


def test_a_short_traceback_stays_as_it_is() -> None:
    text = traced(1, "no")
    assert innermost(text) == text


def test_of_a_long_one_the_innermost_frames_and_the_error_stay() -> None:
    text = traced(300, "no such voice")
    short = innermost(text)
    assert len(short.encode()) <= MAX_TRACEBACK_BYTES
    assert short.startswith(f'{OMITTED}  File "')
    assert text.endswith(short.removeprefix(OMITTED))
    assert short.endswith("raise ValueError(message)\nValueError: no such voice")


def test_a_long_message_does_not_replace_the_frames() -> None:
    short = innermost(traced(3, "ä" * 20_000))
    assert len(short.encode()) <= MAX_TRACEBACK_BYTES
    assert "raise ValueError(message)\nValueError: ää" in short
    assert short.endswith("ä…")


@given(st.text(st.sampled_from('ä\n F"File "x'), max_size=200), st.integers(20, 90))
def test_any_text_is_bounded(text: str, max_bytes: int) -> None:
    short = innermost(text, max_bytes)
    assert len(short.encode()) <= max_bytes
    assert bool(short) == bool(text)


def group(*errors: Exception, message: str = "unhandled errors in a TaskGroup") -> str:
    try:
        in_a_group(200, message, errors)
    except ExceptionGroup as error:
        return "".join(traceback.format_exception(error)).rstrip()
    raise AssertionError


def in_a_group(levels: int, message: str, errors: Sequence[Exception]) -> None:
    if levels == 0:
        raise ExceptionGroup(message, errors)
    odd_group(levels - 1, message, errors) if levels % 2 else even_group(levels - 1, message, errors)


def odd_group(levels: int, message: str, errors: Sequence[Exception]) -> None:
    in_a_group(levels, message, errors)


def even_group(levels: int, message: str, errors: Sequence[Exception]) -> None:
    in_a_group(levels, message, errors)


def raised(levels: int, message: str) -> Exception:
    try:
        deep(levels, message)
    except ValueError as error:
        return error
    raise AssertionError


def test_of_a_group_each_exception_keeps_its_last_frames_and_its_message() -> None:
    nested = ExceptionGroup("inner", [raised(150, "no such voice"), raised(150, "no credit")])
    short = innermost(group(nested, raised(2, "later")))
    assert len(short.encode()) <= MAX_TRACEBACK_BYTES
    for line in (
        "| ExceptionGroup: unhandled errors in a TaskGroup (2 sub-exceptions)\n",
        "| ExceptionGroup: inner (2 sub-exceptions)\n",
        "|     raise ValueError(message)\n      | ValueError: no such voice\n",
        "|     raise ValueError(message)\n      | ValueError: no credit\n",
        "| ValueError: later\n",
        "+---------------- 2 ----------------\n",
    ):
        assert line in short, short


def test_of_a_group_of_many_as_many_causes_are_kept_as_have_room() -> None:
    short = innermost(group(*(raised(30, f"number {n}: {'x' * 900}") for n in range(15))))
    assert len(short.encode()) <= MAX_TRACEBACK_BYTES
    assert all(f"| ValueError: number {n}: x" in short for n in range(15))
    nested = [ExceptionGroup(f"group {n}", [raised(30, f"cause {n} {m}") for m in range(10)]) for n in range(10)]
    short = innermost(group(*nested))
    assert len(short.encode()) <= MAX_TRACEBACK_BYTES
    assert "| ValueError: cause 0 0" in short
    assert OMITTED in short


def test_an_error_that_a_group_caused_keeps_both() -> None:
    try:
        raise RuntimeError("could not finish") from ExceptionGroup("many", [raised(200, "no such voice")])
    except RuntimeError as error:
        short = innermost("".join(traceback.format_exception(error)).rstrip())
    assert "| ValueError: no such voice\n" in short
    assert short.endswith("RuntimeError: could not finish")


RULES = ("    +-+---------------- 1 ----------------", "    +---------------- 2 ----------------")


@given(
    st.lists(st.sampled_from([*RULES, '    |   File "x', "    | ä", "ä" * 30, ""]), max_size=20),
    st.integers(20, 400),
)
def test_any_text_of_a_group_is_bounded(lines: list[str], max_bytes: int) -> None:
    text = "\n".join(lines)
    assert len(innermost(text, max_bytes).encode()) <= max_bytes
