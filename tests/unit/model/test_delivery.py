"""What makes two deliveries the same event, and what makes them contradict each other."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.model.delivery import VOLATILE, Parsed, contradicts, identity

_PAYLOADS = st.dictionaries(st.sampled_from("abcd") | st.text(max_size=5), st.integers() | st.text(), max_size=5)
_VOLATILE = st.dictionaries(st.sampled_from(sorted(VOLATILE)), st.text())


@pytest.mark.parametrize("type", ["job.completed", "job.failed"])
def test_a_terminal_event_is_its_job_whatever_the_delivery_and_body(type: str) -> None:
    parsed = Parsed(type, "job_1", {})
    assert {identity(parsed, "msg_1", b"a"), identity(parsed, None, b"b")} == {"job_1"}


@pytest.mark.parametrize("job_id", [None, "job_1"])
def test_any_other_event_is_its_signed_message_id_else_its_body(job_id: str | None) -> None:
    parsed = Parsed("test", job_id, {})
    assert identity(parsed, "msg_1", b"a") == "msg_1"
    assert identity(parsed, None, b"a") == hashlib.sha256(b"a").hexdigest()
    assert identity(parsed, None, b"a") != identity(parsed, None, b"b")


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
