"""What every provider module must do, whatever its service: the whole suite, and what is asked of the module itself."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.contract.checks import JOB, account, anywhere, asked, check_home, versions
from receiver.contract.files import FilesContract
from receiver.contract.lists import ListsContract
from receiver.contract.recorded import Recorded
from receiver.contract.status import StatusContract
from receiver.contract.strategies import anything, as_bytes, bases, event_words, header_lines, job_ids
from receiver.contract.submit import SubmitContract
from receiver.contract.webhook import WebhookContract
from receiver.errors import InvalidJson, MalformedDelivery
from receiver.model.delivery import Headers, Parsed
from receiver.model.event import COMPLETED, TEST
from receiver.model.rate_limit import read_rate_limit
from receiver.model.retry_after import http_date
from receiver.model.signature import SCHEMES
from receiver.providers.base import Provider, origin_of
from receiver.providers.wire import Capabilities, Request


class ProviderContract(StatusContract, SubmitContract, FilesContract, ListsContract, WebhookContract):
    """The suite. The class that inherits it gives the fixtures `provider` and `folder`, of scope `class` or wider."""

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
            assert not able.versions
            _check_wishes(able)
        assert provider.capabilities.of(account(provider)) == provider.capabilities
        _check_wishes(provider.capabilities)

    def test_every_recording_says_where_it_is_from(self, recordings: list[Recorded]) -> None:
        for document in recordings:
            assert document.source, document

    def test_the_accounts_limit_is_read_from_any_answer(self, recordings: list[Recorded]) -> None:
        for document in recordings:
            if document.rate_limit is not None:
                now = http_date(document.response.header("date"))
                assert now is not None, "an answer with a rate limit needs its Date"
                found = read_rate_limit(document.response.header, now)
                assert found is not None
                assert found._asdict() == document.rate_limit, document

    # deliveries

    @anywhere
    @given(headers=header_lines, body=st.binary() | anything.map(as_bytes))
    def test_any_delivery_is_read_or_malformed(self, provider: Provider, headers: Any, body: bytes) -> None:
        parsed = _read(provider, headers, body)
        if parsed is not None:
            assert provider.capabilities.webhooks
            json.dumps(parsed.payload, allow_nan=False)

    @anywhere
    @given(data=st.data(), headers=header_lines, word=event_words)
    def test_nothing_unsigned_says_what_happened(
        self, provider: Provider, documents: list[Recorded], data: st.DataObject, headers: Any, word: bytes
    ) -> None:
        unsigned = [*headers, *((name.encode(), word) for name in provider.kept_headers)]
        deliveries = [as_bytes(document.delivery) for document in documents if document.delivery is not None]
        for body in (*deliveries, data.draw(anything.map(as_bytes))):
            signed, parsed = _read(provider, [], body), _read(provider, unsigned, body)
            if signed is None:
                assert parsed is None or parsed.type == TEST
            else:
                assert parsed is not None
                assert parsed[:3] == signed[:3]

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
            request = _status(provider, job, version, base)
            if request is not None:
                check_home(request, base)
                keyless = provider.status_request(account(provider, version, base, key=None), job)
                assert keyless.url == request.url
                assert len(keyless.headers) == len(request.headers) - 1

    @anywhere
    @given(job=job_ids)
    def test_no_job_id_changes_the_shape_of_the_address(self, provider: Provider, job: str) -> None:
        for version in versions(provider):
            plain, odd = (_status(provider, id, version) for id in ("j", job))
            if plain is not None and odd is not None:
                one, other = urlsplit(plain.url), urlsplit(odd.url)
                assert one.path.count("/") == other.path.count("/")
                assert (one.query.count("&"), one.query.count("=")) == (other.query.count("&"), other.query.count("="))
                assert other.fragment == ""

    def test_two_jobs_are_asked_for_at_two_addresses(self, provider: Provider) -> None:
        if provider.capabilities.polling:
            odd = ["a", "A", "a/b", "a%2Fb", "a b", "a+b", "ü"]
            assert len({provider.status_request(account(provider), job).url for job in odd}) == len(odd)

    def test_a_job_can_be_asked_about_where_it_says_so(self, provider: Provider) -> None:
        for version in versions(provider):
            assert (_status(provider, JOB, version) is not None) == provider.capabilities.of(
                account(provider, version)
            ).polling


def _read(provider: Provider, headers: Headers, body: bytes) -> Parsed | None:
    """The parsed delivery; None if it is malformed."""
    try:
        return provider.parse_delivery(headers, body)
    except (MalformedDelivery, InvalidJson):
        return None


def _status(provider: Provider, job: str, version: str | None = None, base: str | None = None) -> Request | None:
    return asked(provider.status_request, account(provider, version, base), job)


def _check_wishes(able: Capabilities) -> None:
    """What is said of an option is said of one that is taken."""
    assert set(able.sample_rates) <= {"", *able.formats}
    assert set(able.bitrates) <= {"", *able.formats}
    assert all(0 < least <= most for least, most in able.bitrates.values())
    for name, known in (("sample_rate", able.sample_rates), ("bitrate_kbps", able.bitrates), ("model", able.models)):
        assert not known or name in able.options
    assert able.webhooks or able.polling
