"""What a handler is given, built from a stored row alone."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.model.event import (
    Event,
    JobCompleted,
    JobFailed,
    Origin,
    OtherEvent,
    TestEvent,
    build_event,
    event_class,
)

NOW = 1_700_000_000.25


def build(type: str = "job.completed", job_id: str | None = "job_1", **payload: Any) -> Event:
    return build_event(
        id="evt_1", source="aitts", type=type, job_id=job_id, origin="webhook", received_at=NOW, payload=payload
    )


def test_a_completed_job_has_its_fields() -> None:
    event = build(chars_charged=42, metadata={"chapter": 3}, audio_endpoint="/a")
    assert isinstance(event, JobCompleted)
    assert (event.id, event.source, event.job_id, event.chars_charged) == ("evt_1", "aitts", "job_1", 42)
    assert event.metadata == {"chapter": 3}
    assert event.payload["audio_endpoint"] == "/a"
    assert event.origin is Origin.WEBHOOK
    assert event.received_at == datetime(2023, 11, 14, 22, 13, 20, 250_000, tzinfo=UTC)


def test_a_failed_job_has_its_code_and_message() -> None:
    event = build("job.failed", error={"code": "GENERATION_FAILED", "message": "no voice"})
    assert isinstance(event, JobFailed)
    assert (event.code, event.message) == ("GENERATION_FAILED", "no voice")


@pytest.mark.parametrize(
    ("type", "cls"),
    [
        ("job.completed", JobCompleted),
        ("job.failed", JobFailed),
        ("test", TestEvent),
        ("job.paused", OtherEvent),
        ("", OtherEvent),
    ],
)
def test_the_word_decides_the_class(type: str, cls: type[Event]) -> None:
    assert event_class(type) is cls
    assert build(type).type == type
    assert isinstance(build(type), cls)


def test_an_event_without_a_job_has_none() -> None:
    assert build("test", None).job_id is None


def test_an_event_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        build().id = "evt_2"  # type: ignore[misc]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@given(
    type=st.sampled_from(["job.completed", "job.failed", "test", "other"]),
    origin=st.sampled_from(list(Origin)),
    payload=st.dictionaries(st.sampled_from(["chars_charged", "error", "metadata", "status"]), _JSON),
)
def test_any_stored_payload_makes_an_event_with_fields_of_the_right_types(
    type: str, origin: Origin, payload: dict[str, Any]
) -> None:
    event = build_event(
        id="evt_1", source="s", type=type, job_id="j", origin=str(origin), received_at=NOW, payload=payload
    )
    assert event.origin is origin
    assert event.payload == payload
    assert isinstance(event.metadata, dict)
    if isinstance(event, JobCompleted):
        assert event.chars_charged is None or isinstance(event.chars_charged, int)
    if isinstance(event, JobFailed):
        assert isinstance(event.code, str)
        assert isinstance(event.message, str)
    json.dumps(dict(event.payload))


def raw_event(raw: bytes) -> Event:
    return build_event(
        id="evt_1", source="s", type="job.completed", job_id="j", origin="poll", received_at=NOW, payload={}, raw=raw
    )


def test_an_event_has_all_that_the_provider_said_under_its_own_names() -> None:
    event = raw_event(b'{"data": {"creditsUsed": 3, "metadata": {"apiResponse": {"model": "m"}}}, "odd": [1, 2]}')
    assert event.body["data"]["creditsUsed"] == 3
    assert event.body == {"data": {"creditsUsed": 3, "metadata": {"apiResponse": {"model": "m"}}}, "odd": [1, 2]}
    assert event.body["data"] is event.body["data"], "it is parsed once"


def test_the_body_is_read_only_and_not_in_the_repr() -> None:
    event = raw_event(b'{"secret_address": "https://a.example/?sig=1"}')
    with pytest.raises(TypeError):
        event.body["a"] = 1  # type: ignore[index]
    assert "sig" not in repr(event)
    assert dataclasses.replace(event, source="other").body == event.body
    assert dataclasses.asdict(event)["raw"] == event.raw


@pytest.mark.parametrize("raw", [b"", b"[]", b"null", b"<xml/>", b"\xff", b"[" * 10_000])
def test_a_body_that_is_no_json_object_is_empty_and_its_bytes_are_there(raw: bytes) -> None:
    assert raw_event(raw).body == {}
    assert raw_event(raw).raw == raw


@given(st.binary())
def test_any_bytes_have_a_body(raw: bytes) -> None:
    json.dumps(dict(raw_event(raw).body), allow_nan=False)
