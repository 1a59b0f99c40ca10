"""Fields are found whatever the form of the body, and requests are built without knowing a service."""

from __future__ import annotations

import json
from typing import Any

import pytest

from receiver.providers.audixa import Audixa, AudixaV3
from receiver.providers.fields import MAX_ADDRESS, ErrorDetail, error_detail, pick, status_word, unwrap, web_addresses
from receiver.providers.finevoice import Finevoice
from receiver.providers.miragic import Miragic
from receiver.providers.requests import bearer, get, key_header, path_segment
from receiver.providers.responses import MAX_QUOTE, RequestContext, read_object
from receiver.providers.types import Account, Invalid, Response, Unauthorized, Unavailable, UnknownJob
from tests.cost import max_cpu_seconds

KEY = "key_0123456789"
ACCOUNT = Account("https://api.example/", KEY)
A, B = "https://a.example/1.mp3", "http://b.example/2.mp3"


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ({"status": "flat"}, "flat"),
        ({"data": {"status": "nested"}, "status": "flat"}, "nested"),
        ({"data": {"status": None}, "status": "flat"}, "flat"),
        ({"data": ["status"], "status": "flat"}, "flat"),
        ({"data": {}}, None),
    ],
)
def test_a_field_is_found_in_flat_and_nested_bodies(body: dict[str, Any], found: str | None) -> None:
    assert pick(unwrap(body), "status") == found


@pytest.mark.parametrize(
    ("value", "word"),
    [(" Completed ", "completed"), (202, "202"), (True, None), (None, None), ([], None), ("\x00", None)],
)
def test_a_status_word_is_lower_case_text(value: object, word: str | None) -> None:
    assert status_word(value) == word


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"error": {"code": "X", "message": "y"}}, ("X", "y")),
        ({"error": "y", "detail": "z"}, ("", "y")),
        ({"error": None, "detail": "z"}, ("", "z")),
        ({"error": True, "message": "z"}, ("", "z")),
        ({"detail": [{"loc": ["text"], "msg": "too long"}, "and more"]}, ("", "too long; and more")),
        ({"data": {"errorMessage": "inner"}, "message": "outer"}, ("", "inner")),
        ({"data": {"message": "inner"}, "error": "outer"}, ("", "outer")),
        ({}, ("", "")),
    ],
)
def test_what_went_wrong_is_found_under_any_name(body: dict[str, Any], error: tuple[str, str]) -> None:
    assert error_detail(*unwrap(body), others=("message",)) == ErrorDetail(*error)


def test_only_web_addresses_and_paths_are_taken_each_once() -> None:
    values = (A, [B, A, 7, "ftp://c.example"], {"vocals": B, "x": None}, None, 3, "/relative", "no address")
    assert web_addresses(*values) == [A, B, "/relative"]


def test_an_address_that_cannot_be_used_is_kept_if_there_is_no_other() -> None:
    assert web_addresses("ftp://c.example/a.wav", None, " ", "") == ["ftp://c.example/a.wav"]
    assert web_addresses("data:" + "a" * 100_000) == ["data:" + "a" * (MAX_ADDRESS - 5)]
    assert web_addresses(None, "", []) == []


@pytest.mark.parametrize("space", [" ", "  ", "\n", "\t", "\r\n", "\u00a0"])
def test_white_space_around_an_address_is_no_part_of_it(space: str) -> None:
    assert web_addresses(f"{space}{A}", [f"{B}{space}"], {"x": f"{space}{A}{space}"}) == [A, B]


def test_each_output_is_a_file_with_one_way_to_get_it() -> None:
    payload = {"audio_url": B, "audio_urls": [A, B]}
    [[first], [second]] = Finevoice().audio_requests("https://x.example", KEY, "j", payload)
    assert (first.url, first.headers, first.durable) == (B, {}, False)
    assert second.url == A
    assert len(Finevoice().audio_requests("https://x.example", KEY, "j", {"audio_url": [A, B]})) == 1
    assert Finevoice().audio_requests("https://x.example", KEY, "j", {}) == []


@pytest.mark.parametrize(
    ("url", "request_url"),
    [
        (Finevoice().status_request(ACCOUNT, "a/b"), "https://api.example/v1/task/a%2Fb"),
        (Miragic().status_request(ACCOUNT, "a?b"), "https://api.example/api/v1/text-to-speech/jobs/a%3Fb"),
        (Audixa().status_request(ACCOUNT, "a&b"), "https://api.example/v2/status?generation_id=a%26b"),
        (
            AudixaV3().status_request(ACCOUNT, "g"),
            "https://api.example/v3/tts?generation_id=g",
        ),
    ],
)
def test_a_status_is_asked_for_at_the_documented_address(url: Any, request_url: str) -> None:
    assert (url.method, url.url, url.body) == ("GET", request_url, None)


def test_each_service_is_given_the_key_in_its_own_header() -> None:
    assert Finevoice().status_request(ACCOUNT, "j").headers["Authorization"] == f"Bearer {KEY}"
    assert Miragic().status_request(ACCOUNT, "j").headers["X-API-Key"] == KEY
    assert Audixa().status_request(ACCOUNT, "j").headers["x-api-key"] == KEY
    assert bearer(Account("https://api.example", None)) == key_header(Account("https://api.example", None), "k") == {}
    assert get(ACCOUNT, "/x", {}).headers == {"Accept": "application/json"}
    assert path_segment("ü/..") == "%C3%BC%2F.."


def test_version_three_of_audixa_offers_formats() -> None:
    assert (Audixa.versions["v2"].capabilities.formats, Audixa().capabilities.formats) == ((), ())
    assert Audixa.versions["v3"].capabilities.formats == ("wav", "mp3")


def answer(status: int, body: bytes, account: Account = ACCOUNT, job_id: str | None = "j") -> Any:
    return read_object(RequestContext("service", account, job_id), Response(status, [], body))


def test_a_missing_key_is_named_as_such() -> None:
    with pytest.raises(Unauthorized, match="has no api_key"):
        answer(401, b"", Account("https://api.example", None))


def test_404_is_an_unknown_job_only_where_a_job_was_asked_about() -> None:
    with pytest.raises(UnknownJob, match="'j'"):
        answer(404, b"{}")
    with pytest.raises(Invalid):
        answer(404, b"{}", job_id=None)


def test_the_services_words_are_shown_short_on_one_line_and_without_the_key() -> None:
    body = b'{"detail": "no\\n\\u0007' + KEY.encode() + b" at https://a.example/x?sig=secret " + b"x" * 1000 + b'"}'
    with pytest.raises(Invalid, match=r"It says: no \[redacted\] at https://a.example/x\?\[redacted\] x+…$") as caught:
        answer(400, body)
    assert len(str(caught.value)) < MAX_QUOTE + 150


def test_long_words_of_a_service_are_searched_for_tokens_in_bounded_time() -> None:
    with max_cpu_seconds(5), pytest.raises(Invalid, match=r"It says: eyJeyJ.*…$"):
        answer(400, json.dumps({"detail": "eyJ" * 300_000}).encode())


def test_a_redirect_is_no_answer() -> None:
    with pytest.raises(Unavailable, match="base_url"):
        answer(308, b"")
