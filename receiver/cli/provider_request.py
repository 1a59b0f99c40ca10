"""Ask a provider by hand: what `voices`, `sources test` and `webhook` share.

Apart from the commands because each of them makes one request under the source's own address guard, and because what
went wrong on the way must be reported alike: what, where, and what to do about it.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import NamedTuple

from receiver.errors import ReceiverError
from receiver.model.redact import Redactor
from receiver.outbound.api import ask
from receiver.outbound.client import Client
from receiver.outbound.guard import AddressGuard
from receiver.providers.types import Request, Response
from receiver.settings import Source

_ADVICE = {
    "dns_failed": "Check base_url, and the name look-up of this machine.",
    "connect_failed": "Check base_url and the network: is a firewall in between, or a proxy that must be used?",
    "timeout": "Try again; if it stays so, check the network and base_url.",
    "interrupted": "Try again; if it stays so, check the network and base_url.",
    "bad_address": "Check base_url.",
    "provider_too_long": "Check base_url: does the service itself answer there, or something before it?",
}
"""By the error's slug, where its own sentence does not say what to do."""
_TLS = (
    "Check that base_url has the name in the service's certificate, and that this machine's clock is right; "
    "a certificate authority of your own goes into the file that SSL_CERT_FILE names."
)
SHORTEST_SECRET = 16
"""Characters. What is shorter is no token, and may be a word of the sentence that says so."""


class ProviderRequestError(ReceiverError):
    """A provider could not be asked, or did not answer as it must; the message ends with what to do."""


class ErrorDetail(NamedTuple):
    """What went wrong between us and a source's provider.

    Attributes:
        source: the source's name.
        reason: the error's slug.
        what: a sentence: what happened, and where.
        advice: what to do; empty where `what` says it.
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
        ssl_context: which certificates are trusted; made anew if not given, which takes a while.

    Raises:
        Unavailable: no connection, no whole answer in time, or one that is too long.
        UnusableAddress: the source's address guard will not connect there.
    """
    client = Client(AddressGuard(source.allow_private_addresses), ssl_context=ssl_context)
    try:
        return await ask(client, request)
    finally:
        await client.aclose()


def fetch_response(source: Source, request: Request) -> Response:
    """`request_once` for a command that has nothing else to wait for. Errors are the same."""
    return asyncio.run(request_once(source, request))


def error_detail(name: str, source: Source, error: ReceiverError, *more_secrets: str) -> ErrorDetail:
    """The error in words for the operator, without any secret of the source.

    Args:
        more_secrets: what else was sent and must not be shown.
    """
    cut = Redactor([*source_secrets(source), *(text for text in more_secrets if len(text) >= SHORTEST_SECRET)])
    advice = _TLS if _broke_in_tls(error) else _ADVICE.get(error.reason, "")
    what = cut(str(error)).strip()
    return ErrorDetail(name, error.reason, what if what.endswith((".", "?", "!", "…")) else f"{what}.", advice)


def source_secrets(source: Source) -> list[str]:
    """Every secret text of one source."""
    key = [source.api_key.get_secret_value()] if source.api_key is not None else []
    return key + [entry.secret.get_secret_value() for entry in source.signing_secrets]


def _broke_in_tls(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return True
        error = error.__cause__ or error.__context__  # the connection pool hides the cause
    return False
