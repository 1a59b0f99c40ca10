"""What the providers that send no webhooks have in common: nothing to parse on delivery, and temporary audio addresses.

Apart from the provider modules so that each of them holds its service's words and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from receiver.errors import MalformedDelivery
from receiver.model.delivery import Headers, Parsed
from receiver.model.event import COMPLETED, FAILED
from receiver.providers.base import AudioRequest, origin_of
from receiver.providers.defaults import ProviderDefaults
from receiver.providers.fields import Trouble, web_addresses
from receiver.providers.wire import Account, Ended

MAX_ALTERNATIVES = 4
"""Further addresses of one file that are kept and tried."""


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

    def sample_body(self, event: str, job_id: str, created_at: str) -> dict[str, Any]:
        """Refuse.

        Raises:
            ValueError: always.
        """
        raise ValueError(f"{self.name} sends no webhooks: there is no delivery to make.")

    def audio_requests(
        self, base_url: str, api_key: str | None, job_id: str, payload: Mapping[str, Any]
    ) -> list[list[AudioRequest]]:
        """Each file's temporary address, then the first file's others. The key is for those at home that refuse us.

        Of several outputs each is a file: another one of `audio_urls` is no second way to the same audio.
        """
        first = web_addresses(payload.get("audio_url"))[:1]
        others = web_addresses(payload.get("audio_url_alternatives"))[:MAX_ALTERNATIVES]
        files = [[url] for url in web_addresses(first, payload.get("audio_urls"))]
        if first:
            files[0] = list(dict.fromkeys([*first, *others]))
        home, key = origin_of(base_url), self.credentials(Account(base_url, api_key))
        return [
            [
                AudioRequest(url, {}, durable=False, headers_if_refused=key if origin_of(url) == home else {})
                for url in ways
            ]
            for ways in files
        ]

    def credentials(self, account: Account) -> dict[str, str]:
        """The headers that show the account's key; none for a service that does not say how."""
        return {}


def completed(job_id: str, addresses: Iterable[str], alternatives: Iterable[str] = ()) -> Ended:
    """A job that ended well.

    Args:
        addresses: of its files. `audio_url` is the first one; `audio_urls` has all where there are several.
        alternatives: other addresses of the first file, as `audio_url_alternatives`.
    """
    payload: dict[str, Any] = {"status": "completed"}
    urls, others = list(addresses), list(alternatives)[:MAX_ALTERNATIVES]
    if urls:
        payload["audio_url"] = urls[0]
    if len(urls) > 1:
        payload["audio_urls"] = urls
    if others:
        payload["audio_url_alternatives"] = others
    return Ended(Parsed(COMPLETED, job_id, payload))


def failed(job_id: str, trouble: Trouble) -> Ended:
    """A job that ended without audio."""
    return Ended(Parsed(FAILED, job_id, {"status": "failed", "error": trouble._asdict()}))
