"""What makes two deliveries the same event, and what makes them contradict each other."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.model.delivery import VOLATILE, Parsed, facts_digest, identity

_PAYLOADS = st.dictionaries(st.text(max_size=5), st.integers() | st.text() | st.none(), max_size=5)


@pytest.mark.parametrize("type", ["job.completed", "job.failed"])
def test_a_terminal_event_is_its_job_whatever_the_delivery_and_body(type: str) -> None:
    parsed = Parsed(type, "job_1", {})
    assert {identity(parsed, delivery, body) for delivery in (None, "d-1") for body in (b"a", b"b")} == {"job_1"}


@pytest.mark.parametrize("job_id", [None, "job_1"])
def test_any_other_event_is_its_delivery_else_its_body(job_id: str | None) -> None:
    parsed = Parsed("test", job_id, {})
    assert identity(parsed, "d-1", b"a") == "d-1"
    assert identity(parsed, None, b"a") == hashlib.sha256(b"a").hexdigest()
    assert identity(parsed, None, b"a") != identity(parsed, None, b"b")


@given(payload=_PAYLOADS, volatile=st.dictionaries(st.sampled_from(sorted(VOLATILE)), st.text()))
def test_what_honest_copies_differ_in_is_not_in_the_digest(payload: dict[str, Any], volatile: dict[str, str]) -> None:
    plain = {name: value for name, value in payload.items() if name not in VOLATILE}
    assert facts_digest(Parsed("t", "j", plain)) == facts_digest(Parsed("t", "j", plain | volatile, ("note",)))


@given(payload=_PAYLOADS)
def test_the_order_of_fields_is_not_in_the_digest(payload: dict[str, Any]) -> None:
    backwards = dict(reversed(list(payload.items())))
    assert facts_digest(Parsed("t", "j", payload)) == facts_digest(Parsed("t", "j", backwards))


def test_type_job_and_every_other_field_are_in_the_digest() -> None:
    parsed = [
        Parsed("job.completed", "j", {"chars_charged": 1}),
        Parsed("job.failed", "j", {"chars_charged": 1}),
        Parsed("job.completed", "k", {"chars_charged": 1}),
        Parsed("job.completed", None, {"chars_charged": 1}),
        Parsed("job.completed", "j", {"chars_charged": 2}),
        Parsed("job.completed", "j", {"chars_charged": "1"}),
        Parsed("job.completed", "j", {}),
        Parsed("job.completed", "j", {"metadata": {"chars_charged": 1}}),
    ]
    assert len({facts_digest(one) for one in parsed}) == len(parsed)
    assert {len(facts_digest(one)) for one in parsed} == {32}
