"""The message of an event: a CloudEvent that the official SDK reads, or the provider's own body."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from typing import Any

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from hypothesis import given
from hypothesis import strategies as st

from handlers._addresses import without_queries
from handlers._message import Message, MessageOptions, build_message
from receiver import AudioDelayed, AudioRefused, Context, Event, NoAudio, PluginError, Reject, handler
from receiver.testing import HandlerOutcome, completed, failed, make_event, run_handler, wav


@handler(on=Event, options=MessageOptions)
async def build(event: Event, ctx: Context[MessageOptions]) -> dict[str, Any]:
    message = await build_message(event, ctx)
    return {"body": message.body.decode(), "content_type": message.content_type, "headers": dict(message.headers)}


@dataclass
class Sent:
    """A message, and the CloudEvent that the SDK reads from it."""

    message: Message
    attributes: dict[str, Any]
    data: dict[str, Any]


def outcome_of(event: Event, files: Any = None, **options: Any) -> HandlerOutcome:
    return run_handler(build, event, audio=files, options=options)


def message_of(event: Event, files: Any = None, **options: Any) -> Message:
    outcome = outcome_of(event, files, **options)
    assert outcome.state == "succeeded", outcome.error
    result = outcome.result
    return Message(body=result["body"].encode(), content_type=result["content_type"], headers=result["headers"])


def sent(event: Event, files: Any = None, **options: Any) -> Sent:
    message = message_of(event, files, **options)
    headers = {"content-type": message.content_type, **message.headers}
    cloud_event = from_http_event(HTTPMessage(headers=headers, body=message.body))
    data = cloud_event.get_data()
    assert isinstance(data, dict)
    return Sent(message, cloud_event.get_attributes(), data)


MODES = pytest.mark.parametrize("mode", ["cloudevents", "cloudevents-binary"])


@MODES
def test_a_completed_job_is_a_cloudevent_with_its_audio(mode: str) -> None:
    event = completed("job-1", metadata={"episode": 7}, chars_charged=42)
    audio = wav(seconds=2)
    found = sent(event, audio, format=mode)
    assert found.attributes == {
        "specversion": "1.0",
        "id": event.id,
        "source": "/tts-receiver/test",
        "type": "job.completed",
        "subject": "job-1",
        "time": event.received_at,
        "datacontenttype": "application/json",
    }
    [file] = found.data.pop("audio")
    assert found.data == {
        "event_id": event.id,
        "source": "test",
        "type": "job.completed",
        "job_id": "job-1",
        "origin": "webhook",
        "received_at": "2026-01-02T03:04:05Z",
        "status": "completed",
        "metadata": {"episode": 7},
        "chars_charged": 42,
        "error": None,
    }
    assert file == {
        "n": 0,
        "content_type": "audio/wav",
        "format": "wav",
        "bytes": len(audio),
        "sha256": hashlib.sha256(audio).hexdigest(),
        "duration": 2.0,
        "sample_rate": 24_000,
        "channels": 1,
        "link": f"http://127.0.0.1:8081/v1/events/{event.id}/audio?n=0",
    }


def test_both_modes_have_the_same_data_so_that_the_signature_covers_all_of_it() -> None:
    event = failed("job-1", code="VOICE_NOT_FOUND", message="No such voice")
    structured, binary = sent(event, format="cloudevents"), sent(event, format="cloudevents-binary")
    assert structured.message.content_type == "application/cloudevents+json"
    assert structured.message.headers == {}
    assert binary.message.content_type == "application/json"
    assert structured.data == binary.data == json.loads(binary.message.body)
    assert structured.data["status"] == "failed"
    assert structured.data["error"] == {"code": "VOICE_NOT_FOUND", "message": "No such voice"}
    assert structured.data["audio"] == []


@given(job=st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=50))
def test_the_headers_of_the_binary_mode_are_ascii_and_are_read_back(job: str) -> None:
    found = sent(failed(f'Straße 1 "50%" {job}'), format="cloudevents-binary")
    assert all(value.isascii() and value.isprintable() and " " not in value for value in found.message.headers.values())
    assert found.attributes["subject"] == found.data["job_id"] == f'Straße 1 "50%" {job}'


def test_files_up_to_the_limit_are_inline_and_a_larger_job_has_links() -> None:
    files = [wav(seconds=0.1), wav(seconds=0.2)]
    size = sum(len(file) for file in files)
    within = sent(completed(), files, audio="inline", max_inline_bytes=size).data["audio"]
    assert [base64.b64decode(file["data_base64"]) for file in within] == files
    above = sent(completed(), files, audio="inline", max_inline_bytes=size - 1).data["audio"]
    assert [("link" in file, "data_base64" in file) for file in above] == [(True, False)] * 2


def test_a_job_without_audio_is_sent_with_an_empty_list() -> None:
    assert sent(completed(), NoAudio("A transcript.")).data["audio"] == []


def test_audio_that_cannot_be_fetched_yet_ends_the_attempt() -> None:
    outcome = outcome_of(completed(), AudioDelayed("Wait.", after=7))
    assert (outcome.state, outcome.retry_after) == ("retry", 7.0)


def test_without_audio_nothing_is_fetched() -> None:
    found = sent(completed(), AudioRefused("This would be fetched."), audio="none")
    assert "audio" not in found.data
    assert found.data["status"] == "completed"


TEMPORARY = "https://user:pass@storage.example/a.wav?X-Signature=abcdef&Expires=1#part"


@MODES
def test_no_temporary_address_of_the_provider_is_sent(mode: str) -> None:
    body = {"data": {"audio_url": TEMPORARY}}
    event = completed(body=body, audio_url=TEMPORARY, audio_urls=[TEMPORARY], audio_url_alternatives=[TEMPORARY])
    assert b"storage.example" not in message_of(event, wav(), format=mode).body
    quoting = failed(code=TEMPORARY, message=f"could not write to {TEMPORARY}")
    assert sent(quoting, format=mode).data["error"] == {
        "code": "https://storage.example/a.wav",
        "message": "could not write to https://storage.example/a.wav",
    }


def test_the_payload_of_other_events_has_no_queries_except_in_the_submitters_metadata() -> None:
    payload = {"data": {"urls": [f"see {TEMPORARY} now"]}, "metadata": {"page": "https://shop.example/?id=7"}, "n": 1.5}
    found = sent(make_event("job.progress", payload=payload))
    assert found.data["payload"] == {
        "data": {"urls": ["see https://storage.example/a.wav now"]},
        "metadata": {"page": "https://shop.example/?id=7"},
        "n": 1.5,
    }
    assert "status" not in found.data
    assert "audio" not in found.data


TEXT = st.text('aä\u2028\x00\x1f"%\\\\ /?#😀', max_size=10)
JSON_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(TEXT, JSON_VALUE, max_size=3), st.sampled_from(["cloudevents", "cloudevents-binary"]))
def test_any_payload_and_any_metadata_is_read_back(payload: dict[str, Any], mode: str) -> None:
    assert sent(make_event("job.progress", payload=payload), format=mode).data["payload"] == without_queries(payload)
    assert sent(failed(metadata=payload), format=mode).data["metadata"] == payload


def test_an_event_without_a_job_has_no_subject() -> None:
    found = sent(make_event("test", None, payload={"hello": True}))
    assert "subject" not in found.attributes
    assert found.data["job_id"] is None


def test_the_providers_own_body_is_sent_as_it_is() -> None:
    event = completed(body={"event": "job.completed", "data": {"job_id": "job-1"}})
    message = message_of(event, AudioRefused("This would be fetched."), format="provider")
    assert message == Message(body=event.raw, content_type="application/json")


def test_a_job_that_the_receiver_gave_up_has_no_body_of_the_provider() -> None:
    outcome = outcome_of(failed(code="POLL_TIMEOUT"), format="provider")
    assert outcome.state == "dead"
    assert isinstance(outcome.error, Reject)
    assert outcome.error.reason == "no_body"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "xml"}, "format: "),
        ({"audio": "inline", "format": "provider"}, "audio: .*cannot be added to a provider's own body"),
        ({"audio": "signed-url"}, r"audio: .*object storage in \[audio\] url"),
        ({"max_inline_bytes": 0}, "max_inline_bytes: "),
        ({"signed_url_seconds": 604_801}, "signed_url_seconds: "),
    ],
)
def test_options_that_do_not_fit_are_errors(options: dict[str, Any], message: str) -> None:
    with pytest.raises(PluginError, match=message):
        outcome_of(failed(), **options)
