"""What the providers that send no webhooks have in common: nothing to parse on delivery, and temporary audio addresses.

Apart from the provider modules so that each of them holds its service's words and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from receiver.errors import MalformedDelivery
from receiver.model.delivery import Headers, Parsed
from receiver.model.event import COMPLETED, FAILED
from receiver.providers.addresses import audio_fields, files_of, temporary
from receiver.providers.base import AudioRequest
from receiver.providers.defaults import ProviderDefaults
from receiver.providers.fields import Trouble
from receiver.providers.wire import Account, Ended


class PollOnly(ProviderDefaults):
    """Base of the providers whose jobs are only heard of by asking."""

    base_url: str
    scheme: str | None = None
    kept_headers: tuple[str, ...] = ()
    retry_window_seconds = 0.0

    def parse_delivery(self, headers: Headers, body: bytes) -> Parsed:
        """Refuse: no delivery can be this provider's.

        Raises:
            MalformedDelivery: always.
        """
        raise MalformedDelivery(f"{self.name} sends no webhooks; its jobs are polled.")

    def delivery_headers(self, event: str, delivery_id: str) -> list[tuple[str, str]]:
        """Refuse.

        Raises:
            ValueError: always.
        """
        raise ValueError(f"{self.name} sends no webhooks: there is no delivery to make.")

    def sample_body(
        self, event: str, job_id: str, created_at: str, metadata: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Refuse.

        Raises:
            ValueError: always.
        """
        raise ValueError(f"{self.name} sends no webhooks: there is no delivery to make.")

    def audio_requests(
        self, base_url: str, api_key: str | None, job_id: str, payload: Mapping[str, Any]
    ) -> list[list[AudioRequest]]:
        """Each file's temporary addresses. The key is for those at the own origin that refuse a request without it."""
        key = self.credentials(Account(base_url, api_key))
        return [[temporary(url, base_url, key) for url in ways] for ways in files_of(payload, base_url)]

    def credentials(self, account: Account) -> dict[str, str]:
        """The headers that carry the account's key; none for a service that does not document them."""
        return {}


def completed(job_id: str, addresses: Iterable[str], alternatives: Iterable[str] = ()) -> Ended:
    """A job that ended well.

    Args:
        addresses, alternatives: as for `addresses.audio_fields`.
    """
    payload = {"status": "completed"} | audio_fields(addresses, alternatives)
    return Ended(Parsed(COMPLETED, job_id, payload))


def failed(job_id: str, trouble: Trouble) -> Ended:
    """A job that ended without audio."""
    return Ended(Parsed(FAILED, job_id, {"status": "failed", "error": trouble._asdict()}))
