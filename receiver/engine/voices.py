"""The voices of a source's provider, asked for at the source's own pace.

Apart from the jobs because nothing is stored: the caller waits for the answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from sqlalchemy import Connection

from receiver.engine.clock import Clock, SystemClock
from receiver.engine.jobs.loop import MARGIN
from receiver.outbound.api import ask
from receiver.outbound.client import Client
from receiver.outbound.guard import AddressGuard
from receiver.providers.wire import Invalid, RateLimited, Voice, VoiceQuery
from receiver.settings import Source
from receiver.store import pace
from receiver.store.database import Database

MOST_SECONDS = 10.0
"""How long a caller waits for its turn; then it is asked to come later."""


class VoiceDesk:
    """Asks providers for their voices.

    Args:
        sources: by name.
        client_for: makes a client with the source's guard; one is made for a source when it is first asked.
    """

    def __init__(
        self,
        database: Database,
        sources: Mapping[str, Source],
        client_for: Callable[[Source], Client] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._database = database
        self._sources = sources
        self._client_for = client_for or (lambda source: Client(AddressGuard(source.allow_private_addresses)))
        self._clock = clock or SystemClock()
        self._clients: dict[str, Client] = {}

    async def voices(self, name: str, query: VoiceQuery) -> list[Voice]:
        """The voices that fit; the documented ones where there is no list to ask for.

        Args:
            name: of a configured source.

        Raises:
            Invalid: there is no list, it cannot be asked for without a key, or a filter is not taken.
            ProviderError: the provider's refusal, or a pause that it asked for (`RateLimited`).
            UnusableAddress: the source's address guard will not connect there.
        """
        source = self._sources[name]
        able = source.spoken.capabilities.of(source.account)
        if not able.voices:
            if able.known_voices and query == VoiceQuery():
                return [Voice(id=known) for known in able.known_voices]
            raise Invalid(f"{source.provider} has no list of voices that can be asked for.")
        if source.api_key is None:
            raise Invalid(
                f"The source {name} has no api_key, and {source.provider} tells its voices to customers only."
            )
        request = source.spoken.voices_request(source.account, query)
        await self._take_turn(name, MARGIN / source.poll.requests_per_second)
        if name not in self._clients:
            self._clients[name] = self._client_for(source)
        return source.spoken.read_voices(source.account, await ask(self._clients[name], request))

    async def aclose(self) -> None:
        """Close what was opened."""
        for client in self._clients.values():
            await client.aclose()

    async def _take_turn(self, name: str, gap: float) -> None:
        """Wait for a turn of the source's.

        Raises:
            RateLimited: it is paused, or its turns are taken for too long.
        """
        now = self._clock.now()

        def reserve(connection: Connection) -> tuple[float, bool]:
            state = pace.of(connection, name)
            at = max(now, state.pause_until, state.next_request_at)
            soon = state.pause_until <= now and at - now <= MOST_SECONDS
            return (pace.take_turns(connection, name, 1, now, gap)[0], True) if soon else (at, False)

        at, ours = await self._database.write(reserve)
        if not ours:
            raise RateLimited(f"The source {name} is to be left alone for a while.", retry_after=at - now)
        if at > now:
            await self._clock.wait(asyncio.Event(), at - now)
