"""What is read of a provider's JSON, what of a client's, and what comes out whatever goes in."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.errors import InvalidJson
from receiver.model.json_body import MAX_DEPTH, read_json, read_json_object, read_strict_json, read_strict_json_object
from tests.cost import max_cpu_seconds

HALF = "\ufffd"


def nested(depth: int, innermost: bytes = b"0") -> bytes:
    return b"[" * depth + innermost + b"]" * depth


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (rb'{"a": "\ud83d"}', {"a": HALF}),
        (rb'{"a": "x\ude00y"}', {"a": f"x{HALF}y"}),
        (rb'{"a": "\ud83d\ud83d\ude00"}', {"a": f"{HALF}😀"}),
        (rb'{"a": ["\ude00\ud83d"]}', {"a": [HALF * 2]}),
        (rb'{"\ud83d": 1}', {HALF: 1}),
        (b'{"a": "\xf0\x9f"}', {"a": HALF}),
        (b'{"a": "\xc3"}', {"a": HALF}),
        (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
        (b'{"a": "\xef\xbb\xbf"}', {"a": "\ufeff"}),
        (b'{"a": NaN, "b": [Infinity, -Infinity]}', {"a": None, "b": [None, None]}),
        (b'{"a": NaN, "b": 1e999, "c": -1e400, "d": 1.5}', {"a": None, "b": None, "c": None, "d": 1.5}),
        (b'{"a": "NaN", "b": "Infinity"}', {"a": "NaN", "b": "Infinity"}),
        (b'\xef\xbb\xbf{"a": NaN, "b": "\\ud83d", "n": 123456789012345678901234567890, "ok": "\xf0\x9f\x98\x80"}',
         {"a": None, "b": HALF, "n": 123456789012345678901234567890, "ok": "😀"}),
    ],
)  # fmt: skip
def test_a_fault_that_does_not_change_the_meaning_is_put_right(body: bytes, value: Any) -> None:
    assert read_json(body) == read_json_object(body) == value
    if b'"NaN"' not in body and b'"\xef' not in body:
        with pytest.raises(InvalidJson):
            read_strict_json(body)


@pytest.mark.parametrize(
    "number",
    [b"1e999", b"-1e400", b"9" * 400 + b".5", b"9" * 250 + b"e99", b"1E+0400", b"9" * 5000, b"-" + b"9" * 500_000],
    ids=lambda number: repr(number[:12]),
)
def test_a_number_that_is_too_large_is_null_of_a_provider_and_refused_of_a_client(number: bytes) -> None:
    body = b'{"data": {"x": [' + number + b"]}}"
    assert read_json_object(body) == {"data": {"x": [None]}}
    with pytest.raises(InvalidJson, match=r"too large|out of range"):
        read_strict_json_object(body)


@pytest.mark.parametrize("number", [b"1e308", b"1e-999", b"9" * 400, b"1E+0010"])
def test_a_number_that_only_looks_large_is_read(number: bytes) -> None:
    body = b'{"x": ' + number + b"}"
    assert read_json_object(body) == read_strict_json_object(body) == json.loads(body)


def test_big_numbers_and_text_are_read_as_they_are() -> None:
    body = '{"n":123456789012345678901234567890,"s":"ü😀"}'.encode()
    assert read_json_object(body) == {"n": 123456789012345678901234567890, "s": "ü😀"}


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff\xfe", b'{"a": nan}', b"{'a': 1}", b'{"a": 1,}', b'{"a": "\n"}', b"{} x", b"\xef\xbb\xbf",
     rb'{"a": "\ud83"}', b'{"a": NaN', b"NaN" + b"9" * 5000, '{"a": 1}'.encode("utf-16"),
     b"[" * 1_000_000, b'{"a":' * 1_000_000, nested(MAX_DEPTH + 1), nested(MAX_DEPTH + 1, b"NaN"), nested(900, b"NaN")],
    ids=lambda body: repr(body[:12]),
)  # fmt: skip
def test_what_is_no_json_or_nested_too_deeply_is_refused(body: bytes) -> None:
    for read in (read_json, read_strict_json):
        with pytest.raises(InvalidJson) as caught:
            read(body)
        assert caught.value.reason == "malformed_json"


@pytest.mark.parametrize("innermost", [b"0", b"NaN", rb'"\ud83d"'])
def test_the_deepest_nesting_is_the_same_on_both_ways(innermost: bytes) -> None:
    json.dumps(read_json(nested(MAX_DEPTH, innermost)))


@pytest.mark.parametrize("body", [b"[]", b"null", b'"a"', b"NaN", b"[NaN]"])
def test_json_that_is_no_object_is_told_apart(body: bytes) -> None:
    with pytest.raises(InvalidJson) as caught:
        read_json_object(body)
    assert caught.value.reason == "not_an_object"


@pytest.mark.parametrize("piece", [b"[NaN,", b'"\\ud83d",', b'"\\"', b'{"a":', b"-Infinity,", b"1e999,"])
def test_the_time_it_takes_grows_with_the_size_alone(piece: bytes) -> None:
    with max_cpu_seconds(30):
        for body in (piece * (2_000_000 // len(piece)), b"[" + piece * (2_000_000 // len(piece)) + b"0]"):
            try:
                read_json(body)
            except InvalidJson:
                continue


_TEXTS = st.text(st.characters(), max_size=6) | st.sampled_from(["\ud83d", "x\ude00", "NaN"])
_VALUES: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3),
    max_leaves=12,
)


def _strict(value: Any) -> bool:
    """Whether it can be written as JSON that RFC 8259 allows."""
    try:
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except ValueError:
        return False
    return True


@given(value=_VALUES, mark=st.booleans())
def test_whatever_python_writes_is_read_and_can_be_written_as_strict_json(value: Any, mark: bool) -> None:
    got = read_json((b"\xef\xbb\xbf" if mark else b"") + json.dumps(value).encode())
    assert _strict(got)
    if _strict(value):
        assert got == value
    elif isinstance(value, float):
        assert not math.isfinite(value)
        assert got is None


_PIECES = [
    b"{",
    b"}",
    b"[",
    b"]",
    b'"',
    b"a",
    b":",
    b",",
    b"NaN",
    b"-Infinity",
    b"1e999",
    rb"\ud83d",
    b"\\",
    b"\xf0\x9f",
]
_BODIES = st.binary() | st.lists(st.sampled_from([*_PIECES, b"\xef\xbb\xbf"]), max_size=12).map(b"".join)


@given(body=_BODIES)
def test_arbitrary_bytes_are_read_or_refused_and_what_is_strict_reads_alike(body: bytes) -> None:
    try:
        strict = read_strict_json(body)
    except InvalidJson:
        try:
            assert _strict(read_json(body))
        except InvalidJson:
            return
    else:
        assert read_json(body) == strict
