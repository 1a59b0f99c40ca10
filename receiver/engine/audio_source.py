"""The data of a source for fetching audio, and the request for fresh addresses.

Temporary addresses may have expired when a run is retried or replayed. If a job has no durable address, its status is
requested once more, through the source's throttle. The response has new ones as long as the provider knows the job.
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
"""A job's files; for each the requests that may return it, best first."""

RefreshAudioUrls = Callable[[str, str], Awaitable[Mapping[str, Any] | None]]
"""Takes a source's name and a job id; returns the payload that the completed job's event would have now, or None if the
provider no longer knows the job. Raises AudioError if the request failed."""

_EXAMPLE_KEY = "any"
RETRY_SECONDS = 30.0
"""How long to wait after a failed request if the source does not say."""


@dataclass(frozen=True, slots=True)
class AudioSource:
    """A source's data for fetching audio."""

    provider: Provider
    account: Account
    allow_private: bool

    def files(self, job_id: str, payload: Mapping[str, Any]) -> Files:
        """Return the files of a completed job; empty if none can be requested."""
        return self._files(self.account.api_key, job_id, payload)

    def lacks_key(self, job_id: str, payload: Mapping[str, Any]) -> bool:
        """Whether a job without files would have some if the source had an API key."""
        return self.account.api_key is None and bool(self._files(_EXAMPLE_KEY, job_id, payload))

    def why_no_files(self, name: str, job_id: str, payload: Mapping[str, Any]) -> AudioError:
        """Return the error of a completed job without files.

        Args:
            name: the source's.
        """
        if self.lacks_key(job_id, payload):
            return AudioRefused(
                f"The audio cannot be fetched: the source {name} has no api_key, and the event has no audio_url.",
                reason="no_api_key",
            )
        if named := web_addresses(payload.get("audio_url")):
            return AudioRefused(
                f"The provider's address of the audio cannot be used: {redacted_text(named[0], 80)!r}.",
                reason="bad_address",
            )
        return NoAudio("The job completed without audio.")

    def _files(self, api_key: str | None, job_id: str, payload: Mapping[str, Any]) -> Files:
        return self.provider.audio_requests(self.account.base_url, api_key, job_id, payload)

    @property
    def polling_provider(self) -> PollingProvider | None:
        """The provider, if jobs of this source can be polled: it supports polling, and there is an API key."""
        has_key = self.account.api_key is not None
        return self.provider if has_key and isinstance(self.provider, PollingProvider) else None


class AudioUrlRefresher:
    """A `RefreshAudioUrls` that requests the job's status. For the handlers' loop; it uses the fetcher's clients."""

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
        """Request the job's status once.

        Raises:
            AudioDelayed: the source is paused or busy, or the request failed.
            AudioRefused: the source refuses the API key, or the address guard refuses its address.
        """
        source = self._sources.get(name)
        if source is None or (provider := source.polling_provider) is None:
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
                "The address of the audio has expired. A fresh one is requested later: "
                f"the source {name} is paused, or its requests_per_second are used up.",
                after=error.retry_after or 0.0,
                reason="source_paused",
            ) from error
        except ProviderError as error:
            raise await self._refresh_error(throttle, error) from error
        if isinstance(status, Ended) and status.parsed.type == COMPLETED:
            return status.parsed.payload
        return None

    async def _refresh_error(self, throttle: Throttle, error: ProviderError) -> AudioError:
        """Return the error of this audio for an error of the status request."""
        message = f"The address of the audio has expired, and requesting a fresh one failed: {error}"
        if isinstance(error, Unauthorized):  # polls would be refused, too
            await throttle.pause_after(error)
        if isinstance(error, Unauthorized | OutOfCredits):
            return AudioRefused(message)
        seconds = pause_for(error, now=0.0)
        return AudioDelayed(message, after=RETRY_SECONDS if seconds is None else seconds, reason="not_renewed")
