"""The contract tests for streaming the audio of a job."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from receiver.contract.checks import (
    account,
    build_or_none,
    check_origin,
    outcome_of,
    plain_speech,
    property_settings,
    versions,
)
from receiver.contract.recorded import Recorded, Recordings
from receiver.contract.strategies import API_KEY, base_urls, damaged, encode_json, header_lines, json_values, statuses
from receiver.providers.base import origin_of, usable_word
from receiver.providers.protocols import Provider, StreamingProvider
from receiver.providers.types import ProviderError, Response, Speech, StreamedJob


class StreamContract(Recordings):
    """Uses the fixtures `provider` and `submits`. Checks nothing if the provider does not stream."""

    def test_a_speech_without_options_can_be_streamed(self, provider: Provider) -> None:
        for version in _streaming_versions(provider):
            assert build_or_none(version.stream_request, account(version), plain_speech(version)) is not None

    @property_settings
    @given(data=st.data(), status=statuses, headers=header_lines, body=st.binary() | json_values.map(encode_json))
    def test_any_response_to_a_stream_is_a_job_or_an_error_and_the_key_stays_at_the_accounts_origin(
        self, provider: Provider, submits: list[Recorded], data: st.DataObject, status: int, headers: Any, body: bytes
    ) -> None:
        for version in _streaming_versions(provider):
            _check_outcome(version, Response(status, headers, body))
            if submits:
                _check_outcome(version, data.draw(damaged(submits))[1])

    @property_settings
    @given(base=base_urls, text=st.text(), voice=st.text())
    def test_a_stream_is_requested_at_the_accounts_own_origin(
        self, provider: Provider, base: str, text: str, voice: str
    ) -> None:
        for version in _streaming_versions(provider):
            speech = Speech(text=text, voice=voice)
            request = build_or_none(version.stream_request, account(version, base), speech)
            if request is not None:
                check_origin(request, base)
                assert API_KEY not in repr(request)


def _streaming_versions(provider: Provider) -> list[StreamingProvider]:
    return [version for version in versions(provider) if isinstance(version, StreamingProvider)]


def _check_outcome(provider: StreamingProvider, response: Response) -> None:
    own = account(provider)
    got = outcome_of(provider.read_stream, own, response)
    assert isinstance(got, ProviderError if not 200 <= response.status <= 299 else StreamedJob | ProviderError)
    if not isinstance(got, StreamedJob):
        return
    assert usable_word(got.job_id) == got.job_id
    assert got.format is None or usable_word(got.format) == got.format
    assert got.url is None or (origin_of(got.url) is not None and got.url not in repr(got))
    if got.url is None or origin_of(got.url) != origin_of(own.base_url):
        assert not got.headers
