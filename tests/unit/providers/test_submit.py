"""A speech is written as each service documents it."""

from __future__ import annotations

import json
from email import message_from_bytes
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.providers import PROVIDERS
from receiver.providers.types import Account, Capabilities, Invalid, Request, Speech
from receiver.providers.validation import check_speech

SPEECH = Speech(text="Hello, ü😀", voice="nova")


def submit(provider: str, speech: Speech = SPEECH, version: str | None = None) -> Request:
    found = PROVIDERS[provider] if version is None else PROVIDERS[provider].versions[version]
    return found.submit_request(Account("https://api.example", "key_123"), speech, "uuid-1")


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


_VISIBLE = str.strip


@given(
    text=st.text(alphabet='ab-\r\n:;"', min_size=1).filter(_VISIBLE),
    voice=st.text(alphabet="ab-\r\n", min_size=1).filter(_VISIBLE),
)
def test_no_text_breaks_out_of_its_form_field(text: str, voice: str) -> None:
    request = submit("miragic", Speech(text=text, voice=voice))
    boundary = request.headers["Content-Type"].partition("boundary=")[2].encode()
    head, *parts, end = (request.body or b"").split(b"--" + boundary)
    assert (head, end) == (b"", b"--\r\n")
    assert [part.partition(b"\r\n\r\n")[2] for part in parts] == [f"{text}\r\n".encode(), f"{voice}\r\n".encode()]


@pytest.mark.parametrize("provider", sorted(PROVIDERS))
def test_text_that_cannot_be_written_is_refused(provider: str) -> None:
    with pytest.raises(Invalid, match="cannot be encoded"):
        submit(provider, Speech(text="\ud800", voice="v"))


@pytest.mark.parametrize("metadata", [{"x": float("nan")}, {"x": object()}, {"x": {1, 2}}])
def test_metadata_that_is_not_json_is_refused(metadata: dict[str, Any]) -> None:
    with pytest.raises(Invalid, match="cannot be written as JSON"):
        submit("aitts", Speech(text="t", voice="v", metadata=metadata))


def test_a_wish_that_the_service_does_not_know_is_refused_in_words() -> None:
    with pytest.raises(Invalid, match="miragic does not accept speed; besides text and voice it accepts: nothing"):
        submit("miragic", Speech(text="t", voice="v", speed=1.5))
    with pytest.raises(
        Invalid, match="audixa does not accept sample_rate; besides text and voice it accepts: speed, model"
    ):
        submit("audixa", Speech(text="t", voice="v", sample_rate=24000))
    with pytest.raises(Invalid, match="no format 'mp3'; the format cannot be chosen"):
        submit("audixa", Speech(text="t", voice="v", format="mp3"))
    with pytest.raises(Invalid, match="formats: wav, mp3, ogg_opus"):
        submit("aitts", Speech(text="t", voice="v", format="flac"))


@pytest.mark.parametrize(
    ("wishes", "says"),
    [
        ({"sample_rate": 11025}, "sample_rate 11025 without a format; it accepts: 8000, 12000, 16000, 22050"),
        ({"format": "ogg_opus", "sample_rate": 44100}, "with format ogg_opus; it accepts: 8000, 16000, 24000, 48000"),
        ({"bitrate_kbps": 128}, "does not accept bitrate_kbps without a format; formats that accept it: mp3, ogg_opus"),
        ({"format": "wav", "bitrate_kbps": 128}, "does not accept bitrate_kbps with format wav"),
        ({"format": "mp3", "bitrate_kbps": 31}, "bitrate_kbps 31 with format mp3; it accepts 32 to 320"),
        ({"format": "ogg_opus", "bitrate_kbps": 321}, "bitrate_kbps 321 with format ogg_opus; it accepts 6 to 320"),
        ({"speed": 0.0}, "speed 0.0 is not a number above 0; 1.0 is the voice's normal"),
        ({"speed": float("nan")}, "speed nan"),
        ({"model": " "}, "model ' ' is not a valid name"),
        ({"webhook_url": "http://hooks.example/x"}, "not an absolute https address"),
        ({"text": " \n"}, "text is empty."),
        ({"voice": ""}, "voice is empty."),
        ({"text": "a\0b"}, "text contains a NUL character"),
    ],
)
def test_a_speech_that_would_be_refused_is_refused_with_what_there_is(wishes: dict[str, Any], says: str) -> None:
    with pytest.raises(Invalid, match=says):
        submit("aitts", Speech(**{"text": "t", "voice": "v"} | wishes))


@pytest.mark.parametrize(
    "wishes",
    [
        {"sample_rate": 44100}, {"format": "mp3", "bitrate_kbps": 32}, {"format": "mp3", "bitrate_kbps": 320},
        {"format": "ogg_opus", "sample_rate": 48000, "bitrate_kbps": 6}, {"format": "wav", "sample_rate": 12000},
        {"speed": 0.25}, {"speed": 2}, {"webhook_url": "https://hooks.example:8443/x?y=z"}, {"model": "anything"},
    ],
)  # fmt: skip
def test_a_speech_that_the_service_takes_is_sent(wishes: dict[str, Any]) -> None:
    submit("aitts", Speech(**{"text": "t", "voice": "v"} | wishes))


def test_the_word_for_a_better_model_is_another_one_in_each_version() -> None:
    submit("audixa", Speech(text="t", voice="v", model="advance"), "v2")
    submit("audixa", Speech(text="t", voice="v", model="advanced"), "v3")
    with pytest.raises(Invalid, match=r"no model 'advanced'; its models: base, advance\."):
        submit("audixa", Speech(text="t", voice="v", model="advanced"), "v2")
    with pytest.raises(Invalid, match=r"no model 'advance'; its models: base, advanced\."):
        submit("audixa", Speech(text="t", voice="v", model="advance"), "v3")


def test_where_a_service_says_nothing_of_rates_any_that_could_be_one_is_sent() -> None:
    capabilities = Capabilities(options=("sample_rate", "bitrate_kbps"))
    check_speech("mine", Speech(text="t", voice="v", sample_rate=11025, bitrate_kbps=7), capabilities)
    for wish in ({"sample_rate": 0}, {"bitrate_kbps": -1}):
        with pytest.raises(Invalid, match="above 0"):
            check_speech("mine", Speech(text="t", voice="v", **wish), capabilities)
    only_wav = Capabilities(formats=("wav", "mp3"), options=("sample_rate",), sample_rates={"wav": (8000,)})
    with pytest.raises(Invalid, match="does not accept sample_rate with format mp3; formats that accept it: wav"):
        check_speech("mine", Speech(text="t", voice="v", format="mp3", sample_rate=8000), only_wav)
