"""The generic provider: words and places from a table, and nothing from outside that it cannot take."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.errors import InvalidJson, MalformedDelivery
from receiver.model.delivery import Parsed, identity
from receiver.model.event import TERMINAL
from receiver.model.signature import SCHEMES
from receiver.providers.base import usable_word
from receiver.providers.generic import GenericPolledWebhooks
from receiver.providers.json_path import find, find_first, numbered_to_lists, parse_path, set_value
from receiver.providers.protocols import PROTOCOLS, PollingProvider, TaskProvider, WebhookProvider, require_submitting
from receiver.providers.types import Account, Ended, Invalid, ProviderError, Response, Running
from receiver.settings import GenericTable

BASE = "https://api.example/tts"
ACCOUNT = Account(BASE, "a-key")


def made(base_url: str = BASE, preset: str | None = "elevenlabs", **table: Any) -> GenericPolledWebhooks:
    """A service that pushes and is polled; keys replace or add to its table."""
    given = {
        "event": "type",
        "job_id": ["data.job.id", "id"],
        "status": ["data.status", "status"],
        "completed_words": ["done", "speech.done"],
        "failed_words": ["error", "speech.failed"],
        "audio_url": ["data.files.0.url", "audio"],
        "error_code": "data.problem.code",
        "error_message": "data.problem.text",
        "metadata": "data.meta",
        "status_url": "/v1/jobs/{job_id}",
        "progress": "percent",
    }
    signature = None if preset is None else SCHEMES[preset]
    return GenericTable.model_validate({**given, **table}).provider(base_url, signature)  # type: ignore[return-value]


def parse(document: Any, headers: dict[str, str] | None = None, **table: Any) -> Parsed:
    raw = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    return made(**table).parse_delivery(raw, json.dumps(document).encode())


def read(document: Any, status: int = 200, **table: Any) -> Any:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return made(**table).read_status(ACCOUNT, "j-1", Response(status, [], body))


# deliveries


def test_an_event_word_in_a_list_ends_the_job_and_every_place_is_read() -> None:
    body = {
        "type": "Speech.DONE",
        "data": {
            "job": {"id": 17},
            "files": [{"url": "https://cdn.example/a.mp3"}, {"url": "https://cdn.example/b.mp3"}],
            "meta": {"chapter": 3},
        },
    }
    assert parse(body) == Parsed(
        "job.completed",
        "17",
        {"status": "completed", "audio_url": "https://cdn.example/a.mp3", "metadata": {"chapter": 3}},
    )


def test_a_failure_has_its_code_and_message() -> None:
    body = {"type": "speech.failed", "id": "j", "data": {"problem": {"code": "QUOTA", "text": "Too long."}}}
    assert parse(body).payload == {"status": "failed", "error": {"code": "QUOTA", "message": "Too long."}}


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [({"error": "Too long."}, "", "Too long."), ({"error": {"code": 7, "message": "m"}}, "7", "m"), ({}, "", "")],
)
def test_a_failure_without_configured_words_says_what_services_usually_say(
    error: dict[str, Any], code: str, message: str
) -> None:
    parsed = parse({"type": "speech.failed", "id": "j", **error}, error_code=[], error_message=[])
    assert parsed.payload["error"] == {"code": code, "message": message}


def test_the_addresses_at_further_places_are_other_ways_to_the_same_file() -> None:
    both = {"type": "done", "id": "j", "data": {"files": [{"url": "https://a.example/1"}]}, "audio": f"{BASE}/1"}
    payload = parse(both).payload
    assert payload["audio_url"] == "https://a.example/1"
    assert payload["audio_url_alternatives"] == [f"{BASE}/1"]
    [[find_first, second]] = made().audio_requests(BASE, "a-key", "j", payload)
    assert [find_first.url, second.url] == ["https://a.example/1", f"{BASE}/1"]
    assert [bool(find_first.headers_if_refused), bool(second.headers_if_refused)] == [False, True]
    unusable = both | {"data": {"files": [{"url": "no address"}]}}
    assert parse(unusable).payload["audio_url"] == f"{BASE}/1"


def test_a_list_of_addresses_is_several_files() -> None:
    parsed = parse({"type": "done", "id": "j", "audio": ["https://a.example/1", "https://a.example/2", "no address"]})
    assert parsed.payload["audio_urls"] == ["https://a.example/1", "https://a.example/2"]
    files = made().audio_requests(BASE, "a-key", "j", parsed.payload)
    assert [[request.url for request in file] for file in files] == [["https://a.example/1"], ["https://a.example/2"]]


@pytest.mark.parametrize(
    ("body", "type_"),
    [
        ({"type": "job.updated", "id": "j", "status": "Done"}, "job.completed"),
        ({"type": "job.updated", "id": "j", "status": " ERROR "}, "job.failed"),
        ({"type": "speech.done", "id": "j", "status": "error"}, "job.failed"),
        ({"type": "speech.failed", "id": "j", "status": "done"}, "job.failed"),
        ({"id": "j", "status": "done"}, "job.completed"),
        ({"type": "job.completed", "id": "j"}, "job.completed"),
        ({"type": "JOB.FAILED", "id": "j"}, "job.failed"),
        ({"type": "job.updated", "id": "j", "status": "running"}, "job.updated"),
        ({"id": "j", "status": "running"}, "running"),
        ({"type": "test"}, "test"),
        ({"type": "account.closed", "status": "done"}, "account.closed"),
        ({"type": 5}, "5"),
    ],
)
def test_the_event_word_and_the_status_say_what_happened_and_a_failure_counts_for_more(
    body: dict[str, Any], type_: str
) -> None:
    assert parse(body).type == type_


def test_another_event_is_kept_as_it_is() -> None:
    body = {"type": "voice.cloned", "data": {"voice": "v"}}
    assert parse(body) == Parsed("voice.cloned", None, body, ("unknown_event",))
    assert parse({"type": "test"}).notes == ()


@pytest.mark.parametrize(
    ("body", "event_id", "notes"),
    [
        ({"type": "voice.cloned", "event": {"id": "evt_1"}}, "evt_1", ("unknown_event",)),
        ({"type": "voice.cloned", "event": {"id": 17}}, "17", ("unknown_event",)),
        ({"type": "voice.cloned"}, None, ("unknown_event",)),
        ({"type": "voice.cloned", "event": {"id": ""}}, None, ("unknown_event",)),
        ({"type": "voice.cloned", "event": {"id": ["evt_1"]}}, None, ("unknown_event", "unusable_event_id")),
        ({"type": "voice.cloned", "event": {"id": " evt_1"}}, None, ("unknown_event", "unusable_event_id")),
        ({"type": "speech.done", "id": "j", "event": {"id": "evt_1"}}, None, ()),
    ],
)
def test_an_event_that_ends_no_job_is_identified_by_its_id_in_the_signed_body(
    body: dict[str, Any], event_id: str | None, notes: tuple[str, ...]
) -> None:
    parsed = parse(body, event_id=["event.id"])
    assert (parsed.event_id, parsed.notes) == (event_id, notes)
    expected = parsed.job_id or event_id or "msg_1"
    assert identity(parsed, "msg_1", b"{}") == expected


@pytest.mark.parametrize(
    ("body", "header", "type_", "notes"),
    [
        ({"id": "j"}, "test", "test", ()),
        ({"id": "j"}, " test\t", "test", ()),
        ({"id": "j", "status": "done"}, "test", "job.completed", ("event_header_mismatch",)),
        ({"type": "speech.failed", "id": "j"}, "speech.done", "job.failed", ("event_header_mismatch",)),
        ({"type": "cloned", "id": "j"}, "speech.done", "cloned", ("event_header_mismatch", "unknown_event")),
        ({"id": "j", "status": "error"}, "speech.done", "job.failed", ("event_header_mismatch",)),
        ({"id": "j", "status": "running"}, "speech.done", "running", ("event_header_mismatch", "unknown_event")),
        ({"id": "j", "status": "running"}, "voice.cloned", "running", ("event_header_mismatch", "unknown_event")),
        ({"id": "j", "status": "done"}, "speech.done", "job.completed", ()),
        ({"type": "speech.done", "id": "j"}, "speech.done", "job.completed", ()),
    ],
)  # fmt: skip
def test_the_unsigned_event_header_never_counts_against_the_signed_body(
    body: dict[str, Any], header: str, type_: str, notes: tuple[str, ...]
) -> None:
    parsed = parse(body, {"x-event": header}, event_header="X-Event")
    assert (parsed.type, parsed.notes) == (type_, notes)


@pytest.mark.parametrize("header", ["speech.done", "job.completed", "job.failed", "error", "voice.cloned", "TEST"])
def test_the_unsigned_event_header_names_nothing_but_a_test(header: str) -> None:
    for body in ({"id": "j"}, {"id": "j", "type": None, "status": ""}):
        with pytest.raises(MalformedDelivery) as caught:
            parse(body, {"x-event": header}, event_header="X-Event")
        assert caught.value.reason == "no_event"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({}, "no_event"),
        ({"type": {"a": 1}}, "no_event"),
        ({"type": "\n"}, "no_event"),
        ({"type": "speech.done"}, "no_job_id"),
        ({"type": "speech.done", "id": ["j"]}, "no_job_id"),
        ({"status": "done"}, "no_job_id"),
        ([], "not_an_object"),
    ],
)
def test_a_delivery_that_cannot_be_told_apart_is_malformed(body: Any, reason: str) -> None:
    with pytest.raises((InvalidJson, MalformedDelivery)) as caught:
        parse(body)
    assert caught.value.reason == reason


def test_the_event_header_is_not_asked_where_the_bodys_word_is_unusable() -> None:
    with pytest.raises(MalformedDelivery):
        parse({"type": [], "id": "j"}, {"x-event": "speech.done"}, event_header="X-Event")


def test_the_configured_event_header_is_kept() -> None:
    assert made(event_header="X-Event").kept_headers == ("x-event",)
    assert made().kept_headers == ()


@pytest.mark.parametrize("event", ["job.completed", "job.failed", "test", "voice.cloned"])
@pytest.mark.parametrize("places", [{}, {"event": []}, {"job_id": "jobs.0.id", "status": "jobs.0.state"}])
def test_a_delivery_sent_by_hand_is_read_as_what_it_is_meant_to_be(event: str, places: dict[str, Any]) -> None:
    provider = made(event_header="X-Event", **places)
    headers = provider.delivery_headers(event, "d-1")
    raw = [(name.lower().encode(), value.encode()) for name, value in headers]
    body = provider.sample_body(event, "j", "2026-11-02T10:00:00Z")
    parsed = provider.parse_delivery(raw, json.dumps(body).encode())
    assert (parsed.type, parsed.job_id) == (event, "j")
    assert "event_header_mismatch" not in parsed.notes


def test_headers_that_the_signature_brings_are_not_added_twice() -> None:
    for name, headers in (("X-Event", [("X-Event", "test")]), ("Webhook-Id", [])):
        provider = made(preset="standard-webhooks", event_header=name)
        assert provider.delivery_headers("test", "d") == headers


# polls


def test_an_answer_is_running_completed_or_failed_by_its_status_alone() -> None:
    assert read({"status": "Queued", "percent": 42.7}) == Running("Queued", 42)
    assert read({"status": "queued", "percent": "much", "type": "speech.done"}) == Running("queued")
    done = read({"status": "DONE", "audio": "https://cdn.example/a.mp3"})
    assert done == Ended(
        Parsed("job.completed", "j-1", {"status": "completed", "audio_url": "https://cdn.example/a.mp3"})
    )
    failed = read({"data": {"status": "error", "problem": {"text": "No."}}})
    assert failed.parsed.payload == {"status": "failed", "error": {"code": "", "message": "No."}}


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (404, {"error": "unknown"}, "provider_unknown_job"),
        (401, b"", "provider_unauthorized"),
        (429, b"slow", "provider_rate_limited"),
        (503, b"<html>", "provider_unavailable"),
        (200, b"<html>", "provider_unreadable"),
        (200, {"state": "done"}, "provider_unreadable"),
        (200, {"error": "no"}, "provider_refused"),
    ],
)
def test_any_other_answer_is_an_error_of_its_own(status: int, body: Any, reason: str) -> None:
    with pytest.raises(ProviderError) as caught:
        read(body, status)
    assert caught.value.reason == reason


@pytest.mark.parametrize("job_id", ["..", ".", "a/../b", "a?b#c", "ü", "{job_id}", "\ud800"])
def test_a_job_id_stays_one_segment_of_the_address(job_id: str) -> None:
    url = made().status_request(ACCOUNT, job_id).url
    assert url.startswith(f"{BASE}/v1/jobs/")
    last = url.removeprefix(f"{BASE}/v1/jobs/")
    assert last.strip(".")
    assert not set(last) & set("/?#{}")


def test_the_key_goes_where_the_table_says() -> None:
    provider = made(auth_header="X-Key", auth_prefix="")
    assert provider.status_request(ACCOUNT, "j").headers["X-Key"] == "a-key"
    assert "X-Key" not in provider.status_request(Account(BASE, None), "j").headers


@pytest.mark.parametrize(
    ("needs", "url", "key"),
    [
        (True, "https://api.example/files/a.mp3", True),
        (True, "https://API.example:443/files/a.mp3", True),
        (True, "https://cdn.example/a.mp3", False),
        (True, "http://api.example/files/a.mp3", False),
        (True, "https://api.example:444/a.mp3", False),
        (False, "https://api.example/files/a.mp3", False),
    ],
)
def test_audio_gets_the_key_at_home_only_and_only_if_it_needs_it(needs: bool, url: str, key: bool) -> None:
    [[request]] = made(audio_needs_key=needs).audio_requests(BASE, "a-key", "j", {"audio_url": url})
    assert dict(request.headers) == ({"Authorization": "Bearer a-key"} if key else {})
    assert (request.url, request.durable) == (url, key)


# what it does not do


@pytest.mark.parametrize(
    ("table", "protocols"),
    [
        ({}, {WebhookProvider, PollingProvider, TaskProvider}),
        ({"preset": None}, {PollingProvider, TaskProvider}),
        ({"status_url": None}, {WebhookProvider}),
    ],
)
def test_it_has_the_methods_for_what_its_table_describes_and_no_others(
    table: dict[str, Any], protocols: set[type]
) -> None:
    provider = made(**table)
    assert {protocol for protocol in PROTOCOLS.values() if isinstance(provider, protocol)} == protocols


def test_submitting_to_it_is_refused_with_what_to_do() -> None:
    with pytest.raises(Invalid, match="jobs watch"):
        require_submitting(made())


# whatever comes

_NAMES = st.sampled_from(["type", "data", "job", "id", "status", "files", "url", "audio", "problem", "code", "0"])
_SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.sampled_from(
    ["done", "ERROR", "speech.done", "job.failed", "test", "https://a.example/x", 10**400]
)  # fmt: skip
_JSON = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=5), max_leaves=20
)
_HEADERS = st.lists(
    st.tuples(st.sampled_from([b"x-event", b"x-other"]), st.binary() | st.sampled_from([b"speech.done", b"test"])),
    max_size=3,
)


@given(headers=_HEADERS, body=st.binary() | _JSON.map(lambda value: json.dumps(value).encode()))
def test_any_delivery_is_read_or_malformed(headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    provider = made(event_header="X-Event")
    try:
        parsed = provider.parse_delivery(headers, body)
    except (InvalidJson, MalformedDelivery):
        return
    json.dumps(parsed.payload, allow_nan=False)
    assert usable_word(parsed.type) == parsed.type
    assert parsed.job_id is None or usable_word(parsed.job_id) == parsed.job_id
    if parsed.type in TERMINAL:
        assert parsed.job_id is not None
        assert parsed.payload["status"] == parsed.type.removeprefix("job.")


@given(
    status=st.just(200) | st.integers(-1, 1000), body=st.binary() | _JSON.map(lambda value: json.dumps(value).encode())
)
def test_any_answer_is_a_status_or_an_error(status: int, body: bytes) -> None:
    try:
        got = read(body, status)
    except ProviderError:
        return
    assert isinstance(got, Running | Ended)


@given(document=_JSON, place=st.lists(_NAMES, min_size=1, max_size=5).map(tuple))
def test_a_place_is_found_or_is_not_there_and_what_is_put_in_is_found_again(document: Any, place: Any) -> None:
    find(document, place)
    made: dict[str, Any] = {}
    set_value(made, place, "here")
    whole = {name: numbered_to_lists(value) for name, value in made.items()}
    assert find(whole, place) == find_first(whole, [("not-there",), place]) == "here"


@given(text=st.text())
def test_any_text_is_a_place_or_a_value_error(text: str) -> None:
    try:
        assert ".".join(parse_path(text)) == text
    except ValueError as error:
        assert str(error)  # noqa: PT017
