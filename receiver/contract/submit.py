"""The contract tests for submitting a speech."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from receiver.contract.checks import (
    check_meaning,
    check_origin,
    plain_speech,
    property_settings,
    submit_outcome,
    submit_request,
    submitting_versions,
    version_of,
    versions,
)
from receiver.contract.recorded import Recorded, Recordings
from receiver.contract.strategies import (
    API_KEY,
    base_urls,
    damaged,
    encode_json,
    header_lines,
    json_values,
    single_field_variants,
    statuses,
)
from receiver.providers.protocols import Provider, SubmittingProvider
from receiver.providers.types import ProviderError, Response, Speech, Submitted, is_definite_refusal

_INVALID_TEXTS = ["", " \n", "a\0b", "\ud800"]
_INVALID_URLS = [
    "",
    "x",
    "/x",
    "//a.example/x",
    "http://a.example/x",
    "https://",
    "https://a@b/",
    "ftp://x/",
    "https://ü/",
]
_INVALID: list[dict[str, Any]] = [
    *({"text": text} for text in _INVALID_TEXTS),
    *({"voice": text} for text in _INVALID_TEXTS),
    *({"speed": speed} for speed in (math.nan, math.inf, -math.inf, 0.0, -1.0)),
    *({"webhook_url": url} for url in _INVALID_URLS),
    {"format": "no such format"},
    {"format": ""},
    {"sample_rate": 0},
    {"sample_rate": -8000},
    {"bitrate_kbps": 0},
    {"bitrate_kbps": -1},
    {"model": ""},
]  # fmt: skip


class SubmitContract(Recordings):
    """Uses the fixtures `provider` and `submits`. Checks nothing if jobs cannot be submitted to the provider."""

    def test_every_response_to_a_submit_means_what_its_document_states(
        self, provider: Provider, submits: list[Recorded]
    ) -> None:
        assert bool(submits) == bool(submitting_versions(provider))
        assert not submits or {"submitted", "error"} <= {name for document in submits for name in document.means}
        for document in submits:
            means = dict(document.means)
            got = submit_outcome(version_of(provider, document.api_version), document.response)
            assert (got.job_id if isinstance(got, Submitted) else None) == means.pop("submitted", None), document
            check_meaning(got.status if isinstance(got, Submitted) else got, means)

    def test_no_single_wrong_field_of_a_response_to_a_submit_breaks_the_reading(
        self, provider: Provider, submits: list[Recorded]
    ) -> None:
        for document in submits:
            for response in single_field_variants(document):
                submit_outcome(version_of(provider, document.api_version), response)

    def test_a_speech_without_options_can_be_submitted(self, provider: Provider) -> None:
        for version in submitting_versions(provider):
            assert submit_request(version, plain_speech(version)) is not None

    def test_only_a_provider_that_submits_has_idempotent_submits(self, provider: Provider) -> None:
        for version in versions(provider):
            assert isinstance(version, SubmittingProvider) or not version.capabilities.idempotent_submit

    @property_settings
    @given(data=st.data(), status=statuses, headers=header_lines, body=st.binary() | json_values.map(encode_json))
    def test_any_response_to_a_submit_is_a_job_or_an_error(
        self, provider: Provider, submits: list[Recorded], data: st.DataObject, status: int, headers: Any, body: bytes
    ) -> None:
        if submits:
            recorded, response = data.draw(damaged(submits))
            submit_outcome(version_of(provider, recorded.api_version), response)
        for version in submitting_versions(provider):
            got = submit_outcome(version, Response(status, headers, body))
            assert isinstance(got, ProviderError if not 200 <= status <= 299 else Submitted | ProviderError)

    def test_a_service_that_breaks_may_have_accepted_the_job(self, provider: Provider, submits: list[Recorded]) -> None:
        bodies = [b"", b"{}", b"<html>", *(recorded.response.body for recorded in submits)]
        for status in (500, 502, 503, 504, 599):
            for body in bodies:
                for version in submitting_versions(provider):
                    got = submit_outcome(version, Response(status, [], body))
                    assert isinstance(got, ProviderError)
                    assert not is_definite_refusal(got)

    @property_settings
    @given(base=base_urls, text=st.text(), voice=st.text(), metadata=json_values)
    def test_a_submit_goes_to_the_accounts_own_origin_and_is_the_same_each_time(
        self, provider: Provider, base: str, text: str, voice: str, metadata: Any
    ) -> None:
        speech = Speech(text=text, voice=voice, metadata={"any": metadata})
        for version in submitting_versions(provider):
            request = submit_request(version, speech, base)
            if request is None:
                continue
            assert request.method == "POST"
            if API_KEY not in f"{text}{voice}{metadata}":  # the speech's own text is sent
                check_origin(request, base)
            assert ("same-key" in request.headers.values()) == version.capabilities.idempotent_submit
            assert request == submit_request(version, speech, base)

    def test_an_option_is_sent_if_the_service_accepts_it_and_otherwise_refused(self, provider: Provider) -> None:
        for version in submitting_versions(provider):
            capabilities = version.capabilities
            options = {
                "sample_rate": next(iter(capabilities.sample_rates.get("", ())), 24_077),
                "speed": 1.377,
                "model": next(iter(capabilities.models), "a-model"),
                "webhook_url": "https://hooks.example/x",
            }
            for name, value in options.items():
                if name != "sample_rate" or not capabilities.sample_rates or "" in capabilities.sample_rates:
                    _check_sent(name in capabilities.options, version, value, **{name: value})
            for format in {"wav", "mp3", "ogg_opus", "flac", *capabilities.formats}:
                _check_sent(format in capabilities.formats, version, format, format=format)
            if capabilities.models:
                for model in {*capabilities.models, "no-such-model"}:
                    _check_sent(model in capabilities.models, version, model, model=model)

    def test_options_are_sent_if_the_capabilities_say_so_and_never_instead_of_a_field(self, provider: Provider) -> None:
        for version in submitting_versions(provider):
            if version.capabilities.pass_through:
                _check_sent(True, version, "a-value-1377", options={"x_unknown": "a-value-1377"})  # noqa: FBT003
                _check_sent(False, version, "a-value-1377", options={"text": "a-value-1377"})  # noqa: FBT003

    def test_sample_rates_and_bitrates_are_sent_if_the_format_accepts_them(self, provider: Provider) -> None:
        for version in submitting_versions(provider):
            capabilities = version.capabilities
            for format in (None, *capabilities.formats):
                if capabilities.sample_rates:
                    accepted = capabilities.sample_rates.get(format or "", ())
                    for rate in {r for rates in capabilities.sample_rates.values() for r in rates} | {1, 11_025, 10**9}:
                        _check_sent(rate in accepted, version, rate, format=format, sample_rate=rate)
                if capabilities.bitrates:
                    lowest, highest = capabilities.bitrates.get(format or "", (1, 0))
                    for kbps in {k for bounds in capabilities.bitrates.values() for k in bounds} | {
                        lowest - 1,
                        highest + 1,
                    }:
                        _check_sent(lowest <= kbps <= highest, version, kbps, format=format, bitrate_kbps=kbps)

    def test_an_invalid_speech_is_refused_before_it_is_sent(self, provider: Provider) -> None:
        for version in submitting_versions(provider):
            for wrong in _INVALID:
                given = {"text": "Hello", "voice": plain_speech(version).voice} | wrong
                assert submit_request(version, Speech(**given)) is None, wrong


def _check_sent(accepted: object, provider: SubmittingProvider, value: object, **options: Any) -> None:
    """Check that a speech with these options is sent with the value if it is accepted, and refused otherwise."""
    speech = plain_speech(provider)
    request = submit_request(provider, Speech(text=speech.text, voice=speech.voice, **options))
    assert (request is not None) == bool(accepted), options
    assert request is None or str(value).encode() in (request.body or b"")
