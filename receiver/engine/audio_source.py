"""What a fetch of audio needs to know of a source, and how the source is asked for fresh addresses of it.

Temporary addresses expire, and a run may come late: it was retried, or replayed. Where there are no others, the status
of the job is asked for once more, at the source's own pace; its answer has new ones as long as the job is known there.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from receiver.engine.throttle import MAX_WAIT_SECONDS, SourceThrottled, Throttle, pause_for
from receiver.errors import AudioDelayed, AudioError, AudioRefused, NoAudio, UnusableAddress
from receiver.model.event import COMPLETED
from receiver.outbound.addresses import redacted_text
from receiver.outbound.audio import AudioFetcher
from receiver.outbound.download import audio_error
from receiver.providers.base import AudioRequest
from receiver.providers.fields import web_addresses
from receiver.providers.protocols import PollingProvider, Provider
from receiver.providers.types import (
    Account,
    Ended,
    Invalid,
    OutOfCredits,
    ProviderError,
    Response,
    Status,
    Unauthorized,
    UnknownJob,
)

Files = list[list[AudioRequest]]
"""A job's files, and the ways to each."""

RefreshAudioUrls = Callable[[str, str], Awaitable[Mapping[str, Any] | None]]
"""Given a source's name and a job id, gives what a completed job's event would have as its payload now; None if there
is no such job any more. Raises AudioError where that could not be asked."""

_ANY_KEY = "any"
ASK_AGAIN_SECONDS = 30.0
"""How long to wait where the source could not answer, and did not say how long."""


@dataclass(frozen=True, slots=True)
class AudioSource:
    """What a fetch needs to know of a source."""

    provider: Provider
    account: Account
    allow_private: bool

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
                f"The provider names an address of the audio that cannot be used: {redacted_text(named[0], 80)!r}.",
                reason="bad_address",
            )
        return NoAudio("The job completed without audio.")

    def _files(self, api_key: str | None, job_id: str, payload: Mapping[str, Any]) -> Files:
        return self.provider.audio_requests(self.account.base_url, api_key, job_id, payload)

    @property
    def polled(self) -> PollingProvider | None:
        """The provider, if jobs of this source can be polled: it has a status request, and there is an API key."""
        has_key = self.account.api_key is not None
        return self.provider if has_key and isinstance(self.provider, PollingProvider) else None


class AudioUrlRefresher:
    """A `RefreshAudioUrls` that asks the source. On the handlers' loop, with the fetcher's clients."""

    def __init__(
        self,
        fetcher: AudioFetcher,
        sources: Mapping[str, AudioSource],
        throttles: Mapping[str, Throttle],
    ) -> None:
        self._fetcher = fetcher
        self._sources = sources
        self._throttles = throttles

    async def __call__(self, name: str, job_id: str) -> Mapping[str, Any] | None:
        """Ask once.

        Raises:
            AudioDelayed: the source is not to be asked now, or was not able to answer.
            AudioRefused: it refuses our key, or the guard will not connect there.
        """
        source = self._sources.get(name)
        if source is None or (provider := source.polled) is None:
            return None
        throttle = self._throttles[name]
        client = self._fetcher.client(allow_private=source.allow_private)

        def read(response: Response) -> Status:
            return provider.read_status(source.account, job_id, response)

        try:
            request = provider.status_request(source.account, job_id)
            status = await throttle.call(client, request, read, MAX_WAIT_SECONDS)
        except (UnknownJob, Invalid):
            return None
        except UnusableAddress as error:
            raise audio_error(error) from error
        except SourceThrottled as error:
            raise AudioDelayed(
                f"The address of the audio has expired, and the source {name} is not to be asked for another now.",
                after=error.retry_after or 0.0,
                reason="source_paused",
            ) from error
        except ProviderError as error:
            raise await self._refused(throttle, error) from error
        if isinstance(status, Ended) and status.parsed.type == COMPLETED:
            return status.parsed.payload
        return None

    async def _refused(self, throttle: Throttle, error: ProviderError) -> AudioError:
        """What an error means for this audio."""
        message = f"The address of the audio has expired, and there is no fresh one: {error}"
        if isinstance(error, Unauthorized):  # so would polls be
            await throttle.pause_after(error)
        if isinstance(error, Unauthorized | OutOfCredits):
            return AudioRefused(message)
        seconds = pause_for(error, now=0.0)
        return AudioDelayed(message, after=ASK_AGAIN_SECONDS if seconds is None else seconds, reason="not_renewed")
