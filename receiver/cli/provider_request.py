"""Send one request to a provider, for `voices`, `sources test` and `webhook`.

Each of these commands sends one request through the source's address guard, and reports errors in the same way: what
happened, where, and what to do.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import NamedTuple

from receiver.errors import ReceiverError
from receiver.model.redact import Redactor
from receiver.outbound.api import call_api
from receiver.outbound.client import Client
from receiver.outbound.guard import AddressGuard
from receiver.providers.types import Request, Response
from receiver.settings import Source

_ADVICE = {
    "dns_failed": "Check base_url, and this machine's DNS.",
    "connect_failed": "Check base_url and the network: a firewall may block it, or a proxy may be required.",
    "timeout": "Try again. If the error persists, check the network and base_url.",
    "interrupted": "Try again. If the error persists, check the network and base_url.",
    "bad_address": "Check base_url.",
    "provider_too_long": "Check base_url: the response may come from a proxy, not from the service.",
}
"""What to do about an error, by its slug, if its own sentence does not say so."""
_TLS = (
    "Check that base_url has the name in the service's certificate, and that this machine's clock is right; "
    "a certificate authority of your own goes into the file that SSL_CERT_FILE names."
)
MIN_SECRET_LENGTH = 16
"""Characters. A shorter text is not a token, and could be a word of the message."""


class ProviderRequestError(ReceiverError):
    """A provider could not be reached, or returned an unusable response; the message ends with what to do."""


class RequestFailure(NamedTuple):
    """A failed request to a source's provider.

    Attributes:
        source: the source's name.
        reason: the error's slug.
        what: a sentence that says what happened, and where.
        advice: what to do; empty if `what` says it.
    """

    source: str
    reason: str
    what: str
    advice: str

    def __str__(self) -> str:
        return f"Source {self.source}: {self.what} {self.advice}".strip()


async def request_once(source: Source, request: Request, ssl_context: ssl.SSLContext | None = None) -> Response:
    """Send one request to the source's provider, over a connection of its own.

    Args:
        ssl_context: the trusted certificates; by default a new one, which is slow.

    Raises:
        Unavailable: no connection, no complete response in time, or one that is too long.
        UnusableAddress: the source's address guard will not connect there.
    """
    client = Client(AddressGuard(source.allow_private_addresses), ssl_context=ssl_context)
    try:
        return await call_api(client, request)
    finally:
        await client.aclose()


def fetch_response(source: Source, request: Request) -> Response:
    """Run `request_once` in an event loop of its own; errors are the same."""
    return asyncio.run(request_once(source, request))


def request_failure(name: str, source: Source, error: ReceiverError, *more_secrets: str) -> RequestFailure:
    """Describe the error to the operator, without any secret of the source.

    Args:
        more_secrets: further secrets that were sent.
    """
    cut = Redactor([*source_secrets(source), *(text for text in more_secrets if len(text) >= MIN_SECRET_LENGTH)])
    advice = _TLS if _failed_in_tls(error) else _ADVICE.get(error.reason, "")
    what = cut(str(error)).strip()
    return RequestFailure(name, error.reason, what if what.endswith((".", "?", "!", "…")) else f"{what}.", advice)


def source_secrets(source: Source) -> list[str]:
    """Every secret text of one source."""
    key = [source.api_key.get_secret_value()] if source.api_key is not None else []
    return key + [entry.secret.get_secret_value() for entry in source.signing_secrets]


def _failed_in_tls(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return True
        error = error.__cause__ or error.__context__  # the connection pool hides the cause
    return False
