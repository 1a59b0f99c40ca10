"""The contract tests for the account's webhook: registering its address, and requesting a test delivery."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from receiver.contract.checks import account, build_or_none, check_meaning, check_origin, outcome_of, property_settings
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
from receiver.providers.base import origin_of, usable_word
from receiver.providers.protocols import Provider, RegisteringProvider
from receiver.providers.types import ProviderError, Registered, Response

ID_TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ1c2VyXzEifQ.c2lnbmVk"
"""A text in the form of a user's ID token."""
_ADDRESS = "https://hooks.example/webhooks/x"


class WebhookContract(Recordings):
    """Uses the fixtures `provider`, `registrations` and `webhook_tests`."""

    def test_responses_are_recorded_where_a_webhook_can_be_registered(
        self, provider: Provider, registrations: list[Recorded], webhook_tests: list[Recorded]
    ) -> None:
        assert bool(registrations) == bool(webhook_tests) == isinstance(provider, RegisteringProvider)

    @property_settings
    @given(base=base_urls)
    def test_requests_carry_the_id_token_and_not_the_api_key(self, provider: Provider, base: str) -> None:
        if not isinstance(provider, RegisteringProvider):
            return
        at = account(provider, base)
        requests = [
            provider.register_request(at, ID_TOKEN, _ADDRESS, new_secret=new_secret) for new_secret in (False, True)
        ]
        for request in (*requests, provider.test_request(at, ID_TOKEN)):
            check_origin(request, base, ID_TOKEN)
            assert API_KEY not in f"{request.url}{dict(request.headers)}{request.body!r}"
        assert all(_ADDRESS.encode() in (request.body or b"") for request in requests)

    def test_a_new_secret_is_requested_only_if_wanted(self, provider: Provider) -> None:
        if isinstance(provider, RegisteringProvider):
            at = account(provider)
            old, new = (provider.register_request(at, ID_TOKEN, _ADDRESS, new_secret=new) for new in (False, True))
            assert old != new

    def test_an_address_that_no_service_accepts_is_refused(self, provider: Provider) -> None:
        if not isinstance(provider, RegisteringProvider):
            return
        at = account(provider)
        for url in ("", "hooks.example", "http://hooks.example/x", "ftp://hooks.example/", "https://", "https://a b/"):
            assert build_or_none(provider.register_request, at, ID_TOKEN, url, new_secret=False) is None
        for token in ("", " ", "a b", "a\r\nX-Other: b", "ü"):
            assert build_or_none(provider.register_request, at, token, _ADDRESS, new_secret=False) is None
            assert build_or_none(provider.test_request, at, token) is None

    def test_every_response_about_the_webhook_means_what_its_document_states(
        self, provider: Provider, registrations: list[Recorded], webhook_tests: list[Recorded]
    ) -> None:
        for document in registrations:
            got = _registered(provider, document.response)
            if isinstance(got, Registered):
                assert document.means == {"registered": {"url": got.url, "secret": got.secret}}, document
                assert got.secret is None or got.secret not in repr(got)
            else:
                check_meaning(got, document.means)
        for document in webhook_tests:
            test = _tested(provider, document.response)
            if isinstance(test, str):
                assert document.means == {"tested": test}, document
            else:
                check_meaning(test, document.means)
        for documents, name in ((registrations, "registered"), (webhook_tests, "tested")):
            assert not documents or {name, "error"} <= {word for document in documents for word in document.means}

    def test_no_single_wrong_field_of_a_response_about_the_webhook_breaks_the_reading(
        self, provider: Provider, registrations: list[Recorded], webhook_tests: list[Recorded]
    ) -> None:
        for documents, read in ((registrations, _registered), (webhook_tests, _tested)):
            for document in documents:
                for response in single_field_variants(document) if document.text is None else ():
                    read(provider, response)

    @property_settings
    @given(data=st.data(), status=statuses, headers=header_lines, body=st.binary() | json_values.map(encode_json))
    def test_any_response_about_the_webhook_is_read_or_an_error(
        self,
        provider: Provider,
        registrations: list[Recorded],
        webhook_tests: list[Recorded],
        data: st.DataObject,
        status: int,
        headers: Any,
        body: bytes,
    ) -> None:
        if not isinstance(provider, RegisteringProvider):
            return
        for documents, read in ((registrations, _registered), (webhook_tests, _tested)):
            got = read(provider, Response(status, headers, body))
            assert isinstance(got, ProviderError if not 200 <= status <= 299 else Registered | str | ProviderError)
            if documents:
                read(provider, data.draw(damaged(documents))[1])


def _registered(provider: Provider, response: Response) -> Registered | ProviderError:
    assert isinstance(provider, RegisteringProvider)
    got = outcome_of(provider.read_register, account(provider), response)
    if isinstance(got, Registered):
        assert got.url == "" or origin_of(got.url) is not None
        assert got.secret is None or got.secret.strip() == got.secret != ""
    return got


def _tested(provider: Provider, response: Response) -> str | ProviderError:
    assert isinstance(provider, RegisteringProvider)
    got = outcome_of(provider.read_test, account(provider), response)
    assert not isinstance(got, str) or usable_word(got) == got
    return got
