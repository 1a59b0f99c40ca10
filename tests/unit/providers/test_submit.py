"""A speech is written as each service documents it."""

from __future__ import annotations

import json
from email import message_from_bytes
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.providers import PROVIDERS
from receiver.providers.wire import Account, Invalid, Request, Speech

SPEECH = Speech(text="Hello, ü😀", voice="nova")


def submit(provider: str, speech: Speech = SPEECH, version: str | None = None) -> Request:
    return PROVIDERS[provider].submit_request(Account("https://api.example", "key_123", version), speech, "uuid-1")


def fields(request: Request) -> Any:
    assert request.headers["Content-Type"] == "application/json"
    return json.loads(request.body or b"")


def form(request: Request) -> dict[str, str]:
    head = f"Content-Type: {request.headers['Content-Type']}\r\n\r\n".encode()
    message = message_from_bytes(head + (request.body or b""))
    parts: list[Any] = message.get_payload()
    return {part.get_param("name", header="content-disposition"): part.get_payload(decode=True) for part in parts}


def test_aitts_is_given_every_wish_and_the_idempotency_key() -> None:
    speech = Speech(
        text="Hello", voice="en-1", format="mp3", sample_rate=24000, bitrate_kbps=128, speed=1.1, model="hd",
        metadata={"chapter": 3}, webhook_url="https://hooks.example/x",
    )  # fmt: skip
    request = submit("aitts", speech)
    assert request.url == "https://api.example/api/v1/tts"
    assert request.headers["Idempotency-Key"] == "uuid-1"
    assert request.headers["Authorization"] == "Bearer key_123"
    assert fields(request) == {
        "text": "Hello", "voice_id": "en-1", "output_format": "mp3", "sample_rate_hertz": 24000,
        "output_bitrate_kbps": 128, "speed": 1.1, "model_type": "hd", "metadata": {"chapter": 3},
        "webhook_url": "https://hooks.example/x",
    }  # fmt: skip


def test_what_is_not_wished_for_is_left_out() -> None:
    assert fields(submit("aitts")) == {"text": SPEECH.text, "voice_id": "nova"}


def test_audixa_is_asked_in_the_words_of_the_accounts_version() -> None:
    old = submit("audixa", Speech(text="t", voice="v", model="advance", speed=1.2))
    assert (old.url, fields(old)) == (
        "https://api.example/v2/tts", {"text": "t", "voice": "v", "model": "advance", "speed": 1.2},
    )  # fmt: skip
    new = submit("audixa", Speech(text="t", voice="v", format="mp3"), "v3")
    assert (new.url, fields(new)) == (
        "https://api.example/v3/tts", {"text": "t", "voice_id": "v", "audio_format": "mp3"},
    )  # fmt: skip


def test_finevoice_is_asked_to_do_it_in_its_own_time() -> None:
    request = submit("finevoice")
    assert request.url == "https://api.example/v1/audio/speech-synthesis"
    assert fields(request) == {"voice": "nova", "text": SPEECH.text, "useAsync": True}


def test_miragic_is_given_a_form() -> None:
    request = submit("miragic")
    assert request.url == "https://api.example/api/v1/text-to-speech/generate"
    assert form(request) == {"text": SPEECH.text.encode(), "voice": b"nova"}


@given(text=st.text(alphabet='ab-\r\n:;"', min_size=1), voice=st.text(alphabet="ab-\r\n", min_size=1))
def test_no_text_breaks_out_of_its_form_field(text: str, voice: str) -> None:
    request = submit("miragic", Speech(text=text, voice=voice))
    boundary = request.headers["Content-Type"].partition("boundary=")[2].encode()
    head, *parts, end = (request.body or b"").split(b"--" + boundary)
    assert (head, end) == (b"", b"--\r\n")
    assert [part.partition(b"\r\n\r\n")[2] for part in parts] == [f"{text}\r\n".encode(), f"{voice}\r\n".encode()]


@pytest.mark.parametrize("provider", sorted(PROVIDERS))
def test_text_that_cannot_be_written_is_refused(provider: str) -> None:
    with pytest.raises(Invalid, match="cannot be written"):
        submit(provider, Speech(text="\ud800", voice="v"))


@pytest.mark.parametrize("metadata", [{"x": float("nan")}, {"x": object()}, {"x": {1, 2}}])
def test_metadata_that_is_not_json_is_refused(metadata: dict[str, Any]) -> None:
    with pytest.raises(Invalid, match="cannot be written as JSON"):
        submit("aitts", Speech(text="t", voice="v", metadata=metadata))


def test_a_wish_that_the_service_does_not_know_is_refused_in_words() -> None:
    with pytest.raises(Invalid, match="miragic takes no speed"):
        submit("miragic", Speech(text="t", voice="v", speed=1.5))
    with pytest.raises(Invalid, match="no format 'mp3'; the format cannot be chosen"):
        submit("audixa", Speech(text="t", voice="v", format="mp3"))
    with pytest.raises(Invalid, match="there is: wav, mp3, ogg_opus"):
        submit("aitts", Speech(text="t", voice="v", format="flac"))
