"""The account's webhook at AI TTS Microservice: where its deliveries go, under which secret, and a test of it.

Wire facts: the service's founding documents and its public webhook documentation, read 2026-11. Apart from the speech
jobs because a person asks here, with an ID token of their own; the API key is never sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from receiver.providers.aitts_errors import CODES
from receiver.providers.answers import Asked, Meaning, open_answer, refusal, unreadable
from receiver.providers.asking import post_nothing, put_json
from receiver.providers.base import origin_of, usable_word
from receiver.providers.checking import check_webhook_address
from receiver.providers.defaults import ProviderDefaults
from receiver.providers.fields import pick, trouble_of, views
from receiver.providers.wire import Account, Invalid, Registered, Request, Response, Unauthorized

_ID_TOKEN_REFUSED = Meaning(
    Unauthorized,
    advice="the ID token is wrong, has expired, or is not one of this account's owner. Sign in anew for another; "
    "an API key does not serve here.",
)
_TEST_NOT_DELIVERED = Meaning(
    Invalid,
    advice="the test was not answered 2xx in time. Is there an address registered, can it be reached from outside, and "
    "does the source have the signing secret?",
)
_ACCOUNT_CODES = CODES | {"UNAUTHORIZED": _ID_TOKEN_REFUSED}
_ACCOUNT_STATUSES = {401: _ID_TOKEN_REFUSED, 403: _ID_TOKEN_REFUSED}
_WEBHOOK = "/api/user/enterprise/webhook"
_SECRET_FIELDS = ("secret", "signing_secret", "signingSecret", "webhook_secret", "webhookSecret")


class AccountWebhook(ProviderDefaults):
    """The part of `Aitts` that speaks of the account."""

    def register_request(self, account: Account, id_token: str, url: str, *, new_secret: bool) -> Request:
        """`PUT /api/user/enterprise/webhook`, with a Firebase ID token in place of the API key.

        Raises:
            Invalid: the address is not https, or the token is no token.
        """
        check_webhook_address(account, url)
        fields = {"url": url, "regenerateSecret": True if new_secret else None}
        return put_json(account, _WEBHOOK, _as_person(id_token), fields)

    def read_register(self, account: Account, response: Response) -> Registered:
        """Read the answer that holds the signing secret once; under which name is not documented."""
        asked = Asked(self.name, account, codes=_ACCOUNT_CODES, statuses=_ACCOUNT_STATUSES)
        document = open_answer(asked, response)
        places = views(document)
        url = pick(places, "url", "webhook_url", "webhookUrl")
        secret = _secret(places)
        if document.get("success") is False or (url is None and secret is None and any(trouble_of(*places))):
            raise refusal(asked, response, document)
        if url is None and secret is None and document.get("success") is not True:
            raise unreadable(asked, response, "neither address nor secret in it")
        return Registered(url if isinstance(url, str) and origin_of(url) else "", secret)

    def test_request(self, account: Account, id_token: str) -> Request:
        """`POST /api/user/enterprise/webhook/test`.

        Raises:
            Invalid: the token is no token.
        """
        return post_nothing(account, f"{_WEBHOOK}/test", _as_person(id_token))

    def read_test(self, account: Account, response: Response) -> str:
        """Read the 200 with its `test_id`; a 422 says that the test was not delivered."""
        statuses = _ACCOUNT_STATUSES | {422: _TEST_NOT_DELIVERED}
        asked = Asked(self.name, account, codes=_ACCOUNT_CODES, statuses=statuses)
        document = open_answer(asked, response)
        places = views(document)
        test_id = usable_word(pick(places, "test_id", "testId"))
        if document.get("success") is False or (test_id is None and any(trouble_of(*places))):
            raise refusal(asked, response, document)
        if test_id is None:
            raise unreadable(asked, response, "no test_id in it")
        return test_id


def _as_person(id_token: str) -> dict[str, str]:
    if not (id_token.isascii() and id_token.isprintable() and id_token) or " " in id_token:
        raise Invalid("The ID token is empty, or has characters that no token has. Copy it whole, and nothing else.")
    return {"Authorization": f"Bearer {id_token}"}


def _secret(places: tuple[Mapping[str, Any], ...]) -> str | None:
    """The signing secret, used as the text it is; a text that could not be one is passed over."""
    found = (place.get(name) for place in places for name in _SECRET_FIELDS)
    return next((text for text in found if isinstance(text, str) and usable_word(text) == text), None)
