"""What the aitts provider's deliveries say, and where its API key may go."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from receiver.errors import InvalidJson, MalformedDelivery
from receiver.model.delivery import Parsed
from receiver.model.event import COMPLETED, FAILED
from receiver.providers import PROVIDERS
from receiver.providers.aitts import Aitts, audio_path
from receiver.providers.base import MAX_WORD, origin_of, usable_word

AITTS = Aitts()
BASE = "https://aitts.theproductivepixel.com"
KEY = "tts_live_0123456789"

DOCUMENTED = {
    "event": "job.completed",
    "created_at": "2026-11-02T10:00:00Z",
    "data": {
        "job_id": "job_1",
        "status": "completed",
        "audio_url": "https://storage.example.com/job_1.wav?sig=x",
        "audio_url_expires_at": "2026-11-03T10:00:00Z",
        "audio_endpoint": "/api/v1/tts/job_1/audio",
        "chars_charged": 42,
        "metadata": {"chapter": 3},
    },
}


def parse(document: Any, *headers: tuple[bytes, bytes]) -> Parsed:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return AITTS.parse_delivery(list(headers), body)


def refusal(document: Any, *headers: tuple[bytes, bytes]) -> str:
    with pytest.raises((InvalidJson, MalformedDelivery)) as caught:
        parse(document, *headers)
    return caught.value.reason


# reading


def test_the_documented_body_is_read_whole() -> None:
    parsed = parse(DOCUMENTED)
    assert (parsed.type, parsed.job_id, parsed.notes) == (COMPLETED, "job_1", ())
    assert parsed.payload == {
        "status": "completed",
        "audio_url": "https://storage.example.com/job_1.wav?sig=x",
        "audio_url_expires_at": "2026-11-03T10:00:00Z",
        "audio_endpoint": "/api/v1/tts/job_1/audio",
        "chars_charged": 42,
        "metadata": {"chapter": 3},
        "created_at": "2026-11-02T10:00:00Z",
    }


def test_the_flat_form_without_data_is_read_the_same() -> None:
    flat = {"event": "job.completed", **DOCUMENTED["data"], "created_at": DOCUMENTED["created_at"]}
    assert parse(flat) == parse(DOCUMENTED)


def test_a_failed_job_has_its_code_and_message() -> None:
    error = {"code": "GENERATION_FAILED", "message": "no voice"}
    parsed = parse({"event": "job.failed", "data": {"job_id": "j", "error": error}})
    assert parsed == Parsed(FAILED, "j", {"error": error})


@pytest.mark.parametrize(
    ("given_error", "read"),
    [
        ("out of memory", {"code": "", "message": "out of memory"}),
        ({"code": "X"}, {"code": "X", "message": ""}),
        ({"code": None, "message": None}, {"code": "", "message": ""}),
        ({"code": 5, "message": ["a"]}, {"code": "5", "message": "['a']"}),
        (None, {"code": "", "message": ""}),
        (17, {"code": "", "message": "17"}),
    ],
)
def test_an_error_in_any_form_becomes_code_and_message(given_error: Any, read: dict[str, str]) -> None:
    assert parse({"event": "job.failed", "data": {"job_id": "j", "error": given_error}}).payload["error"] == read


def test_an_event_without_an_error_field_still_has_an_error_to_show() -> None:
    assert parse({"event": "job.failed", "job_id": "j"}).payload["error"] == {"code": "", "message": ""}


def test_unknown_fields_of_a_terminal_event_are_passed_over() -> None:
    document = {"event": COMPLETED, "new": 1, "data": {"job_id": "j", "newer": {"x": 2}}}
    assert parse(document) == Parsed(COMPLETED, "j", {})


def test_the_signed_body_names_the_event_whatever_the_header_says() -> None:
    parsed = parse(DOCUMENTED, (b"x-tts-event", b"job.failed"))
    assert parsed.type == COMPLETED
    assert parsed.notes == ("event_header_mismatch",)
    assert parse(DOCUMENTED, (b"x-tts-event", b"job.completed")).notes == ()


@pytest.mark.parametrize("value", [b"test", b" test", b"test\t "])
def test_the_header_may_name_a_test_where_the_body_says_nothing(value: bytes) -> None:
    assert parse({"hello": 1}, (b"x-tts-event", value)) == Parsed("test", None, {"hello": 1})
    assert parse({"event": None, "status": "processing"}, (b"x-tts-event", value)).type == "test"


@pytest.mark.parametrize("word", [b"job.completed", b"job.failed", b"completed", b"job.paused", b"TEST"])
@pytest.mark.parametrize("data", [{}, {"status": "processing"}, {"status": 200}, {"status": None}])
def test_the_header_names_nothing_but_a_test(word: bytes, data: dict[str, Any]) -> None:
    for body in ({"data": {"job_id": "j", **data}}, {"event": None, "job_id": "j", **data}):
        assert refusal(body, (b"x-tts-event", word)) == "no_event"


@pytest.mark.parametrize("header", [None, b"job.completed", b"job.failed", b"test", b"job.paused"])
@pytest.mark.parametrize(
    ("status", "type_"), [("completed", COMPLETED), (" COMPLETED ", COMPLETED), ("failed", FAILED), ("Failed", FAILED)]
)
def test_without_an_event_the_signed_status_says_how_the_job_ended(
    status: str, type_: str, header: bytes | None
) -> None:
    headers = [] if header is None else [(b"x-tts-event", header)]
    for body in ({"data": {"job_id": "j", "status": status}}, {"job_id": "j", "status": status}):
        parsed = parse(body, *headers)
        assert (parsed.type, parsed.job_id, parsed.payload["status"]) == (type_, "j", status.strip().lower())
        mismatch = header is not None and header.decode() != type_
        assert parsed.notes == (("event_header_mismatch",) if mismatch else ())
    assert refusal({"data": {"status": status}}, *headers) == "no_job_id"


def test_without_an_event_in_body_or_header_the_delivery_is_malformed() -> None:
    assert refusal({"data": {"job_id": "j"}}) == "no_event"
    assert refusal({}, (b"x-tts-event", b"")) == "no_event"
    assert refusal({}, (b"x-tts-event", b"test"), (b"x-tts-event", b"test")) == "no_event"
    assert refusal({}, (b"x-tts-event", b"t\xc3\xa9st")) == "no_event"


def test_an_unusable_event_in_the_body_is_not_replaced_by_the_header() -> None:
    assert refusal({"event": ["job.completed"]}, (b"x-tts-event", b"test")) == "no_event"
    assert refusal({"event": ""}, (b"x-tts-event", b"test")) == "no_event"


def test_test_events_and_unknown_words_keep_the_whole_body() -> None:
    assert parse({"event": "test", "test_id": "t1"}) == Parsed("test", None, {"event": "test", "test_id": "t1"})
    parsed = parse({"event": "job.paused", "data": {"job_id": "j"}})
    assert (parsed.type, parsed.job_id, parsed.notes) == ("job.paused", "j", ("unknown_event",))
    assert parsed.payload == {"event": "job.paused", "data": {"job_id": "j"}}


@pytest.mark.parametrize(
    "job_id",
    [
        None,
        "",
        " ",
        " j",
        "j\n",
        "a\x00b",
        "a\x1bb",
        "a\x7fb",
        "a\u200eb",
        "a\u2028b\ue000",
        "\u00a0j",
        "j" * (MAX_WORD + 1),
        1 << 64,
        True,
        1.5,
        ["j"],
        {"id": "j"},
    ],
)
@pytest.mark.parametrize("word", [COMPLETED, FAILED])
def test_a_terminal_event_without_a_usable_job_id_is_malformed(word: str, job_id: Any) -> None:
    assert refusal({"event": word, "data": {"job_id": job_id}}) == "no_job_id"


@pytest.mark.parametrize("escape", [b"\\ud800", b"\\udc00", b"\\ud800x", b"\\udc00\\ud800", b"\xf0\x9f"])
def test_half_a_character_in_a_job_id_is_malformed_for_two_jobs_would_become_one(escape: bytes) -> None:
    with pytest.raises(MalformedDelivery, match="usable job_id"):
        parse(b'{"event":"job.completed","data":{"job_id":"' + escape + b'"}}')


@pytest.mark.parametrize(("given_id", "read"), [("j" * MAX_WORD,) * 2, (17, "17"), ("jöb 1",) * 2, ("😀",) * 2])
def test_a_usable_job_id_is_taken_as_it_is(given_id: Any, read: str) -> None:
    assert parse({"event": COMPLETED, "data": {"job_id": given_id}}).job_id == read


@pytest.mark.parametrize(
    ("body", "slug"),
    [
        (b"", "malformed_json"),
        (b"{", "malformed_json"),
        (b'{"event":"test"} x', "malformed_json"),
        (b'{"event":NaN}', "no_event"),
        (b'{"event":"\xff"}', "no_event"),
        (b"\xef\xbb\xbf{}", "no_event"),
        (b"\xef\xbb\xbf\xef\xbb\xbf{}", "malformed_json"),
        ('{"event":"test"}'.encode("utf-16"), "malformed_json"),
        (b"[" * 100_000, "malformed_json"),
        (b'{"a":' * 100_000, "malformed_json"),
        (b"[]", "not_an_object"),
        (b"null", "not_an_object"),
        (b'"event"', "not_an_object"),
        (b"1", "not_an_object"),
    ],
)
def test_a_body_that_is_no_json_object_is_malformed_with_its_reason(body: bytes, slug: str) -> None:
    assert refusal(body) == slug


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
_WORDS = st.sampled_from([COMPLETED, FAILED, "test", "job.paused"]) | _JSON
_FIELDS = st.sampled_from(["job_id", "status", "audio_endpoint", "audio_url", "error", "metadata", "chars_charged"])
_DATA = st.dictionaries(_FIELDS, _JSON, max_size=5)
_HEADERS = st.lists(
    st.tuples(st.sampled_from([b"x-tts-event", b"x-tts-delivery-id"]), st.binary(max_size=40)), max_size=3
)


@given(body=st.binary(), headers=_HEADERS)
@example(b'{"event":1e999}', [])
@example(b'{"event":"test","event":null}', [])
def test_arbitrary_bytes_raise_nothing_but_what_the_intake_refuses(
    body: bytes, headers: list[tuple[bytes, bytes]]
) -> None:
    try:
        AITTS.parse_delivery(headers, body)
    except (InvalidJson, MalformedDelivery):
        return


@given(word=_WORDS, data=_DATA | _JSON, extra=_DATA, headers=_HEADERS)
def test_arbitrary_json_is_read_or_malformed_and_what_is_read_is_usable(
    word: Any, data: Any, extra: dict[str, Any], headers: list[tuple[bytes, bytes]]
) -> None:
    body = json.dumps({**extra, "event": word, "data": data}).encode()
    try:
        parsed = AITTS.parse_delivery(headers, body)
    except (InvalidJson, MalformedDelivery):
        return
    assert usable_word(parsed.type) == parsed.type
    assert parsed.job_id is None or usable_word(parsed.job_id) == parsed.job_id
    assert parsed.job_id is not None or parsed.type not in (COMPLETED, FAILED)
    json.dumps(parsed.payload)


@pytest.mark.parametrize("event", [COMPLETED, FAILED, "test"])
def test_a_sample_body_reads_as_what_it_is_a_sample_of(event: str) -> None:
    body = json.dumps(AITTS.sample_body(event, "job_9", "2026-11-02T10:00:00Z")).encode()
    headers = [(name.lower().encode(), value.encode()) for name, value in AITTS.delivery_headers(event, "d-1")]
    parsed = AITTS.parse_delivery(headers, body)
    assert (parsed.type, parsed.job_id, parsed.notes) == (event, "job_9", ())


@given(st.text())
def test_no_word_is_usable_that_cannot_be_stored_and_printed(text: str) -> None:
    word = usable_word(text)
    if word is not None:
        assert word == text == text.strip()
        assert 0 < len(word) <= MAX_WORD
        assert word.encode()
        assert "\n" not in word
        assert "\x00" not in word


def test_the_providers_are_known_by_their_names() -> None:
    assert all(PROVIDERS[name].name == name for name in PROVIDERS)
    assert "aitts" in PROVIDERS


# audio


def audio_addresses(
    payload: dict[str, Any], base: str = BASE, key: str | None = KEY, job: str = "job_1"
) -> list[tuple[str, bool]]:
    files = AITTS.audio_requests(base, key, job, payload)
    assert len(files) <= 1
    return [(request.url, "Authorization" in request.headers) for file in files for request in file]


def test_the_durable_endpoint_comes_first_with_the_key_then_the_temporary_address_without() -> None:
    assert audio_addresses(dict(DOCUMENTED["data"])) == [
        (f"{BASE}/api/v1/tts/job_1/audio", True),
        ("https://storage.example.com/job_1.wav?sig=x", False),
    ]


def test_a_missing_audio_endpoint_is_derived_from_the_job_id() -> None:
    assert audio_addresses({}) == [(f"{BASE}/api/v1/tts/job_1/audio", True)]
    assert audio_addresses({}, job="a/../b?c#d ü") == [(f"{BASE}/api/v1/tts/a%2F..%2Fb%3Fc%23d%20%C3%BC/audio", True)]


def test_an_absolute_audio_endpoint_on_the_sources_own_origin_is_used() -> None:
    assert audio_addresses({"audio_endpoint": f"{BASE}/v9/audio/1"}) == [(f"{BASE}/v9/audio/1", True)]
    assert audio_addresses({"audio_endpoint": f"{BASE}:443/v9"}) == [(f"{BASE}:443/v9", True)]


def test_a_base_url_with_a_path_or_port_is_kept() -> None:
    assert audio_addresses({}, "http://127.0.0.1:9000/")[0][0] == "http://127.0.0.1:9000/api/v1/tts/job_1/audio"
    assert audio_addresses({}, "https://proxy.example/tts")[0][0] == "https://proxy.example/tts/api/v1/tts/job_1/audio"


def test_without_an_api_key_only_the_temporary_address_is_left() -> None:
    assert audio_addresses(dict(DOCUMENTED["data"]), key=None) == [
        ("https://storage.example.com/job_1.wav?sig=x", False)
    ]
    assert audio_addresses({}, key=None) == []


_FOREIGN = [
    "https://evil.example/audio",
    "//evil.example/audio",
    "http://aitts.theproductivepixel.com/audio",
    "https://aitts.theproductivepixel.com:8443/audio",
    "https://aitts.theproductivepixel.com@evil.example/",
    "https://user:pw@aitts.theproductivepixel.com/audio",
    "https://aitts.theproductivepixel.com.evil.example/",
    "https:\\\\evil.example\\audio",
    "\\\\evil.example/audio",
    "/\\evil.example/audio",
    "https:/evil.example",
    "https:evil.example",
    "///evil.example",
    "ftp://aitts.theproductivepixel.com/x",
    "javascript:alert(1)",
    "https://[::1/audio",
    "https://aitts.theproductivepixel.com:99999/audio",
    "https://aitts.theproductivepixel.com:x/audio",
    "/audio\r\nHost: evil.example",
    "/audio\x00",
    "/\t/evil.example/",
    "",
]


@pytest.mark.parametrize("endpoint", _FOREIGN)
def test_the_api_key_stays_at_home_whatever_the_audio_endpoint_is(endpoint: str) -> None:
    [(url, authorized)] = audio_addresses({"audio_endpoint": endpoint})
    assert authorized
    assert origin_of(url) == origin_of(BASE)


_URLISH = st.lists(
    st.sampled_from(
        ["https:", "http:", "//", "/", "\\", "@", ":", "?", "#", "..", "[", "]", "%2f", "\t", "\n", " ", "evil.example",
         "aitts.theproductivepixel.com", "443", "80", "127.0.0.1", "。", "／", "ⓐ"]
    ),
    max_size=8,
).map("".join)  # fmt: skip
_BASES = st.sampled_from([BASE, "http://127.0.0.1:8123", "https://proxy.example/tts/", "https://[::1]:8443"])


@given(endpoint=_URLISH | st.text() | _JSON, job=st.text(min_size=1), base=_BASES)
def test_the_request_with_the_key_always_has_the_base_urls_origin(endpoint: Any, job: str, base: str) -> None:
    job = job.encode(errors="ignore").decode()
    [requests] = AITTS.audio_requests(base, KEY, job, {"audio_endpoint": endpoint})
    assert [request.headers for request in requests] == [{"Authorization": f"Bearer {KEY}"}]
    assert origin_of(requests[0].url) == origin_of(base)
    as_sent = httpx.URL(requests[0].url)  # what the client makes of it
    assert (as_sent.scheme, as_sent.host, as_sent.port) == (
        httpx.URL(base).scheme, httpx.URL(base).host, httpx.URL(base).port,
    )  # fmt: skip
    assert requests[0].url.isascii()
    assert requests[0].url.isprintable()


@given(url=_URLISH | st.text() | _JSON)
def test_the_temporary_address_never_carries_the_key(url: Any) -> None:
    [requests] = AITTS.audio_requests(BASE, KEY, "job_1", {"audio_url": url})
    for request in requests[1:]:
        assert request.headers == {}
        assert not request.durable


@given(job=st.text(min_size=1, max_size=40))
def test_the_audio_path_of_any_job_id_is_one_segment(job: str) -> None:
    job = job.encode(errors="ignore").decode()
    path = audio_path(job)
    assert path.startswith("/api/v1/tts/")
    assert path.endswith("/audio")
    assert path.isascii()
    assert path.count("/") == 5
    assert "?" not in path
    assert "#" not in path


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://A.example./x", ("https", "a.example", 443)),
        ("HTTP://a.example:80", ("http", "a.example", 80)),
        ("https://[::1]:8443/", ("https", "::1", 8443)),
        ("https://u@a.example/", None),
        ("/path", None),
        ("https:///x", None),
        ("https://a.example:port/", None),
        ("https://[::1", None),
        ("file:///etc/passwd", None),
    ],
)
def test_an_origin_is_scheme_host_and_port(url: str, origin: tuple[str, str, int] | None) -> None:
    assert origin_of(url) == origin
