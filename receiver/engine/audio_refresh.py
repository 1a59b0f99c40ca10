"""Requests fresh addresses of a job's audio.

Temporary addresses may have expired when a run is retried or replayed. If a job has no durable address, its status is
requested once more, through the source's throttle. The response has new ones as long as the provider knows the job.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

import structlog

from receiver.engine.audio_source import AudioSource, Files
from receiver.engine.provider_calls import call_provider
from receiver.engine.throttle import MAX_WAIT_SECONDS, SourceThrottled, Throttle, pause_for
from receiver.errors import AudioDelayed, AudioError, AudioRefused, UnusableAddress
from receiver.model.event import COMPLETED, JobCompleted
from receiver.model.rate_plan import RequestKind
from receiver.outbound.audio import AudioFetcher
from receiver.outbound.download import audio_error
from receiver.providers.types import (
    Ended,
    Invalid,
    OutOfCredits,
    ProviderError,
    Unauthorized,
    UnknownJob,
)

log = structlog.get_logger("receiver.audio")

RefreshAudioUrls = Callable[[str, str], Awaitable[Mapping[str, Any] | None]]
"""Takes a source's name and a job id; returns the payload that the completed job's event would have now, or None if the
provider no longer knows the job. Raises AudioError if the request failed."""

RETRY_SECONDS = 30.0
"""How long to wait after a failed request if the source does not say."""


class FreshAddresses:
    """Fresh addresses of an event's files, requested once for all files that need them.

    Args:
        count: of the event's files.

    Attributes:
        files: the requests with fresh addresses; None until a request has succeeded.
    """

    def __init__(self, request: RefreshAudioUrls, source: AudioSource, event: JobCompleted, count: int) -> None:
        self.files: Files | None = None
        self._request = request
        self._source = source
        self._event = event
        self._count = count
        self._task: asyncio.Task[None] | None = None
        """The running or failed request; a successful one sets `files` and is removed."""

    async def newer_than(self, known: Files | None) -> Files | None:
        """Return other files than the `known` ones; None if the provider has none.

        Raises:
            AudioError: the request failed.
        """
        if self.files is known:
            if self._task is None:
                self._task = asyncio.create_task(self._refresh())
                self._task.add_done_callback(lambda task: task.cancelled() or task.exception())
            await asyncio.shield(self._task)
        return None if self.files is known else self.files

    def cancel(self) -> None:
        """Cancel the request that is running."""
        if self._task is not None:
            self._task.cancel()

    async def _refresh(self) -> None:
        event = self._event
        payload = await self._request(event.source, event.job_id)
        fresh = [] if payload is None else self._source.files(event.job_id, payload)
        if len(fresh) == self._count:  # with another number of files it is unknown which is which
            self.files, self._task = fresh, None
            log.info("audio.addresses_refreshed", source=event.source, event_id=event.id, job=event.job_id)


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

        read = partial(provider.read_status, source.account, job_id)
        try:
            request = call_provider(provider.status_request, source.account, job_id)
            status = await throttle.call(RequestKind.STATUS, client, request, read, MAX_WAIT_SECONDS)
        except (UnknownJob, Invalid):
            return None
        except UnusableAddress as error:
            raise audio_error(error) from error
        except SourceThrottled as error:
            raise AudioDelayed(
                f"The address of the audio has expired, and a fresh one is requested later. {error}",
                after=error.retry_after or 0.0,
                reason=error.reason,
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
            await throttle.pause_after(RequestKind.STATUS, error)
        if isinstance(error, Unauthorized | OutOfCredits):
            return AudioRefused(message)
        seconds = pause_for(error, now=0.0)
        return AudioDelayed(message, after=RETRY_SECONDS if seconds is None else seconds, reason="url_refresh_failed")
