"""The part of the contract about submitting a speech."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from receiver.contract.checks import account, anywhere, check_home, check_meaning, plain, submit, submitted, versions
from receiver.contract.recorded import Recorded, Recordings
from receiver.contract.strategies import (
    KEY,
    anything,
    as_bytes,
    bases,
    damaged,
    header_lines,
    one_field_wrong,
    statuses,
)
from receiver.providers.base import Provider
from receiver.providers.wire import Capabilities, ProviderError, Response, Speech, Submitted, refused_for_sure

_BAD_TEXTS = ["", " \n", "a\0b", "\ud800"]
_BAD_URLS = ["", "x", "/x", "//a.example/x", "http://a.example/x", "https://", "https://a@b/", "ftp://x/", "https://ü/"]
_BAD: list[dict[str, Any]] = [
    *({"text": text} for text in _BAD_TEXTS),
    *({"voice": text} for text in _BAD_TEXTS),
    *({"speed": speed} for speed in (math.nan, math.inf, -math.inf, 0.0, -1.0)),
    *({"webhook_url": url} for url in _BAD_URLS),
    {"format": "no such format"},
    {"format": ""},
    {"sample_rate": 0},
    {"sample_rate": -8000},
    {"bitrate_kbps": 0},
    {"bitrate_kbps": -1},
    {"model": ""},
]  # fmt: skip


class SubmitContract(Recordings):
    """Uses the fixtures `provider` and `submits`. A service that takes no speech from us refuses each, in words."""

    def test_every_answer_to_a_submit_means_what_is_written_of_it(
        self, provider: Provider, submits: list[Recorded]
    ) -> None:
        assert bool(submits) == provider.capabilities.submit
        assert not submits or {"submitted", "error"} <= {name for document in submits for name in document.means}
        for document in submits:
            means = dict(document.means)
            got = submitted(provider, document.response, document.api_version)
            assert (got.job_id if isinstance(got, Submitted) else None) == means.pop("submitted", None), document
            check_meaning(got.status if isinstance(got, Submitted) else got, means)

    def test_no_one_field_of_an_answer_to_a_submit_can_break_the_reading(
        self, provider: Provider, submits: list[Recorded]
    ) -> None:
        for document in submits:
            for response in one_field_wrong(document):
                submitted(provider, response, document.api_version)

    def test_a_speech_can_be_submitted_where_it_says_so(self, provider: Provider) -> None:
        for version in versions(provider):
            able = provider.capabilities.of(account(provider, version))
            assert (submit(provider, plain(provider), version) is not None) == able.submit
            assert able.submit or not able.idempotent_submit

    @anywhere
    @given(data=st.data(), status=statuses, headers=header_lines, body=st.binary() | anything.map(as_bytes))
    def test_any_answer_to_a_submit_is_a_job_or_an_error(
        self, provider: Provider, submits: list[Recorded], data: st.DataObject, status: int, headers: Any, body: bytes
    ) -> None:
        if submits:
            recorded, response = data.draw(damaged(submits))
            submitted(provider, response, recorded.api_version)
        got = submitted(provider, Response(status, headers, body))
        assert isinstance(got, ProviderError if not 200 <= status <= 299 else Submitted | ProviderError)

    def test_a_service_that_breaks_may_have_taken_the_job_on(self, provider: Provider, submits: list[Recorded]) -> None:
        if not provider.capabilities.submit:
            return  # it refuses by itself, and nothing was asked
        bodies = [b"", b"{}", b"<html>", *(recorded.response.body for recorded in submits)]
        for status in (500, 502, 503, 504, 599):
            for body in bodies:
                got = submitted(provider, Response(status, [], body))
                assert isinstance(got, ProviderError)
                assert not refused_for_sure(got)

    @anywhere
    @given(base=bases, text=st.text(), voice=st.text(), metadata=anything)
    def test_a_submit_goes_to_the_accounts_own_origin_and_is_the_same_each_time(
        self, provider: Provider, base: str, text: str, voice: str, metadata: Any
    ) -> None:
        speech = Speech(text=text, voice=voice, metadata={"any": metadata})
        for version in versions(provider):
            request = submit(provider, speech, version, base)
            if request is None:
                continue
            assert request.method == "POST"
            if KEY not in f"{text}{voice}{metadata}":  # what the speech itself says is sent
                check_home(request, base)
            able = provider.capabilities.of(account(provider, version))
            assert ("same-key" in request.headers.values()) == able.idempotent_submit
            assert request == submit(provider, speech, version, base)

    def test_an_option_that_the_service_does_not_take_is_refused_and_what_it_takes_is_sent(
        self, provider: Provider
    ) -> None:
        for version, able in _each(provider):
            wishes = {
                "sample_rate": next(iter(able.sample_rates.get("", ())), 24_077),
                "speed": 1.377,
                "model": next(iter(able.models), "a-model"),
                "webhook_url": "https://hooks.example/x",
            }
            for name, value in wishes.items():
                if name != "sample_rate" or not able.sample_rates or "" in able.sample_rates:
                    _sent_if(name in able.options, provider, version, value, **{name: value})
            for format in {"wav", "mp3", "ogg_opus", "flac", *able.formats}:
                _sent_if(format in able.formats, provider, version, format, format=format)
            if able.models:
                for model in {*able.models, "no-such-model"}:
                    _sent_if(model in able.models, provider, version, model, model=model)

    def test_sample_rates_and_bitrates_are_sent_as_far_as_the_format_has_them(self, provider: Provider) -> None:
        for version, able in _each(provider):
            for format in (None, *able.formats):
                if able.sample_rates:
                    there_are = able.sample_rates.get(format or "", ())
                    for rate in {r for rates in able.sample_rates.values() for r in rates} | {1, 11_025, 10**9}:
                        _sent_if(rate in there_are, provider, version, rate, format=format, sample_rate=rate)
                if able.bitrates:
                    least, most = able.bitrates.get(format or "", (1, 0))
                    for kbps in {k for bounds in able.bitrates.values() for k in bounds} | {least - 1, most + 1}:
                        _sent_if(least <= kbps <= most, provider, version, kbps, format=format, bitrate_kbps=kbps)

    def test_a_speech_that_cannot_be_spoken_is_refused_before_it_is_sent(self, provider: Provider) -> None:
        for version in versions(provider):
            for wrong in _BAD:
                given = {"text": "Hello", "voice": plain(provider).voice} | wrong
                assert submit(provider, Speech(**given), version) is None, wrong


def _each(provider: Provider) -> list[tuple[str | None, Capabilities]]:
    """Every version that takes a speech, with what it can do."""
    all_of_them = [(version, provider.capabilities.of(account(provider, version))) for version in versions(provider)]
    return [(version, able) for version, able in all_of_them if able.submit]


def _sent_if(taken: object, provider: Provider, version: str | None, value: object, **wishes: Any) -> None:
    """A speech with these wishes is sent, the value in it, if it is taken; else it is refused."""
    speech = plain(provider)
    request = submit(provider, Speech(text=speech.text, voice=speech.voice, **wishes), version)
    assert (request is not None) == bool(taken), wishes
    assert request is None or str(value).encode() in (request.body or b"")
