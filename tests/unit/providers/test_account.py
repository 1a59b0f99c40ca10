"""The account's webhook is registered and tested as it is documented, by a person and not by the API key."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.providers import PROVIDERS
from receiver.providers.protocols import require_registering
from receiver.providers.types import Account, Invalid, ProviderError, Registered, Response, Unauthorized

AITTS = PROVIDERS["aitts"]
ACCOUNT = Account("https://api.example", "tts_key_123")
TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ1c2VyXzEifQ.c2lnbmVk"
HOOK = "https://hooks.example/webhooks/aitts"


def answer(body: Any, status: int = 200) -> Response:
    return Response(status, [], json.dumps(body).encode())


def test_an_address_is_registered_with_the_id_token() -> None:
    request = AITTS.register_request(ACCOUNT, TOKEN, HOOK, new_secret=False)
    assert (request.method, request.url) == ("PUT", "https://api.example/api/user/enterprise/webhook")
    assert request.headers["Authorization"] == f"Bearer {TOKEN}"
    assert json.loads(request.body or b"") == {"url": HOOK}


def test_a_new_secret_is_asked_for_by_its_documented_name() -> None:
    request = AITTS.register_request(ACCOUNT, TOKEN, HOOK, new_secret=True)
    assert json.loads(request.body or b"") == {"url": HOOK, "regenerateSecret": True}


def test_a_test_delivery_is_asked_for() -> None:
    request = AITTS.test_request(ACCOUNT, TOKEN)
    assert (request.method, request.url) == ("POST", "https://api.example/api/user/enterprise/webhook/test")
    assert request.headers["Authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize(
    "url", ["http://hooks.example/", "hooks.example", "", "https://a@b.example/", "http://127.0.0.1/"]
)
def test_an_address_that_the_service_would_not_take_is_refused(url: str) -> None:
    with pytest.raises(Invalid, match="not an absolute https address"):
        AITTS.register_request(ACCOUNT, TOKEN, url, new_secret=False)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080/webhooks/aitts", "http://localhost/x", "http://[::1]:1/"])
def test_a_simulated_service_on_this_machine_may_be_given_an_address_on_this_machine(url: str) -> None:
    local = Account("http://127.0.0.1:9000/aitts", None)
    assert url.encode() in (AITTS.register_request(local, TOKEN, url, new_secret=False).body or b"")
    with pytest.raises(Invalid):
        AITTS.register_request(local, TOKEN, "http://192.168.1.1/", new_secret=False)


@pytest.mark.parametrize("place", ["data", None])
@pytest.mark.parametrize("name", ["secret", "signing_secret", "signingSecret", "webhook_secret", "webhookSecret"])
def test_the_secret_is_found_where_it_may_be(name: str, place: str | None) -> None:
    said = {"url": HOOK, name: "0123abcd"}
    body = {"success": True} | ({place: said} if place else said)
    got = AITTS.read_register(ACCOUNT, answer(body))
    assert got == Registered(HOOK, "0123abcd")
    assert "0123abcd" not in repr(got)


@pytest.mark.parametrize("secret", [None, "", " ", 7, ["x"], {"secret": "x"}, "a\nb", " x"])
def test_what_can_be_no_secret_is_none(secret: Any) -> None:
    got = AITTS.read_register(ACCOUNT, answer({"success": True, "data": {"url": HOOK, "secret": secret}}))
    assert got.secret is None


def test_the_id_token_is_not_repeated_when_it_is_refused() -> None:
    body = {"success": False, "error": {"code": TOKEN, "message": f"the token {TOKEN} has expired"}}
    for read in (AITTS.read_register, AITTS.read_test):
        with pytest.raises(Unauthorized, match="ID token is wrong, has expired") as caught:
            read(ACCOUNT, answer(body, 401))
        assert TOKEN not in f"{caught.value} {caught.value.code}"
        assert "[redacted] has expired" in str(caught.value)


def test_a_test_that_was_not_delivered_says_where_to_look() -> None:
    with pytest.raises(Invalid, match="can it be reached from outside, and does the source have the signing secret"):
        AITTS.read_test(ACCOUNT, answer({"success": False, "error": "timeout"}, 422))


@pytest.mark.parametrize("provider", ["audixa", "finevoice", "miragic"])
def test_where_there_are_no_webhooks_there_is_nothing_to_register(provider: str) -> None:
    with pytest.raises(Invalid, match="sends no webhooks; its jobs are polled"):
        require_registering(PROVIDERS[provider])


@given(token=st.text())
def test_no_token_breaks_out_of_its_header(token: str) -> None:
    try:
        request = AITTS.test_request(ACCOUNT, token)
    except ProviderError:
        return
    value = request.headers["Authorization"]
    assert value == f"Bearer {token}"
    assert value.isascii()
    assert value.isprintable()
