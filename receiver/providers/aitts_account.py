"""The account's webhook at AI TTS Microservice: its registration, its signing secret, and a test delivery.

Wire facts: the service's founding documents and its public webhook documentation, read 2026-11. These requests carry a
user's own ID token; the API key is never sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from receiver.providers.aitts_errors import CODES
from receiver.providers.base import origin_of, usable_word
from receiver.providers.fields import error_detail, pick, unwrap
from receiver.providers.requests import post_empty, put_json
from receiver.providers.responses import ErrorMapping, RequestContext, error_response, read_object, unreadable_response
from receiver.providers.types import Account, Invalid, Registered, Request, Response, Unauthorized
from receiver.providers.validation import check_webhook_address

_ID_TOKEN_REFUSED = ErrorMapping(
    Unauthorized,
    advice="the ID token is wrong, has expired, or does not belong to this account's owner. Sign in again to get "
    "another; an API key is not accepted here.",
)
_TEST_NOT_DELIVERED = ErrorMapping(
    Invalid,
    advice="the test got no 2xx response in time. Is an address registered, can it be reached from outside, and does "
    "the source have the signing secret?",
)
_ACCOUNT_CODES = CODES | {"UNAUTHORIZED": _ID_TOKEN_REFUSED}
_ACCOUNT_STATUSES = {401: _ID_TOKEN_REFUSED, 403: _ID_TOKEN_REFUSED}
_WEBHOOK = "/api/user/enterprise/webhook"
_SECRET_FIELDS = ("secret", "signing_secret", "signingSecret", "webhook_secret", "webhookSecret")


class AccountWebhook:
    """The methods of `Aitts` for the account's webhook."""

    name: str

    def register_request(self, account: Account, id_token: str, url: str, *, new_secret: bool) -> Request:
        """`PUT /api/user/enterprise/webhook`, with a Firebase ID token in place of the API key.

        Raises:
            Invalid: the address is not https, or the token is malformed.
        """
        check_webhook_address(account, url)
        fields = {"url": url, "regenerateSecret": True if new_secret else None}
        return put_json(account, _WEBHOOK, _id_token_header(id_token), fields)

    def read_register(self, account: Account, response: Response) -> Registered:
        """Read the response, which contains the signing secret once; the name of its field is not documented."""
        context = RequestContext(self.name, account, codes=_ACCOUNT_CODES, statuses=_ACCOUNT_STATUSES)
        document = read_object(context, response)
        objects = unwrap(document)
        url = pick(objects, "url", "webhook_url", "webhookUrl")
        secret = _secret(objects)
        if document.get("success") is False or (url is None and secret is None and any(error_detail(*objects))):
            raise error_response(context, response, document)
        if url is None and secret is None and document.get("success") is not True:
            raise unreadable_response(context, response, "it has neither address nor secret")
        return Registered(url if isinstance(url, str) and origin_of(url) else "", secret)

    def test_request(self, account: Account, id_token: str) -> Request:
        """`POST /api/user/enterprise/webhook/test`.

        Raises:
            Invalid: the token is malformed.
        """
        return post_empty(account, f"{_WEBHOOK}/test", _id_token_header(id_token))

    def read_test(self, account: Account, response: Response) -> str:
        """Read the 200 with its `test_id`; a 422 means that the test was not delivered."""
        statuses = _ACCOUNT_STATUSES | {422: _TEST_NOT_DELIVERED}
        context = RequestContext(self.name, account, codes=_ACCOUNT_CODES, statuses=statuses)
        document = read_object(context, response)
        objects = unwrap(document)
        test_id = usable_word(pick(objects, "test_id", "testId"))
        if document.get("success") is False or (test_id is None and any(error_detail(*objects))):
            raise error_response(context, response, document)
        if test_id is None:
            raise unreadable_response(context, response, "it has no test_id")
        return test_id


def _id_token_header(id_token: str) -> dict[str, str]:
    if not (id_token.isascii() and id_token.isprintable() and id_token) or " " in id_token:
        raise Invalid("The ID token is empty or has invalid characters. Copy the whole token and nothing else.")
    return {"Authorization": f"Bearer {id_token}"}


def _secret(objects: tuple[Mapping[str, Any], ...]) -> str | None:
    """Return the signing secret, unchanged; unusable texts are skipped."""
    found = (item.get(name) for item in objects for name in _SECRET_FIELDS)
    return next((text for text in found if isinstance(text, str) and usable_word(text) == text), None)
