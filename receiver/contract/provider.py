"""All contract tests of a provider module."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import urlsplit

from hypothesis import given
from hypothesis import strategies as st

from receiver.contract.checks import account, check_origin, polling_versions, property_settings, versions
from receiver.contract.files import FilesContract
from receiver.contract.lists import ListsContract
from receiver.contract.recorded import Recorded
from receiver.contract.status import StatusContract
from receiver.contract.strategies import base_urls, encode_json, event_words, header_lines, job_ids, json_values
from receiver.contract.stream import StreamContract
from receiver.contract.submit import SubmitContract
from receiver.contract.webhook import WebhookContract
from receiver.errors import InvalidJson, MalformedDelivery
from receiver.model.delivery import Headers, Parsed
from receiver.model.event import TEST
from receiver.model.rate_limit import read_rate_limit
from receiver.model.retry_after import http_date
from receiver.model.signature import SCHEMES
from receiver.providers.base import origin_of
from receiver.providers.conformance import find_problems
from receiver.providers.protocols import PollingProvider, Provider, WebhookProvider


class ProviderContract(StatusContract, SubmitContract, StreamContract, FilesContract, ListsContract, WebhookContract):
    """All tests. Inherit from it, and define the fixtures `provider` and `folder`, of scope `class` or wider."""

    # attributes

    def test_it_has_a_name_and_a_base_url(self, provider: Provider) -> None:
        assert re.fullmatch(r"[a-z][a-z0-9_]*", provider.name)
        assert urlsplit(provider.base_url).scheme == "https"
        assert not provider.base_url.endswith("/")
        assert origin_of(provider.base_url) is not None

    def test_it_implements_the_protocol_of_each_capability_as_a_whole(self, provider: Provider) -> None:
        for version in versions(provider):
            assert find_problems(version) == []
            assert version.name == provider.name
            assert isinstance(version, WebhookProvider | PollingProvider), (
                "with neither webhooks nor polling, the end of a job cannot be known"
            )

    def test_its_attributes_are_valid(self, provider: Provider) -> None:
        for version in versions(provider):
            capabilities = version.capabilities
            assert capabilities.min_poll_seconds > 0
            if isinstance(version, WebhookProvider):
                assert version.scheme in SCHEMES
                assert version.retry_window_seconds > 0
                assert all(name == name.lower() for name in version.kept_headers)
            assert set(capabilities.sample_rates) <= {"", *capabilities.formats}
            assert set(capabilities.bitrates) <= {"", *capabilities.formats}
            assert all(0 < lowest <= highest for lowest, highest in capabilities.bitrates.values())
            for option, values in (
                ("sample_rate", capabilities.sample_rates),
                ("bitrate_kbps", capabilities.bitrates),
                ("model", capabilities.models),
            ):
                assert not values or option in capabilities.options

    def test_every_recording_names_its_source(self, recordings: list[Recorded]) -> None:
        for document in recordings:
            assert document.source, document

    def test_the_accounts_limit_is_read_from_any_response(self, recordings: list[Recorded]) -> None:
        for document in recordings:
            if document.rate_limit is not None:
                now = http_date(document.response.header("date"))
                assert now is not None, "a response with a rate limit needs a Date header"
                found = read_rate_limit(document.response.header, now)
                assert found is not None
                assert found._asdict() == document.rate_limit, document

    # deliveries

    @property_settings
    @given(headers=header_lines, body=st.binary() | json_values.map(encode_json))
    def test_any_delivery_is_read_or_malformed(self, provider: Provider, headers: Any, body: bytes) -> None:
        parsed = _read(provider, headers, body) if isinstance(provider, WebhookProvider) else None
        if parsed is not None:
            json.dumps(parsed.payload, allow_nan=False)

    @property_settings
    @given(data=st.data(), headers=header_lines, word=event_words)
    def test_unsigned_headers_name_a_test_at_most(
        self, provider: Provider, documents: list[Recorded], data: st.DataObject, headers: Any, word: bytes
    ) -> None:
        if not isinstance(provider, WebhookProvider):
            return
        unsigned = [*headers, *((name.encode(), word) for name in provider.kept_headers)]
        deliveries = [encode_json(document.delivery) for document in documents if document.delivery is not None]
        for body in (*deliveries, data.draw(json_values.map(encode_json))):
            signed, parsed = _read(provider, [], body), _read(provider, unsigned, body)
            if signed is None:
                assert parsed is None or parsed.type == TEST
            else:
                assert parsed is not None
                assert (parsed[:3], parsed.event_id) == (signed[:3], signed.event_id)

    # destinations of requests

    @property_settings
    @given(base=base_urls, job=job_ids)
    def test_a_request_goes_to_the_accounts_own_origin_with_the_key_in_a_header_alone(
        self, provider: Provider, base: str, job: str
    ) -> None:
        for version in polling_versions(provider):
            request = version.status_request(account(version, base), job)
            check_origin(request, base)
            keyless = version.status_request(account(version, base, key=None), job)
            assert keyless.url == request.url
            assert len(keyless.headers) == len(request.headers) - 1

    @property_settings
    @given(job=job_ids)
    def test_no_job_id_changes_the_shape_of_the_address(self, provider: Provider, job: str) -> None:
        for version in polling_versions(provider):
            one, other = (urlsplit(version.status_request(account(version), id).url) for id in ("j", job))
            assert one.path.count("/") == other.path.count("/")
            assert (one.query.count("&"), one.query.count("=")) == (other.query.count("&"), other.query.count("="))
            assert other.fragment == ""

    def test_two_jobs_have_two_status_addresses(self, provider: Provider) -> None:
        jobs = ["a", "A", "a/b", "a%2Fb", "a b", "a+b", "ü"]
        for version in polling_versions(provider):
            assert len({version.status_request(account(version), job).url for job in jobs}) == len(jobs)


def _read(provider: WebhookProvider, headers: Headers, body: bytes) -> Parsed | None:
    """Return the parsed delivery; None if it is malformed."""
    try:
        return provider.parse_delivery(headers, body)
    except (MalformedDelivery, InvalidJson):
        return None
