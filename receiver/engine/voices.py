"""Lists the voices of a source's provider, through the source's throttle.

Separate from the jobs, because nothing is stored: the caller waits for the response.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from receiver.engine.provider_calls import call_provider
from receiver.engine.throttle import Throttle
from receiver.model.rate_plan import RequestKind
from receiver.outbound.client import Client
from receiver.providers.types import Voice, VoiceQuery
from receiver.providers.voice_list import VoicesCall, find_voices
from receiver.settings import Source

MAX_WAIT_SECONDS = 10.0
"""How long a caller waits for a free time; if that is later, it is refused."""


class VoiceService:
    """Requests voices from providers.

    Args:
        sources: by name.
        throttles: by the source's name; its other requests use the same.
        new_client: takes a source; its guard is the source's.
    """

    def __init__(
        self,
        sources: Mapping[str, Source],
        throttles: Mapping[str, Throttle],
        new_client: Callable[[Source], Client],
    ) -> None:
        self._sources = sources
        self._throttles = throttles
        self._new_client = new_client
        self._clients: dict[str, Client] = {}

    async def voices(self, name: str, query: VoiceQuery) -> list[Voice]:
        """Return the voices that match; the documented ones if the provider has no list.

        Args:
            name: of a configured source.

        Raises:
            Invalid: as `find_voices`.
            SourceThrottled: the source is paused, or its next free time is too far ahead.
            ProviderError: the provider's refusal.
            UnusableAddress: the source's address guard will not connect there.
        """
        source = self._sources[name]
        found = call_provider(find_voices, name, source.provider, source.account, query, source.voice_list)
        if not isinstance(found, VoicesCall):
            return found
        if name not in self._clients:  # created on the source's first use
            self._clients[name] = self._new_client(source)
        throttle, client = self._throttles[name], self._clients[name]
        return await throttle.call(RequestKind.VOICES, client, found.request, found.read, MAX_WAIT_SECONDS)

    async def aclose(self) -> None:
        """Close all clients."""
        for client in self._clients.values():
            await client.aclose()
