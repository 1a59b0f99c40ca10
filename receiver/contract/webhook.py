"""The part of the contract about the account's webhook: registering its address, and asking for a test of it."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from receiver.contract.checks import account, anywhere, asked, check_home, check_meaning, tried
from receiver.contract.recorded import Recorded, Recordings
from receiver.contract.strategies import (
    KEY,
    anything,
    as_bytes,
    bases,
    damaged,
    header_lines,
    one_field_wrong,
    statuses,
)
from receiver.providers.base import Provider, origin_of, usable_word
from receiver.providers.wire import Invalid, ProviderError, Registered, Response

ID_TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ1c2VyXzEifQ.c2lnbmVk"
"""A person's ID token, by its looks."""
_ADDRESS = "https://hooks.example/webhooks/x"


class WebhookContract(Recordings):
    """Uses the fixtures `provider`, `registrations` and `webhook_tests`."""

    def test_a_webhook_can_be_registered_and_tested_where_it_says_so(
        self, provider: Provider, registrations: list[Recorded], webhook_tests: list[Recorded]
    ) -> None:
        able, of = provider.capabilities, account(provider)
        assert able.webhooks or not able.registers_webhooks
        register = asked(provider.register_request, of, ID_TOKEN, _ADDRESS, new_secret=False)
        test = asked(provider.test_request, of, ID_TOKEN)
        assert (register is not None) == (test is not None) == able.registers_webhooks
        assert bool(registrations) == bool(webhook_tests) == able.registers_webhooks
        if not able.registers_webhooks:
            assert isinstance(_registered(provider, Response(200, [], b"{}")), Invalid)
            assert isinstance(_tested(provider, Response(200, [], b"{}")), Invalid)

    @anywhere
    @given(base=bases)
    def test_a_person_asks_with_the_id_token_and_the_api_key_is_not_sent(self, provider: Provider, base: str) -> None:
        of = account(provider, base=base)
        for new_secret in (False, True):
            register = asked(provider.register_request, of, ID_TOKEN, _ADDRESS, new_secret=new_secret)
            for request in (register, asked(provider.test_request, of, ID_TOKEN)):
                if request is not None:
                    check_home(request, base, ID_TOKEN)
                    assert KEY not in f"{request.url}{dict(request.headers)}{request.body!r}"
            assert register is None or _ADDRESS.encode() in (register.body or b"")

    def test_a_new_secret_is_asked_for_only_when_it_is_wanted(self, provider: Provider) -> None:
        if provider.capabilities.registers_webhooks:
            of = account(provider)
            old, new = (provider.register_request(of, ID_TOKEN, _ADDRESS, new_secret=new) for new in (False, True))
            assert old != new

    def test_an_address_that_no_service_would_take_is_refused(self, provider: Provider) -> None:
        for url in ("", "hooks.example", "http://hooks.example/x", "ftp://hooks.example/", "https://", "https://a b/"):
            of = account(provider)
            assert asked(provider.register_request, of, ID_TOKEN, url, new_secret=False) is None
        for token in ("", " ", "a b", "a\r\nX-Other: b", "ü"):
            of = account(provider)
            assert asked(provider.register_request, of, token, _ADDRESS, new_secret=False) is None
            assert asked(provider.test_request, of, token) is None

    def test_every_answer_about_the_webhook_means_what_is_written_of_it(
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

    def test_no_one_field_of_an_answer_about_the_webhook_can_break_the_reading(
        self, provider: Provider, registrations: list[Recorded], webhook_tests: list[Recorded]
    ) -> None:
        for documents, read in ((registrations, _registered), (webhook_tests, _tested)):
            for document in documents:
                for response in one_field_wrong(document) if document.text is None else ():
                    read(provider, response)

    @anywhere
    @given(data=st.data(), status=statuses, headers=header_lines, body=st.binary() | anything.map(as_bytes))
    def test_any_answer_about_the_webhook_is_read_or_an_error(
        self,
        provider: Provider,
        registrations: list[Recorded],
        webhook_tests: list[Recorded],
        data: st.DataObject,
        status: int,
        headers: Any,
        body: bytes,
    ) -> None:
        for documents, read in ((registrations, _registered), (webhook_tests, _tested)):
            got = read(provider, Response(status, headers, body))
            assert isinstance(got, ProviderError if not 200 <= status <= 299 else Registered | str | ProviderError)
            if documents:
                read(provider, data.draw(damaged(documents))[1])


def _registered(provider: Provider, response: Response) -> Registered | ProviderError:
    got = tried(provider.read_register, account(provider), response)
    if isinstance(got, Registered):
        assert got.url == "" or origin_of(got.url) is not None
        assert got.secret is None or got.secret.strip() == got.secret != ""
    return got


def _tested(provider: Provider, response: Response) -> str | ProviderError:
    got = tried(provider.read_test, account(provider), response)
    assert not isinstance(got, str) or usable_word(got) == got
    return got
