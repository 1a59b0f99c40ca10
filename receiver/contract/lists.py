"""The part of the contract about lists: the voices on offer, and the history of an account's jobs."""

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
    anywhere,
    asked,
    check_home,
    check_meaning,
    check_status,
    tried,
    versions,
)
from receiver.contract.recorded import Recorded, Recordings
from receiver.contract.strategies import anything, as_bytes, bases, damaged, header_lines, one_field_wrong, statuses
from receiver.providers.base import Provider, usable_word
from receiver.providers.wire import (
    HISTORY_PAGE,
    Capabilities,
    Ended,
    Invalid,
    ProviderError,
    Response,
    Status,
    Voice,
    VoiceQuery,
)

_ODD_ROWS: tuple[Any, ...] = (None, True, 0.5, [], {}, {"status": []}, {"id": ["x"]}, "\0", {"voice_id": ""})


class ListsContract(Recordings):
    """Uses the fixtures `provider`, `voice_lists` and `histories`."""

    # voices

    def test_voices_can_be_asked_for_where_it_says_so(self, provider: Provider, voice_lists: list[Recorded]) -> None:
        for version in versions(provider):
            of = account(provider, version)
            able = provider.capabilities.of(of)
            request = asked(provider.voices_request, of, VoiceQuery())
            assert (request is not None) == able.voices
            assert able.voices or isinstance(_voices(provider, Response(200, [], b"[]"), version), Invalid)
            assert not (able.voices and able.known_voices)
        assert bool(voice_lists) == (True in {able.voices for able in _all(provider)})

    @anywhere
    @given(base=bases)
    def test_voices_are_asked_for_at_home(self, provider: Provider, base: str) -> None:
        for version in versions(provider):
            request = asked(provider.voices_request, account(provider, version, base), VoiceQuery())
            if request is not None:
                assert request.method == "GET"
                check_home(request, base)

    def test_a_filter_is_sent_or_refused(self, provider: Provider) -> None:
        for version in versions(provider):
            of = account(provider, version)
            able = provider.capabilities.of(of)
            model = next(iter(able.models), "a model")
            for query in (
                VoiceQuery(language="de&x=y"),
                VoiceQuery(gender="a/b"),
                VoiceQuery(provider="a=b"),
                VoiceQuery(model=model),
            ):
                request = asked(provider.voices_request, of, query)
                value = next(value for value in asdict(query).values() if value is not None)
                assert request is None or value in dict(parse_qsl(urlsplit(request.url).query)).values()
            if able.models:
                assert asked(provider.voices_request, of, VoiceQuery(model="no such model")) is None

    def test_every_list_of_voices_means_what_is_written_of_it(
        self, provider: Provider, voice_lists: list[Recorded]
    ) -> None:
        assert not voice_lists or {"voices", "error"} <= {name for document in voice_lists for name in document.means}
        for document in voice_lists:
            got = _voices(provider, document.response, document.api_version)
            if isinstance(got, ProviderError):
                check_meaning(got, document.means)
            else:
                assert {"voices": [_said(voice) for voice in got]} == document.means, document

    @anywhere
    @given(data=st.data(), status=statuses, headers=header_lines, body=st.binary() | anything.map(as_bytes))
    def test_any_answer_is_a_list_of_voices_or_an_error(
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
            _voices(provider, response, recorded.api_version)
        got = _voices(provider, Response(status, headers, body))
        assert isinstance(got, ProviderError if not 200 <= status <= 299 else list | ProviderError)

    # history

    def test_the_history_can_be_asked_for_where_it_says_so(self, provider: Provider, histories: list[Recorded]) -> None:
        for version in versions(provider):
            of = account(provider, version)
            request = asked(provider.history_request, of, 0)
            able = provider.capabilities.of(of)
            assert (request is not None) == able.history
            assert able.history or isinstance(_history(provider, Response(200, [], b"[]"), version), Invalid)
            if request is not None:
                assert request.method == "GET"
                assert request.url != provider.history_request(of, HISTORY_PAGE).url
        assert bool(histories) == (True in {able.history for able in _all(provider)})

    @anywhere
    @given(base=bases, offset=st.integers(0, 10**6))
    def test_the_history_is_asked_for_at_home(self, provider: Provider, base: str, offset: int) -> None:
        for version in versions(provider):
            request = asked(provider.history_request, account(provider, version, base), offset)
            if request is not None:
                check_home(request, base)

    def test_every_history_means_what_is_written_of_it(self, provider: Provider, histories: list[Recorded]) -> None:
        assert not histories or {"history", "error"} <= {name for document in histories for name in document.means}
        for document in histories:
            got = _history(provider, document.response, document.api_version)
            if isinstance(got, ProviderError):
                check_meaning(got, document.means)
            else:
                assert list(got) == list(document.means["history"]), document
                for job_id, status in got.items():
                    check_meaning(status, document.means["history"][job_id])
                    assert not isinstance(status, Ended) or status.document is not None, "its row is kept with the end"

    @anywhere
    @given(data=st.data(), status=statuses, headers=header_lines, body=st.binary() | anything.map(as_bytes))
    def test_any_answer_is_a_history_or_an_error(
        self, provider: Provider, histories: list[Recorded], data: st.DataObject, status: int, headers: Any, body: bytes
    ) -> None:
        for version in versions(provider):
            got = _history(provider, Response(status, headers, body), version)
            assert isinstance(got, ProviderError if not 200 <= status <= 299 else dict | ProviderError)
        if histories:
            recorded, response = data.draw(damaged(histories))
            _history(provider, response, recorded.api_version)

    # both

    def test_no_one_field_of_a_list_can_break_the_reading(
        self, provider: Provider, voice_lists: list[Recorded], histories: list[Recorded]
    ) -> None:
        for documents, read in ((voice_lists, _voices), (histories, _history)):
            for document in documents:
                for response in one_field_wrong(document) if document.text is None else ():
                    read(provider, response, document.api_version)

    def test_a_row_that_cannot_be_read_costs_no_other_row(
        self, provider: Provider, voice_lists: list[Recorded], histories: list[Recorded]
    ) -> None:
        for documents, read in ((voice_lists, _voices), (histories, _history)):
            for document in documents:
                if "error" not in document.means:
                    for body in _with_odd_rows(document.body):
                        got = read(provider, document.with_body(body), document.api_version)
                        assert got == read(provider, document.response, document.api_version)


def _all(provider: Provider) -> list[Capabilities]:
    return [provider.capabilities.of(account(provider, version)) for version in versions(provider)]


def _voices(provider: Provider, response: Response, version: str | None = None) -> list[Voice] | ProviderError:
    got = tried(provider.read_voices, account(provider, version), response)
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


def _history(provider: Provider, response: Response, version: str | None = None) -> dict[str, Status] | ProviderError:
    got = tried(provider.read_history, account(provider, version), response)
    if isinstance(got, dict):
        for job_id, status in got.items():
            assert usable_word(job_id) == job_id
            check_status(status, job_id)
    return got


def _said(voice: Voice) -> dict[str, Any]:
    return {name: value for name, value in asdict(voice).items() if value not in (None, {})}


def _with_odd_rows(body: Any) -> Iterator[Any]:
    """The body once for each odd row, which is put before the rows of its list."""
    for odd in _ODD_ROWS:
        changed = copy.deepcopy(body)
        for rows in _lists(changed):
            rows.insert(0, odd)
        yield changed


def _lists(value: Any) -> list[list[Any]]:
    """The outermost lists."""
    if isinstance(value, list):
        return [value]
    return [rows for inner in value.values() for rows in _lists(inner)] if isinstance(value, dict) else []
