"""The data of a source for fetching audio: which requests may return the files of a job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from receiver.errors import AudioError, AudioRefused, NoAudio
from receiver.outbound.addresses import redacted_text
from receiver.providers.base import AudioRequest
from receiver.providers.fields import web_addresses
from receiver.providers.protocols import PollingProvider, Provider
from receiver.providers.types import (
    Account,
)

Files = list[list[AudioRequest]]
"""A job's files; for each the requests that may return it, best first."""

_EXAMPLE_KEY = "any"


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
