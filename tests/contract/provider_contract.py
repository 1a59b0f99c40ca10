"""What every provider module must do, whatever its service.

For a provider of your own: record documents of its API in a folder (`recorded.py` says how), then

    @pytest.fixture(scope="module")
    def provider() -> Provider:
        return Mine()

    @pytest.fixture(scope="module")
    def documents() -> list[Recorded]:
        return load(Path("documents/mine"))

    class TestMine(ProviderContract):
        pass
"""

from __future__ import annotations

import json
import re
from typing import Any, get_args
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from receiver.errors import MalformedDelivery
from receiver.model.delivery import Parsed, contradicts
from receiver.model.event import COMPLETED, FAILED
from receiver.model.signature import SCHEMES
from receiver.providers import wire
from receiver.providers.base import AudioRequest, Provider, origin_of, usable_word
from receiver.providers.wire import Account, Ended, ProviderError, Response, Running, Status
from tests.contract.recorded import Recorded
from tests.contract.strategies import (
    KEY,
    anything,
    as_bytes,
    bases,
    damaged,
    header_lines,
    job_ids,
    one_field_wrong,
    payloads,
    statuses,
)

JOB = "job_1"
anywhere = settings(suppress_health_check=[HealthCheck.differing_executors, HealthCheck.too_slow])
"""A contract is inherited: its properties are run by many classes."""


def account(provider: Provider, version: str | None = None, base: str | None = None, key: str | None = KEY) -> Account:
    return Account(base or provider.base_url, key, version)


def versions(provider: Provider) -> list[str | None]:
    return [None, *provider.capabilities.versions]


def outcome(provider: Provider, response: Response, version: str | None = None) -> Status | ProviderError:
    """What a provider makes of an answer: a status or an error, and never anything else."""
    try:
        status = provider.read_status(account(provider, version), JOB, response)
    except ProviderError as error:
        check_error(error)
        return error
    assert isinstance(status, get_args(Status))
    if isinstance(status, Ended):
        check_end(status.parsed)
    else:
        assert usable_word(status.word) == status.word
        assert status.progress is None or (type(status.progress) is int and 0 <= status.progress <= 100)
    return status


def check_error(error: ProviderError) -> None:
    assert type(error) is not ProviderError
    assert re.fullmatch(r"[a-z_]+", error.reason)
    assert 0 < len(str(error)) < 1000
    assert str(error).isprintable()
    assert KEY not in f"{error} {error!r} {error.code} {error.args!r}"
    assert error.code == "" or usable_word(error.code) == error.code
    assert error.retry_after is None or 0 <= error.retry_after <= 86_400


def check_end(parsed: Parsed) -> None:
    assert parsed.type in (COMPLETED, FAILED)
    assert parsed.job_id == JOB
    json.dumps(parsed.payload, allow_nan=False)
    if parsed.type == FAILED:
        error = parsed.payload["error"]
        assert set(error) == {"code", "message"}
        assert all(isinstance(text, str) for text in error.values())


def check_audio(requests: list[AudioRequest], base: str) -> None:
    for request in requests:
        assert origin_of(request.url) is not None
        assert KEY not in repr(request.url)
        if request.headers:
            assert origin_of(request.url) == origin_of(base)
        assert request.durable or not request.headers


class ProviderContract:
    """The suite. The module that subclasses it gives the fixtures `provider` and `documents`."""

    # what it says of itself

    def test_it_says_who_it_is(self, provider: Provider) -> None:
        assert re.fullmatch(r"[a-z][a-z0-9_]*", provider.name)
        assert urlsplit(provider.base_url).scheme == "https"
        assert not provider.base_url.endswith("/")
        assert origin_of(provider.base_url) is not None

    def test_its_capabilities_agree_with_what_it_does(self, provider: Provider) -> None:
        assert provider.capabilities.webhooks == (provider.scheme is not None)
        assert provider.scheme is None or provider.scheme in SCHEMES
        assert (provider.retry_window_seconds > 0) == provider.capabilities.webhooks
        assert all(name == name.lower() for name in provider.kept_headers)
        assert provider.capabilities.min_poll_seconds > 0
        for version, able in provider.capabilities.versions.items():
            assert provider.capabilities.of(account(provider, version)) == able
        assert provider.capabilities.of(account(provider)) == provider.capabilities

    # what its answers mean

    def test_the_documents_show_every_way_a_job_can_go(self, documents: list[Recorded]) -> None:
        shown = {next(iter(document.means)) for document in documents}
        assert shown == {"running", "completed", "failed", "error"}
        errors = {document.means["error"] for document in documents if "error" in document.means}
        assert errors >= {"Unauthorized", "UnknownJob", "Unavailable"}
        assert all(document.source for document in documents)

    def test_every_document_means_what_is_written_of_it(self, provider: Provider, documents: list[Recorded]) -> None:
        for document in documents:
            got = outcome(provider, document.response, document.api_version)
            means = dict(document.means)
            if isinstance(got, Running):
                assert means == {"running": got.word} | ({"progress": got.progress} if got.progress else {}), document
            elif isinstance(got, Ended):
                kind = "completed" if got.parsed.type == COMPLETED else "failed"
                assert means == {kind: got.parsed.payload}, document
            else:
                assert type(got) is getattr(wire, means.pop("error")), document
                assert means.pop("says", "") in str(got), document
                assert {"code": "", "retry_after": None} | means == {
                    "code": got.code, "retry_after": got.retry_after,
                }, document  # fmt: skip

    @pytest.mark.parametrize("respell", [str.upper, str.lower, str.title, lambda word: f" {word} "])
    def test_a_status_word_is_read_in_any_case(
        self, provider: Provider, documents: list[Recorded], respell: Any
    ) -> None:
        for document in documents:
            body = with_status(document.body, lambda word: respell(word) if isinstance(word, str) else word)
            if body != document.body:
                got = outcome(provider, document.with_body(body), document.api_version)
                assert same(got, outcome(provider, document.response, document.api_version)), document

    def test_an_unknown_status_word_is_still_running(self, provider: Provider, documents: list[Recorded]) -> None:
        for document in documents:
            if "running" in document.means:
                body = with_status(document.body, lambda _: "WARMING_UP")
                got = outcome(provider, document.with_body(body), document.api_version)
                assert isinstance(got, Running)
                assert got.word == "WARMING_UP"

    def test_a_webhook_and_a_poll_of_one_end_do_not_contradict(
        self, provider: Provider, documents: list[Recorded]
    ) -> None:
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

    # whatever the service sends

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
        got = outcome(provider, Response(status, [(b"retry-after", str(wait).encode())], body))
        assert type(got) is getattr(wire, kind)
        assert got.retry_after == wait

    @anywhere
    @given(headers=header_lines, body=st.binary() | anything.map(as_bytes))
    def test_any_delivery_is_read_or_malformed(self, provider: Provider, headers: Any, body: bytes) -> None:
        word = provider.delivery_id(headers)
        assert word is None or usable_word(word) == word
        try:
            parsed = provider.parse_delivery(headers, body)
        except MalformedDelivery:
            return
        assert provider.capabilities.webhooks
        json.dumps(parsed.payload, allow_nan=False)

    def test_without_webhooks_there_is_no_delivery_to_make(self, provider: Provider) -> None:
        if not provider.capabilities.webhooks:
            with pytest.raises(ValueError, match="no webhooks"):
                provider.sample_body(COMPLETED, JOB, "2026-11-02T10:00:00Z")
            with pytest.raises(ValueError, match="no webhooks"):
                provider.delivery_headers(COMPLETED, "d-1")

    # where its requests go

    @anywhere
    @given(base=bases, job=job_ids)
    def test_a_request_goes_to_the_accounts_own_origin_with_the_key_in_a_header_alone(
        self, provider: Provider, base: str, job: str
    ) -> None:
        for version in versions(provider):
            request = provider.status_request(account(provider, version, base), job)
            assert origin_of(request.url) == origin_of(base)
            assert request.url.startswith(base.rstrip("/") + "/")
            assert request.url.isascii()
            assert request.url.isprintable()
            assert " " not in request.url
            assert KEY not in f"{request.url} {request!r}"
            assert sum(KEY in value for value in request.headers.values()) == 1
            keyless = provider.status_request(account(provider, version, base, key=None), job)
            assert keyless.url == request.url
            assert len(keyless.headers) == len(request.headers) - 1

    @anywhere
    @given(job=job_ids)
    def test_no_job_id_changes_the_shape_of_the_address(self, provider: Provider, job: str) -> None:
        for version in versions(provider):
            plain, odd = (urlsplit(provider.status_request(account(provider, version), id).url) for id in ("j", job))
            assert odd.path.count("/") == plain.path.count("/")
            assert (odd.query.count("&"), odd.query.count("="), odd.fragment) == (
                plain.query.count("&"), plain.query.count("="), "",
            )  # fmt: skip

    def test_two_jobs_are_asked_for_at_two_addresses(self, provider: Provider) -> None:
        odd = ["a", "A", "a/b", "a%2Fb", "a b", "a+b", "ü"]
        assert len({provider.status_request(account(provider), job).url for job in odd}) == len(odd)

    def test_a_completed_job_says_where_its_audio_is(self, provider: Provider, documents: list[Recorded]) -> None:
        for document in documents:
            if "completed" in document.means:
                payload = document.means["completed"]
                requests = provider.audio_requests(provider.base_url, KEY, JOB, payload)
                assert requests, document
                check_audio(requests, provider.base_url)
                assert payload.get("audio_url") in (None, *(request.url for request in requests))
                assert set(payload.get("audio_urls", [])) <= {payload.get("audio_url")} or (
                    provider.capabilities.several_outputs
                )

    @anywhere
    @given(base=bases, payload=payloads)
    def test_audio_is_asked_for_with_the_key_at_home_only(
        self, provider: Provider, base: str, payload: dict[str, Any]
    ) -> None:
        check_audio(provider.audio_requests(base, KEY, JOB, payload), base)


def with_status(body: Any, change: Any) -> Any:
    """The body with its `status` changed, also below `data`."""
    if not isinstance(body, dict):
        return body
    changed = {name: change(value) if name == "status" else value for name, value in body.items()}
    return changed | ({"data": with_status(body["data"], change)} if "data" in body else {})


def same(one: Status | ProviderError, other: Status | ProviderError) -> bool:
    """Whether two outcomes are alike but for the spelling of a status word."""
    if isinstance(one, Running) and isinstance(other, Running):
        return (one.word.lower(), one.progress) == (other.word.lower(), other.progress)
    if isinstance(one, ProviderError) and isinstance(other, ProviderError):
        return (type(one), str(one), one.code) == (type(other), str(other), other.code)
    return one == other
