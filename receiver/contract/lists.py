"""The contract tests for lists: the voices, and the history of an account's jobs."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from hypothesis import given
from hypothesis import strategies as st

from receiver.contract.checks import (
    account,
    build_or_none,
    check_meaning,
    check_origin,
    check_status,
    outcome_of,
    property_settings,
    version_of,
    versions,
)
from receiver.contract.recorded import Recorded, Recordings
from receiver.contract.strategies import (
    base_urls,
    damaged,
    encode_json,
    header_lines,
    json_values,
    single_field_variants,
    statuses,
)
from receiver.providers.base import usable_word
from receiver.providers.protocols import HistoryProvider, Provider, VoicesProvider
from receiver.providers.types import (
    HISTORY_PAGE,
    Ended,
    ProviderError,
    Response,
    Status,
    Voice,
    VoiceQuery,
)

_UNEXPECTED_ROWS: tuple[Any, ...] = (None, True, 0.5, [], {}, {"status": []}, {"id": ["x"]}, "\0", {"voice_id": ""})


class ListsContract(Recordings):
    """Uses the fixtures `provider`, `voice_lists` and `histories`."""

    # voices

    def test_the_list_of_voices_can_be_requested(self, provider: Provider, voice_lists: list[Recorded]) -> None:
        for version in _voices_versions(provider):
            assert version.voices_request(account(version), VoiceQuery()).method == "GET"
            assert not version.capabilities.known_voices
        assert bool(voice_lists) == bool(_voices_versions(provider))

    @property_settings
    @given(base=base_urls)
    def test_voices_are_requested_at_the_services_own_origin(self, provider: Provider, base: str) -> None:
        for version in _voices_versions(provider):
            check_origin(version.voices_request(account(version, base), VoiceQuery()), base)

    def test_a_filter_is_sent_or_refused(self, provider: Provider) -> None:
        for version in _voices_versions(provider):
            models = version.capabilities.models
            for query in (
                VoiceQuery(language="de&x=y"),
                VoiceQuery(gender="a/b"),
                VoiceQuery(provider="a=b"),
                VoiceQuery(model=next(iter(models), "a model")),
            ):
                request = build_or_none(version.voices_request, account(version), query)
                value = next(value for value in asdict(query).values() if value is not None)
                assert request is None or value in dict(parse_qsl(urlsplit(request.url).query)).values()
            if models:
                assert (
                    build_or_none(version.voices_request, account(version), VoiceQuery(model="no such model")) is None
                )

    def test_every_list_of_voices_means_what_its_document_states(
        self, provider: Provider, voice_lists: list[Recorded]
    ) -> None:
        assert not voice_lists or {"voices", "error"} <= {name for document in voice_lists for name in document.means}
        for document in voice_lists:
            got = _voices(version_of(provider, document.api_version), document.response)
            if isinstance(got, ProviderError):
                check_meaning(got, document.means)
            else:
                assert {"voices": [_stated_fields(voice) for voice in got]} == document.means, document

    @property_settings
    @given(data=st.data(), status=statuses, headers=header_lines, body=st.binary() | json_values.map(encode_json))
    def test_any_response_is_a_list_of_voices_or_an_error(
        self,
        provider: Provider,
        voice_lists: list[Recorded],
        data: st.DataObject,
        status: int,
        headers: Any,
        body: bytes,
    ) -> None:
        if voice_lists:
            recorded, response = data.draw(damaged(voice_lists))
            _voices(version_of(provider, recorded.api_version), response)
        for version in _voices_versions(provider):
            got = _voices(version, Response(status, headers, body))
            assert isinstance(got, ProviderError if not 200 <= status <= 299 else list | ProviderError)

    # history

    def test_the_history_can_be_requested(self, provider: Provider, histories: list[Recorded]) -> None:
        for version in _history_versions(provider):
            request = version.history_request(account(version), 0)
            assert request.method == "GET"
            assert request.url != version.history_request(account(version), HISTORY_PAGE).url
        assert bool(histories) == bool(_history_versions(provider))

    @property_settings
    @given(base=base_urls, offset=st.integers(0, 10**6))
    def test_the_history_is_requested_at_the_services_own_origin(
        self, provider: Provider, base: str, offset: int
    ) -> None:
        for version in _history_versions(provider):
            check_origin(version.history_request(account(version, base), offset), base)

    def test_every_history_means_what_its_document_states(self, provider: Provider, histories: list[Recorded]) -> None:
        assert not histories or {"history", "error"} <= {name for document in histories for name in document.means}
        for document in histories:
            got = _history(version_of(provider, document.api_version), document.response)
            if isinstance(got, ProviderError):
                check_meaning(got, document.means)
            else:
                assert list(got) == list(document.means["history"]), document
                for job_id, status in got.items():
                    check_meaning(status, document.means["history"][job_id])
                    assert not isinstance(status, Ended) or status.document is not None, (
                        "an ended job has its own row as document"
                    )

    @property_settings
    @given(data=st.data(), status=statuses, headers=header_lines, body=st.binary() | json_values.map(encode_json))
    def test_any_response_is_a_history_or_an_error(
        self, provider: Provider, histories: list[Recorded], data: st.DataObject, status: int, headers: Any, body: bytes
    ) -> None:
        for version in _history_versions(provider):
            got = _history(version, Response(status, headers, body))
            assert isinstance(got, ProviderError if not 200 <= status <= 299 else dict | ProviderError)
        if histories:
            recorded, response = data.draw(damaged(histories))
            _history(version_of(provider, recorded.api_version), response)

    # voices and history

    def test_no_single_wrong_field_of_a_list_breaks_the_reading(
        self, provider: Provider, voice_lists: list[Recorded], histories: list[Recorded]
    ) -> None:
        for documents, read in ((voice_lists, _voices), (histories, _history)):
            for document in documents:
                for response in single_field_variants(document) if document.text is None else ():
                    read(version_of(provider, document.api_version), response)

    def test_an_unreadable_row_affects_no_other_row(
        self, provider: Provider, voice_lists: list[Recorded], histories: list[Recorded]
    ) -> None:
        for documents, read in ((voice_lists, _voices), (histories, _history)):
            for document in documents:
                if "error" not in document.means:
                    for body in _with_unexpected_rows(document.body):
                        got = read(version_of(provider, document.api_version), document.with_body(body))
                        assert got == read(version_of(provider, document.api_version), document.response)


def _voices_versions(provider: Provider) -> list[VoicesProvider]:
    return [version for version in versions(provider) if isinstance(version, VoicesProvider)]


def _history_versions(provider: Provider) -> list[HistoryProvider]:
    return [version for version in versions(provider) if isinstance(version, HistoryProvider)]


def _voices(provider: Provider, response: Response) -> list[Voice] | ProviderError:
    assert isinstance(provider, VoicesProvider)
    got = outcome_of(provider.read_voices, account(provider), response)
    if isinstance(got, list):
        ids = [voice.id for voice in got]
        assert len(set(ids)) == len(ids)
        for voice in got:
            assert usable_word(voice.id) == voice.id
            assert all(
                word in (None, usable_word(word)) for word in (voice.name, voice.language, voice.gender, voice.model)
            )
            json.dumps(dict(voice.details), allow_nan=False)
    return got


def _history(provider: Provider, response: Response) -> dict[str, Status] | ProviderError:
    assert isinstance(provider, HistoryProvider)
    got = outcome_of(provider.read_history, account(provider), response)
    if isinstance(got, dict):
        for job_id, status in got.items():
            assert usable_word(job_id) == job_id
            check_status(status, job_id)
    return got


def _stated_fields(voice: Voice) -> dict[str, Any]:
    return {name: value for name, value in asdict(voice).items() if value not in (None, {})}


def _with_unexpected_rows(body: Any) -> Iterator[Any]:
    """Yield the body once for each unexpected row, inserted before the rows of each list."""
    for unexpected in _UNEXPECTED_ROWS:
        changed = copy.deepcopy(body)
        for rows in _lists(changed):
            rows.insert(0, unexpected)
        yield changed


def _lists(value: Any) -> list[list[Any]]:
    """Return the outermost lists."""
    if isinstance(value, list):
        return [value]
    return [rows for inner in value.values() for rows in _lists(inner)] if isinstance(value, dict) else []
