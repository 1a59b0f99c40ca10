"""What a request for a source's voices comes to: the documented voices, or a request to its provider."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from receiver.providers.protocols import Provider, VoicesProvider, require_voices
from receiver.providers.types import Account, Invalid, Request, Response, Voice, VoiceQuery


class VoicesCall(NamedTuple):
    """A request for voices, and what turns its response into them; that raises ProviderError."""

    request: Request
    read: Callable[[Response], list[Voice]]


def find_voices(source: str, provider: Provider, account: Account, query: VoiceQuery) -> list[Voice] | VoicesCall:
    """Return the documented voices if the provider has no list; otherwise the request to send.

    Args:
        source: its name, for the error.

    Raises:
        Invalid: there is no list and none is documented, a filter is not supported, or there is no API key.
    """
    known_voices = provider.capabilities.known_voices
    if known_voices and query == VoiceQuery() and not isinstance(provider, VoicesProvider):
        return [Voice(id=known) for known in known_voices]
    provider = require_voices(provider)
    if account.api_key is None:
        raise Invalid(f"{provider.name} lists its voices only with an API key, and the source {source} has no api_key.")
    return VoicesCall(provider.voices_request(account, query), partial(provider.read_voices, account))
