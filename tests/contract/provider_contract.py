"""What every provider module must do, whatever its service.

For a provider of your own: record documents of its API in a folder (`recorded.py` says how), then

    @pytest.fixture(scope="module")
    def provider() -> Provider:
        return Mine()

    @pytest.fixture(scope="module")
    def documents() -> list[Recorded]:
        return load(Path("documents/mine"))

    @pytest.fixture(scope="module")
    def submits() -> list[Recorded]:
        return load(Path("documents/mine/submit"))

    class TestMine(ProviderContract):
        pass
"""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.errors import MalformedDelivery
from receiver.model.event import COMPLETED
from receiver.model.signature import SCHEMES
from receiver.providers.base import Provider, origin_of, usable_word
from tests.contract.checks import (
    JOB,
    account,
    anywhere,
    check_audio,
    versions,
)
from tests.contract.recorded import Recorded
from tests.contract.status_contract import StatusContract
from tests.contract.strategies import (
    KEY,
    anything,
    as_bytes,
    bases,
    header_lines,
    job_ids,
    payloads,
)
from tests.contract.submit_contract import SubmitContract

UNSEEN_KEY = "tts_live_unseen"
"""A key that no payload has in it: the service's own address may hold whatever the service likes."""


class ProviderContract(StatusContract, SubmitContract):
    """The suite. The module that subclasses it gives the fixtures `provider`, `documents` and `submits`."""

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

    # deliveries

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
                check_audio(requests, provider.base_url, KEY)
                assert payload.get("audio_url") in (None, *(request.url for request in requests))
                assert set(payload.get("audio_urls", [])) <= {payload.get("audio_url")} or (
                    provider.capabilities.several_outputs
                )

    @anywhere
    @given(base=bases, payload=payloads)
    def test_audio_is_asked_for_with_the_key_at_home_only(
        self, provider: Provider, base: str, payload: dict[str, Any]
    ) -> None:
        check_audio(provider.audio_requests(base, UNSEEN_KEY, JOB, payload), base, UNSEEN_KEY)
