"""A traceback that is stored is bounded, and keeps what says most."""

from __future__ import annotations

import traceback

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
