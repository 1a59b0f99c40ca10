"""The part of the contract about a job's status: what recorded and damaged answers mean."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.contract.checks import (
    anywhere,
    check_meaning,
    outcome,
    same,
    versions,
    with_status,
)
from receiver.contract.recorded import Recorded, Recordings
from receiver.contract.strategies import (
    anything,
    as_bytes,
    damaged,
    header_lines,
    one_field_wrong,
    statuses,
)
from receiver.model.copies import contradicts
from receiver.providers import wire
from receiver.providers.base import Provider
from receiver.providers.wire import (
    Ended,
    ProviderError,
    Response,
    Running,
)


class StatusContract(Recordings):
    """Uses the fixtures `provider` and `documents`."""

    def test_the_documents_show_every_way_a_job_can_go(self, provider: Provider, documents: list[Recorded]) -> None:
        if not provider.capabilities.polling:
            assert not documents
            return
        shown = {next(iter(document.means)) for document in documents}
        assert shown == {"running", "completed", "failed", "error"}
        errors = {document.means["error"] for document in documents if "error" in document.means}
        assert errors >= {"Unauthorized", "UnknownJob", "Unavailable"}

    def test_every_document_means_what_is_written_of_it(self, provider: Provider, documents: list[Recorded]) -> None:
        for document in documents:
            check_meaning(outcome(provider, document.response, document.api_version), document.means)

    @pytest.mark.parametrize("respell", [str.upper, str.lower, str.title, lambda word: f" {word} "])
    def test_a_status_word_is_read_in_any_case(
        self, provider: Provider, documents: list[Recorded], respell: Any
    ) -> None:
        for document in documents:
            field = document.status_field
            body = with_status(document.body, lambda word: respell(word) if isinstance(word, str) else word, field)
            if body != document.body:
                got = outcome(provider, document.with_body(body), document.api_version)
                assert same(got, outcome(provider, document.response, document.api_version)), document

    def test_an_unknown_status_word_is_still_running(self, provider: Provider, documents: list[Recorded]) -> None:
        for document in documents:
            if "running" in document.means:
                body = with_status(document.body, lambda _: "WARMING_UP", document.status_field)
                got = outcome(provider, document.with_body(body), document.api_version)
                assert isinstance(got, Running)
                assert got.word == "WARMING_UP"

    def test_a_webhook_and_a_poll_of_one_end_do_not_contradict(
        self, provider: Provider, documents: list[Recorded]
    ) -> None:
        if not provider.capabilities.polling:
            return
        told = [document for document in documents if document.delivery is not None]
        assert {next(iter(document.means)) for document in told} == (
            {"completed", "failed"} if provider.capabilities.webhooks else set()
        )
        for document in told:
            pushed = provider.parse_delivery([], json.dumps(document.delivery).encode())
            polled = outcome(provider, document.response, document.api_version)
            assert isinstance(polled, Ended)
            assert (pushed.type, pushed.job_id) == (polled.parsed.type, polled.parsed.job_id)
            assert not contradicts(pushed.payload, polled.parsed.payload)

    def test_no_one_field_of_an_answer_can_break_the_reading(
        self, provider: Provider, documents: list[Recorded]
    ) -> None:
        for document in documents:
            if document.text is None:
                for response in one_field_wrong(document):
                    outcome(provider, response, document.api_version)

    @anywhere
    @given(data=st.data())
    def test_a_damaged_answer_is_a_status_or_an_error(
        self, provider: Provider, documents: list[Recorded], data: st.DataObject
    ) -> None:
        if not documents:
            return
        recorded, response = data.draw(damaged(documents))
        first = outcome(provider, response, recorded.api_version)
        assert same(first, outcome(provider, response, recorded.api_version))

    @anywhere
    @given(status=statuses, headers=header_lines, body=st.binary() | anything.map(as_bytes))
    def test_any_answer_is_a_status_or_an_error(
        self, provider: Provider, status: int, headers: Any, body: bytes
    ) -> None:
        for version in versions(provider):
            got = outcome(provider, Response(status, headers, body), version)
            if not 200 <= status <= 299:
                assert isinstance(got, ProviderError)

    @pytest.mark.parametrize(
        ("status", "kind"),
        [(400, "Invalid"), (401, "Unauthorized"), (402, "OutOfCredits"), (403, "Unauthorized"), (404, "UnknownJob"),
         (422, "Invalid"), (429, "RateLimited"), (500, "Unavailable"), (502, "Unavailable"), (503, "Unavailable")],
    )  # fmt: skip
    @anywhere
    @given(body=st.binary() | anything.map(as_bytes), wait=st.integers(0, 86_400))
    def test_an_http_error_is_that_error_whatever_its_body(
        self, provider: Provider, status: int, kind: str, body: bytes, wait: int
    ) -> None:
        if not provider.capabilities.polling:
            return
        got = outcome(provider, Response(status, [(b"retry-after", str(wait).encode())], body))
        assert isinstance(got, ProviderError)
        assert type(got) is getattr(wire, kind)
        assert got.retry_after == wait
