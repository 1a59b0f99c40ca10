"""What makes two copies of one event contradict each other."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.model.duplicates import VOLATILE, bodies_contradict, contradicts

_PAYLOADS = st.dictionaries(st.sampled_from("abcd") | st.text(max_size=5), st.integers() | st.text(), max_size=5)
_VOLATILE = st.dictionaries(st.sampled_from(sorted(VOLATILE)), st.text())


@given(payload=_PAYLOADS, one=_VOLATILE, other=_VOLATILE)
def test_what_honest_copies_differ_in_is_no_contradiction(
    payload: dict[str, Any], one: dict[str, str], other: dict[str, str]
) -> None:
    assert not contradicts(payload | one, payload | other)


@given(one=_PAYLOADS, other=_PAYLOADS)
def test_payloads_contradict_only_in_what_both_say(one: dict[str, Any], other: dict[str, Any]) -> None:
    both = set(one) & set(other)
    assert contradicts(one, other) == any(one[name] != other[name] for name in both)
    assert contradicts(one, other) == contradicts(other, one)


@given(payload=_PAYLOADS, more=_PAYLOADS)
def test_a_copy_that_only_says_more_is_no_contradiction(payload: dict[str, Any], more: dict[str, Any]) -> None:
    assert not contradicts(payload, more | payload)


@pytest.mark.parametrize(("one", "other"), [(1, 2), (1, "1"), ({"a": 1}, {"a": 2}), (["a"], []), (None, 0)])
def test_a_field_that_both_have_with_another_value_contradicts(one: Any, other: Any) -> None:
    assert contradicts({"chars_charged": one}, {"chars_charged": other})


# whole bodies

_BODIES: Any = st.dictionaries(
    st.sampled_from("abcd"),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=4),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=3),
        max_leaves=6,
    ),
    max_size=4,
)


def both_ways(one: Any, other: Any) -> bool:
    texts = [document if isinstance(document, bytes) else json.dumps(document).encode() for document in (one, other)]
    found = {bodies_contradict(*texts), bodies_contradict(*reversed(texts))}
    assert len(found) == 1
    return found.pop()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"data": {"chars_charged": 1}}, {"data": {"chars_charged": 2}}),
        ({"creditsUsed": 1, "x": 0}, {"creditsUsed": 2}),
        ({"data": {"metadata": {"apiResponse": {"m": "a"}}}}, {"data": {"metadata": {"apiResponse": {"m": "b"}}}}),
        ({"unknown": None}, {"unknown": 0}),
        ({"a": [1, {"b": 2}]}, {"a": [1, {"b": 3}]}),
        ({"a": [1]}, {"a": [1, 2]}),
        ({"a": {}}, {"a": "text"}),
        ({"link": "https://a.example/1"}, {"link": "https://a.example/2"}),
        ({"link": "https://[::1/1"}, {"link": "https://[::1/2"}),
    ],
)  # fmt: skip
def test_any_field_that_both_bodies_have_with_another_value_contradicts(one: Any, other: Any) -> None:
    assert both_ways(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"data": {"a": 1, "b": 1}}, {"data": {"a": 1, "c": 1}, "d": 1}),
        ({"data": {"audioUrl": "x", "updatedAt": "1"}}, {"data": {"audioUrl": "y", "updatedAt": "2"}}),
        ({"files": [{"url": "x", "n": 1}]}, {"files": [{"url": "y", "n": 1}]}),
        ({"link": "https://a.example/1?sig=a"}, {"link": "https://a.example/1?sig=b#c"}),
        ({"timestamp": 1, "type": "t"}, {"timestamp": 2, "type": "t"}),
        (b'{"a": 1, "b": 2}', b'{"b":2,"a":1.0}'),
        (b'{"a": 1}', b""),
        (b"[1]", b"[2]"),
        (b"<a/>", b'{"a": 1}'),
    ],
)
def test_what_only_one_body_has_or_honest_copies_differ_in_is_no_contradiction(one: Any, other: Any) -> None:
    assert not both_ways(one, other)


@given(body=_BODIES, more=_BODIES, volatile=_VOLATILE)
def test_a_body_never_contradicts_one_that_says_more(body: Any, more: Any, volatile: dict[str, str]) -> None:
    assert not both_ways(body, more | copy.deepcopy(body) | volatile)


@given(one=st.binary(), other=st.binary())
def test_any_two_bodies_can_be_compared(one: bytes, other: bytes) -> None:
    both_ways(one, other)
