"""What a request for a source's voices comes to: the documented voices, or a request to its provider."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, Protocol, runtime_checkable

from receiver.providers.json_path import find
from receiver.providers.protocols import Provider, VoicesProvider, require_voices
from receiver.providers.requests import get
from receiver.providers.responses import RequestContext, read_any, unreadable_response
from receiver.providers.types import Account, Invalid, Request, Response, Voice, VoiceList, VoiceQuery
from receiver.providers.voices import parse_voices

_USUAL_ROWS = ((), ("voices",), ("data",), ("data", "voices"), ("items",), ("result",), ("result", "voices"))
"""Where a list of voices usually is in a response."""


@runtime_checkable
class KeyedProvider(Provider, Protocol):
    """A provider that says how its API key is sent."""

    def credentials(self, account: Account) -> dict[str, str]:
        """Return the headers that carry the account's key."""


class VoicesCall(NamedTuple):
    """A request for voices, and what turns its response into them; that raises ProviderError."""

    request: Request
    read: Callable[[Response], list[Voice]]


def find_voices(
    source: str, provider: Provider, account: Account, query: VoiceQuery, configured: VoiceList | None = None
) -> list[Voice] | VoicesCall:
    """Return the documented voices if the provider has no list; otherwise the request to send.

    Args:
        source: its name, for the error.
        configured: where the service lists its voices, if the source says so.

    Raises:
        Invalid: there is no list and none is documented, a filter is not supported, or there is no API key.
    """
    if configured is not None and isinstance(provider, KeyedProvider):
        _require_key(source, provider, account)
        request = get(account, configured.path, provider.credentials(account))
        return VoicesCall(request, partial(_read, RequestContext(provider.name, account), configured, query))
    known_voices = provider.capabilities.known_voices
    if known_voices and query == VoiceQuery() and not isinstance(provider, VoicesProvider):
        return [Voice(id=known) for known in known_voices]
    provider = require_voices(provider)
    _require_key(source, provider, account)
    return VoicesCall(provider.voices_request(account, query), partial(provider.read_voices, account))


def _require_key(source: str, provider: Provider, account: Account) -> None:
    if account.api_key is None:
        raise Invalid(f"{provider.name} lists its voices only with an API key, and the source {source} has no api_key.")


def _read(context: RequestContext, configured: VoiceList, query: VoiceQuery, response: Response) -> list[Voice]:
    """Read the list, and filter it: how the service itself filters is not known."""
    document = read_any(context, response)
    for path in configured.rows or _USUAL_ROWS:
        rows = find(document, path)
        if isinstance(rows, list):
            return [voice for voice in parse_voices(rows) if _matches(voice, query)]
    raise unreadable_response(context, response, "no list of voices in it")


def _matches(voice: Voice, query: VoiceQuery) -> bool:
    wanted = (
        (query.language, voice.language),
        (query.gender, voice.gender),
        (query.model, voice.model),
        (query.provider, voice.details.get("provider")),
    )
    return all(word is None or str(value or "").casefold() == word.casefold() for word, value in wanted)
