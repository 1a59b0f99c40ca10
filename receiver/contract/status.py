"""The contract tests for a job's status: the meaning of recorded and damaged responses."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.contract.checks import (
    check_meaning,
    equivalent,
    polling_versions,
    property_settings,
    status_of,
    version_of,
    with_status,
)
from receiver.contract.recorded import Recorded, Recordings
from receiver.contract.strategies import (
    damaged,
    encode_json,
    header_lines,
    json_values,
    single_field_variants,
    statuses,
)
from receiver.model.duplicates import contradicts
from receiver.providers import types
from receiver.providers.protocols import PollingProvider, Provider, WebhookProvider
from receiver.providers.types import (
    Ended,
    ProviderError,
    Response,
    Running,
)


class StatusContract(Recordings):
    """Uses the fixtures `provider` and `documents`."""

    def test_the_documents_show_every_outcome_of_a_job(self, provider: Provider, documents: list[Recorded]) -> None:
        if not polling_versions(provider):
            assert not documents
            return
        shown = {next(iter(document.means)) for document in documents}
        assert shown == {"running", "completed", "failed", "error"}
        errors = {document.means["error"] for document in documents if "error" in document.means}
        assert errors >= {"Unauthorized", "UnknownJob", "Unavailable"}

    def test_every_document_means_what_it_states(self, provider: Provider, documents: list[Recorded]) -> None:
        for document in documents:
            check_meaning(status_of(version_of(provider, document.api_version), document.response), document.means)

    @pytest.mark.parametrize("respell", [str.upper, str.lower, str.title, lambda word: f" {word} "])
    def test_a_status_word_is_read_in_any_case(
        self, provider: Provider, documents: list[Recorded], respell: Any
    ) -> None:
        for document in documents:
            field = document.status_field
            body = with_status(document.body, lambda word: respell(word) if isinstance(word, str) else word, field)
            if body != document.body:
                got = status_of(version_of(provider, document.api_version), document.with_body(body))
                assert equivalent(got, status_of(version_of(provider, document.api_version), document.response)), (
                    document
                )

    def test_an_unknown_status_word_is_still_running(self, provider: Provider, documents: list[Recorded]) -> None:
        for document in documents:
            if "running" in document.means:
                body = with_status(document.body, lambda _: "WARMING_UP", document.status_field)
                got = status_of(version_of(provider, document.api_version), document.with_body(body))
                assert isinstance(got, Running)
                assert got.word == "WARMING_UP"

    def test_a_webhook_and_a_poll_of_one_end_do_not_contradict(
        self, provider: Provider, documents: list[Recorded]
    ) -> None:
        if not isinstance(provider, PollingProvider):
            return
        with_delivery = [document for document in documents if document.delivery is not None]
        assert {next(iter(document.means)) for document in with_delivery} == (
            {"completed", "failed"} if isinstance(provider, WebhookProvider) else set()
        )
        for document in with_delivery:
            assert isinstance(provider, WebhookProvider)
            pushed = provider.parse_delivery([], json.dumps(document.delivery).encode())
            polled_status = status_of(provider, document.response)
            assert isinstance(polled_status, Ended)
            assert (pushed.type, pushed.job_id) == (polled_status.parsed.type, polled_status.parsed.job_id)
            assert not contradicts(pushed.payload, polled_status.parsed.payload)

    def test_no_single_wrong_field_of_a_response_breaks_the_reading(
        self, provider: Provider, documents: list[Recorded]
    ) -> None:
        for document in documents:
            if document.text is None:
                for response in single_field_variants(document):
                    status_of(version_of(provider, document.api_version), response)

    @property_settings
    @given(data=st.data())
    def test_a_damaged_response_is_a_status_or_an_error(
        self, provider: Provider, documents: list[Recorded], data: st.DataObject
    ) -> None:
        if not documents:
            return
        recorded, response = data.draw(damaged(documents))
        first = status_of(version_of(provider, recorded.api_version), response)
        assert equivalent(first, status_of(version_of(provider, recorded.api_version), response))

    @property_settings
    @given(status=statuses, headers=header_lines, body=st.binary() | json_values.map(encode_json))
    def test_any_response_is_a_status_or_an_error(
        self, provider: Provider, status: int, headers: Any, body: bytes
    ) -> None:
        for version in polling_versions(provider):
            got = status_of(version, Response(status, headers, body))
            if not 200 <= status <= 299:
                assert isinstance(got, ProviderError)

    @pytest.mark.parametrize(
        ("status", "kind"),
        [(400, "Invalid"), (401, "Unauthorized"), (402, "OutOfCredits"), (403, "Unauthorized"), (404, "UnknownJob"),
         (422, "Invalid"), (429, "RateLimited"), (500, "Unavailable"), (502, "Unavailable"), (503, "Unavailable")],
    )  # fmt: skip
    @property_settings
    @given(body=st.binary() | json_values.map(encode_json), wait=st.integers(0, 86_400))
    def test_an_http_error_is_that_error_whatever_its_body(
        self, provider: Provider, status: int, kind: str, body: bytes, wait: int
    ) -> None:
        for version in polling_versions(provider):
            got = status_of(version, Response(status, [(b"retry-after", str(wait).encode())], body))
            assert isinstance(got, ProviderError)
            assert type(got) is getattr(types, kind)
            assert got.retry_after == wait
