"""An amount at a path that the configuration names: an account's balance, or what a speech would cost."""

from __future__ import annotations

from decimal import Decimal

from receiver.model.charge import read_any_amount
from receiver.providers.json_path import find, parse_path
from receiver.providers.protocols import Provider, require_submitting
from receiver.providers.requests import get
from receiver.providers.responses import RequestContext, read_any, unreadable_response
from receiver.providers.types import Account, Request, Response, Speech
from receiver.providers.voice_list import KeyedProvider

_KEY = "idempotency-key"


def balance_request(provider: Provider, account: Account, path: str) -> Request:
    """Return the `GET` of the configured path, with the API key."""
    return get(account, path, provider.credentials(account) if isinstance(provider, KeyedProvider) else {})


def estimate_request(provider: Provider, account: Account, path: str, speech: Speech) -> Request:
    """Return the request that would submit the speech, to the configured path, without an idempotency key.

    Raises:
        ProviderError: the provider does not accept the speech.
    """
    request = require_submitting(provider).submit_request(account, speech, "")
    headers = {name: value for name, value in request.headers.items() if name.lower() != _KEY}
    return Request(request.method, account.base_url.rstrip("/") + path, headers, request.body)


def read_amount(provider: Provider, account: Account, place: str, response: Response) -> Decimal:
    """Return the number at this place in the response, exactly; a balance may be negative.

    Raises:
        ProviderError: the response is an error, or has no number there.
    """
    context = RequestContext(provider.name, account)
    found = read_any_amount(find(read_any(context, response), parse_path(place)))
    if found is None:
        raise unreadable_response(context, response, f"no number at {place}")
    return found
