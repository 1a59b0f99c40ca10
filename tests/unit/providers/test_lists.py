"""Voices and history are asked for as each service documents it, and read whatever their form."""

from __future__ import annotations

import json
from typing import Any

import pytest

from receiver.model.event import COMPLETED
from receiver.providers import PROVIDERS
from receiver.providers.protocols import HistoryProvider, require_history, require_voices
from receiver.providers.types import (
    Account,
    Ended,
    Invalid,
    Response,
    Running,
    Unavailable,
    Voice,
    VoiceQuery,
)
from receiver.providers.voices import parse_voices

BASE = "https://api.example"


ACCOUNT = Account(BASE, "key_123")


def provider_of(name: str, version: str | None = None) -> Any:
    return PROVIDERS[name] if version is None else PROVIDERS[name].versions[version]


def answer(body: Any) -> Response:
    return Response(200, [], json.dumps(body).encode())


@pytest.mark.parametrize(
    ("provider", "version", "query", "url"),
    [
        ("aitts", None, VoiceQuery(), "/api/v1/voices"),
        (
            "aitts", None, VoiceQuery(language="de-DE", gender="male", model="neural", provider="google"),
            "/api/v1/voices?language=de-DE&provider=google&model_type=neural&gender=male",
        ),
        ("aitts", None, VoiceQuery(language="a&b=c"), "/api/v1/voices?language=a%26b%3Dc"),
        ("audixa", None, VoiceQuery(), "/v2/voices"),
        ("audixa", "v2", VoiceQuery(model="advance"), "/v2/voices?model=advance"),
        ("audixa", "v3", VoiceQuery(), "/v3/voices?limit=500"),
        ("audixa", "v3", VoiceQuery(model="advanced"), "/v3/voices?limit=500&model=advanced"),
    ],
)  # fmt: skip
def test_voices_are_asked_for_at_the_documented_address(
    provider: str, version: str | None, query: VoiceQuery, url: str
) -> None:
    request = provider_of(provider, version).voices_request(ACCOUNT, query)
    assert (request.method, request.url) == ("GET", BASE + url)


@pytest.mark.parametrize(
    ("provider", "query", "says"),
    [
        ("audixa", VoiceQuery(language="en"), "by model only"),
        ("audixa", VoiceQuery(gender="male"), "by model only"),
        ("audixa", VoiceQuery(provider="google"), "by model only"),
        ("audixa", VoiceQuery(model="advanced"), "no model 'advanced'; its models: base, advance"),
        (
            "miragic",
            VoiceQuery(),
            "no list of voices; known voices: alloy, amuch, ash, .*, dan, .*, elan, .*, verse",
        ),
        ("finevoice", VoiceQuery(), "finevoice has no list of voices"),
    ],
)
def test_voices_that_cannot_be_asked_for_are_refused_in_words(provider: str, query: VoiceQuery, says: str) -> None:
    with pytest.raises(Invalid, match=says):
        require_voices(PROVIDERS[provider]).voices_request(ACCOUNT, query)


@pytest.mark.parametrize(
    ("row", "voice"),
    [
        ("emma", Voice("emma")),
        (17, Voice("17")),
        ({"name": "en-US-A", "languageCode": "en-US"}, Voice("en-US-A", language="en-US")),
        ({"id": "v", "name": " ", "gender": None, "x": 1}, Voice("v", details={"name": " ", "gender": None, "x": 1})),
        ({"id": ["v"], "voice": "w"}, Voice("w", details={"id": ["v"]})),
        ({"voice_id": "v", "model_type": "hd", "locale": "de"}, Voice("v", language="de", model="hd")),
    ],
)
def test_a_voice_is_read_in_whatever_form_it_is_told(row: object, voice: Voice) -> None:
    assert parse_voices([row]) == [voice]


def test_a_row_that_names_no_voice_is_left_out_and_each_voice_is_there_once() -> None:
    rows = [None, {}, [], True, 0.5, {"gender": "male"}, "\0", {"id": "a", "name": "first"}, "b", {"id": "a"}]
    assert [(voice.id, voice.name) for voice in parse_voices(rows)] == [("a", "first"), ("b", None)]


def test_the_history_is_asked_for_a_hundred_at_a_time() -> None:
    request = provider_of("audixa", "v3").history_request(ACCOUNT, 200)
    assert (request.method, request.url) == ("GET", f"{BASE}/v3/history?limit=100&offset=200")
    assert request.headers["x-api-key"] == "key_123"


def test_a_history_settles_many_jobs_and_its_newest_row_of_a_job_counts() -> None:
    rows = [
        {"generation_id": "a", "status": "completed", "audio_url": "https://a.example/x.wav"},
        {"generation_id": "b", "status": "GENERATING"},
        {"generation_id": "a", "status": "GENERATING"},
        {"generation_id": "c"},
        {"status": "COMPLETED"},
    ]
    found = provider_of("audixa", "v3").read_history(ACCOUNT, answer({"history": rows}))
    assert list(found) == ["a", "b"]
    assert found["b"] == Running("GENERATING")
    assert isinstance(found["a"], Ended)
    assert (found["a"].parsed.type, found["a"].parsed.job_id) == (COMPLETED, "a")


def test_only_version_three_of_audixa_has_a_history() -> None:
    assert isinstance(provider_of("audixa", "v3"), HistoryProvider)
    for provider in (PROVIDERS["audixa"], provider_of("audixa", "v2"), PROVIDERS["aitts"]):
        assert not isinstance(provider, HistoryProvider)
        with pytest.raises(Invalid, match="no history"):
            require_history(provider)


@pytest.mark.parametrize("body", [{}, {"voices": {}}, {"voices": "emma"}, {"data": {"voices": 3}}, 3, None])
def test_an_answer_without_a_list_is_not_an_empty_list(body: Any) -> None:
    with pytest.raises(Unavailable, match="unreadable"):
        PROVIDERS["audixa"].read_voices(ACCOUNT, answer(body))
