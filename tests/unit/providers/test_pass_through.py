"""Options: parameters that only the service knows are sent as they are, within bounds, and never instead of a field."""

from __future__ import annotations

import json
from dataclasses import fields
from email import message_from_bytes
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.engine.jobs.commands import check_request, describe_speech
from receiver.engine.jobs.requests import request_of
from receiver.engine.jobs.source import JobSource
from receiver.model.poll_schedule import PollSchedule
from receiver.providers import PROVIDERS
from receiver.providers.pass_through import MAX_BYTES, MAX_DEPTH, MAX_OPTIONS, secret_texts, show_options
from receiver.providers.types import Account, Capabilities, Invalid, Request, Speech

ACCOUNT = Account("https://api.example", "key_123")
VERSIONS = [
    pytest.param(version, id=f"{name}-{word}" if word else name)
    for name, provider in sorted(PROVIDERS.items())
    for word, version in (getattr(provider, "versions", None) or {"": provider}).items()
]
WIRE_NAMES = {
    "aitts": ["voice_id", "output_format", "sample_rate_hertz", "output_bitrate_kbps", "model_type"],
    "audixa": ["voice_id"],
    "finevoice": ["useAsync"],
    "miragic": [],
}


def checked(provider: Any, options: dict[str, Any]) -> Request:
    """The request, if nothing refuses it before it is stored."""
    speech = Speech(text="Hello", voice="nova", options=options)
    check_request(JobSource("a", provider, ACCOUNT, PollSchedule(), receives_webhooks=False), speech)
    request: Request = provider.submit_request(ACCOUNT, speech, "uuid-1")
    return request


def sent(request: Request) -> dict[str, Any]:
    """The fields of a JSON body, or the texts of a form."""
    kind, body = request.headers["Content-Type"], request.body or b""
    if kind == "application/json":
        found: dict[str, Any] = json.loads(body)
        return found
    parts: Any = message_from_bytes(f"Content-Type: {kind}\r\n\r\n".encode() + body).get_payload()
    return {part.get_param("name", header="content-disposition"): part.get_payload(decode=True) for part in parts}


@pytest.mark.parametrize("provider", VERSIONS)
def test_what_only_the_service_knows_is_sent_as_it_is_after_the_fields(provider: Any) -> None:
    plain = sent(checked(provider, {}))
    given = {"style": "calm", "seed": 7, "stability": 0.5, "ssml": True, "tuning": {"breaks": [1, 2]}, "none": None}
    found = sent(checked(provider, given))
    if provider.name == "miragic":
        texts = {"style": "calm", "seed": "7", "stability": "0.5", "ssml": "true", "none": "null"}
        assert found == plain | {name: text.encode() for name, text in texts.items()} | {
            "tuning": b'{"breaks": [1, 2]}'
        }
    else:
        assert found == plain | given
        assert list(found)[: len(plain)] == list(plain)


@pytest.mark.parametrize("provider", VERSIONS)
def test_a_field_of_our_own_is_no_option_by_our_name_or_the_services(provider: Any) -> None:
    own = [field.name for field in fields(Speech)]
    for name in [*own, "source", "bitrate", "stream", *WIRE_NAMES[provider.name]]:
        for word in (name, name.upper(), name.title()):
            with pytest.raises(Invalid, match=f"'{word}' cannot be an option"):
                checked(provider, {word: "x"})


def test_the_format_of_a_version_that_has_none_is_the_services_own() -> None:
    versions = PROVIDERS["audixa"].versions
    assert sent(checked(versions["v2"], {"audio_format": "mp3"}))["audio_format"] == "mp3"
    with pytest.raises(Invalid, match="'audio_format' cannot be an option"):
        checked(versions["v3"], {"audio_format": "mp3"})


@pytest.mark.parametrize(
    "name", ["", " ", "a b", "a=b", 'a"', "a\r\nb", "ü", "a" * 65, "1st", "-x", "a/b", "a\0", "a\n"]
)
def test_a_name_that_cannot_be_sent_anywhere_is_refused(name: str) -> None:
    with pytest.raises(Invalid, match="cannot be the name of an option"):
        checked(PROVIDERS["miragic"], {name: "x"})


def nested(depth: int) -> Any:
    value: Any = 1
    for level in range(depth):
        value = [value] if level % 2 else {"a": value}
    return value


def test_options_are_bounded_in_number_size_and_depth() -> None:
    aitts = PROVIDERS["aitts"]
    checked(aitts, {f"o{n}": n for n in range(MAX_OPTIONS)})
    with pytest.raises(Invalid, match=f"There are {MAX_OPTIONS + 1} options; the maximum is {MAX_OPTIONS}"):
        checked(aitts, {f"o{n}": n for n in range(MAX_OPTIONS + 1)})
    checked(aitts, {"o": "x" * (MAX_BYTES - len('{"o":""}'))})
    with pytest.raises(Invalid, match=f"The options have {MAX_BYTES + 1} bytes as JSON"):
        checked(aitts, {"o": "x" * (MAX_BYTES + 1 - len('{"o":""}'))})
    checked(aitts, {"o": nested(MAX_DEPTH)})
    for depth in (MAX_DEPTH + 1, 5000):
        with pytest.raises(Invalid, match="'o' is nested too deeply"):
            checked(aitts, {"o": nested(depth)})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800", {"a": "\ud800"}, {1, 2}, object()])
def test_what_is_not_json_is_refused_without_showing_it(value: Any) -> None:
    with pytest.raises(Invalid, match="The options cannot be written as JSON: "):
        checked(PROVIDERS["finevoice"], {"o": value})


def test_a_module_that_passes_nothing_on_takes_no_options() -> None:
    class Murmur(type(PROVIDERS["finevoice"])):  # type: ignore[misc] - of the class of an instance
        name, capabilities = "murmur", Capabilities()

    checked(Murmur(), {})
    with pytest.raises(Invalid, match="murmur takes no options"):
        checked(Murmur(), {"style": "calm"})


def test_no_options_are_the_same_request_as_an_empty_object() -> None:
    assert request_of(Speech(text="a", voice="b", options={})) == request_of(Speech(text="a", voice="b"))


def test_the_audit_log_names_options_and_does_not_have_their_values() -> None:
    entry = describe_speech("a", Speech(text="a", voice="b", options={"z": 1, "api_key": "hush-hush"}))
    assert entry["options"] == ["api_key", "z"]
    assert "hush" not in json.dumps(entry)


def test_texts_under_the_names_of_secrets_are_cut_where_options_are_shown() -> None:
    options = {
        "seed": 7, "max_tokens": 50, "elevenlabs_api_key": "k1", "style": "token ring",
        "vendor": {"Authorization": "Bearer k2", "list": [{"password": "k3"}, "open"]}, "secret": ["k4", {"x": "k5"}],
    }  # fmt: skip
    assert show_options(options) == {
        "seed": 7, "max_tokens": 50, "elevenlabs_api_key": "[redacted]", "style": "token ring",
        "vendor": {"Authorization": "[redacted]", "list": [{"password": "[redacted]"}, "open"]},
        "secret": ["[redacted]", {"x": "[redacted]"}],
    }  # fmt: skip
    assert secret_texts(options) == ["k1", "Bearer k2", "k3", "k4", "k5"]
    assert secret_texts(None) == []


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(options=st.dictionaries(st.from_regex(r"x_[a-z]{1,6}", fullmatch=True), _VALUES, max_size=5))
def test_a_service_reads_back_every_option(options: dict[str, Any]) -> None:
    for provider in PROVIDERS.values():
        try:
            found = sent(checked(provider, options))
        except Invalid as error:
            assert "JSON" in str(error) or "nested" in str(error)  # noqa: PT017 - either is right
            continue
        for name, value in options.items():
            read = found[name]
            if isinstance(read, bytes):
                text = read.decode()
                assert text == value if isinstance(value, str) else json.loads(text) == value
            else:
                assert read == value
