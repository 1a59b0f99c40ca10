"""What a fetch of audio needs to know of a source, and how the source is asked for fresh addresses of it.

Temporary addresses expire, and a run may come late: it was retried, or replayed. Where there are no others, the status
of the job is asked for once more, at the source's own pace; its answer has new ones as long as the job is known there.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from receiver.engine.jobs.source import pause_for, pause_source
from receiver.errors import AudioDelayed, AudioError, AudioRefused, NoAudio, UnusableAddress
from receiver.model.event import COMPLETED
from receiver.outbound.addresses import shown
from receiver.outbound.api import ask
from receiver.outbound.audio import AudioFetcher
from receiver.outbound.download import audio_error
from receiver.providers.base import AudioRequest, Provider
from receiver.providers.fields import web_addresses
from receiver.providers.wire import Account, Ended, Invalid, OutOfCredits, ProviderError, Unauthorized, UnknownJob
from receiver.store import pace
from receiver.store.database import Database

Files = list[list[AudioRequest]]
"""A job's files, and the ways to each."""

Renew = Callable[[str, str], Awaitable[Mapping[str, Any] | None]]
"""Given a source's name and a job id, gives what a completed job's event would have as its payload now; None if there
is no such job any more. Raises AudioError where that could not be asked."""

_ANY_KEY = "any"
ASK_AGAIN_SECONDS = 30.0
"""How long to wait where the source could not answer, and did not say how long."""


@dataclass(frozen=True, slots=True)
class AudioSource:
    """What a fetch needs to know of a source. `requests_per_second` is the pace of its API."""

    provider: Provider
    account: Account
    allow_private: bool
    requests_per_second: float = 1.0

    def files(self, job_id: str, payload: Mapping[str, Any]) -> Files:
        """The files of a completed job; empty if there is no way to any."""
        return self._files(self.account.api_key, job_id, payload)

    def lacks_key(self, job_id: str, payload: Mapping[str, Any]) -> bool:
        """Whether a job without files would have some if only the source had an API key."""
        return self.account.api_key is None and bool(self._files(_ANY_KEY, job_id, payload))

    def why_no_files(self, name: str, job_id: str, payload: Mapping[str, Any]) -> AudioError:
        """The error of a completed job without files.

        Args:
            name: the source's.
        """
        if self.lacks_key(job_id, payload):
            return AudioRefused(
                f"There is no way to fetch: the source {name} has no api_key, and the event no audio_url.",
                reason="no_api_key",
            )
        if named := web_addresses(payload.get("audio_url")):
            return AudioRefused(
                f"The provider names an address of the audio that cannot be used: {shown(named[0], 80)!r}.",
                reason="bad_address",
            )
        return NoAudio("The job completed without audio.")

    def _files(self, api_key: str | None, job_id: str, payload: Mapping[str, Any]) -> Files:
        return self.provider.audio_requests(self.account.base_url, api_key, job_id, payload)

    @property
    def can_be_asked(self) -> bool:
        """Whether a job's status can be asked for: the provider has a way, and we have a key."""
        return self.provider.capabilities.of(self.account).polling and self.account.api_key is not None


class Renewal:
    """A `Renew` that asks the source. On the handlers' loop, with the fetcher's clients."""

    def __init__(
        self,
        database: Database,
        fetcher: AudioFetcher,
        sources: Mapping[str, AudioSource],
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._database = database
        self._fetcher = fetcher
        self._sources = sources
        self._now = now
        self._sleep = sleep

    async def __call__(self, name: str, job_id: str) -> Mapping[str, Any] | None:
        """Ask once.

        Raises:
            AudioDelayed: the source is not to be asked now, or was not able to answer.
            AudioRefused: it refuses our key, or the guard will not connect there.
        """
        source = self._sources.get(name)
        if source is None or not source.can_be_asked:
            return None
        await self._turn(name, source)
        client = self._fetcher.client(allow_private=source.allow_private)
        try:
            response = await ask(client, source.provider.status_request(source.account, job_id))
            status = source.provider.read_status(source.account, job_id, response)
        except (UnknownJob, Invalid):
            return None
        except UnusableAddress as error:
            raise audio_error(error) from error
        except ProviderError as error:
            raise await self._refused(name, error) from error
        if isinstance(status, Ended) and status.parsed.type == COMPLETED:
            return status.parsed.payload
        return None

    async def _turn(self, name: str, source: AudioSource) -> None:
        """Wait for the source's next turn: all requests to it, of all processes, keep one pace."""

        def take(connection: Connection) -> tuple[float, bool]:
            now, paused_until = self._now(), pace.of(connection, name).pause_until
            if paused_until > now:
                return paused_until, True
            (at,) = pace.take_turns(connection, name, 1, now, 1.0 / source.requests_per_second)
            return at, False

        at, paused = await self._database.write(take)
        wait = max(0.0, at - self._now())
        if paused:
            raise AudioDelayed(
                f"The address of the audio has expired, and the source {name} is not to be asked for another now.",
                after=wait,
                reason="source_paused",
            )
        if wait:
            await self._sleep(wait)

    async def _refused(self, name: str, error: ProviderError) -> AudioError:
        """What an error means for this audio; what it means for the whole source is stored."""
        now = self._now()
        until = pause_for(error, now)
        if until is not None:
            await self._database.write(pause_source, name, until, error.reason, now)
        message = f"The address of the audio has expired, and there is no fresh one: {error}"
        if isinstance(error, Unauthorized | OutOfCredits):
            return AudioRefused(message)
        return AudioDelayed(message, after=ASK_AGAIN_SECONDS if until is None else until - now, reason="not_renewed")
