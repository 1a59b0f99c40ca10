"""The URLs of a completed job's audio: their form in the payload of its event, and the requests for them.

`audio_url` is the first file's URL, `audio_urls` has the URLs of all files where there are several, and
`audio_url_alternatives` has other URLs of the first file, for services that name more than one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urljoin

from receiver.providers.base import AudioRequest, origin_of
from receiver.providers.fields import web_addresses
from receiver.providers.types import Account

MAX_ALTERNATIVES = 4
"""Alternative URLs of one file that are kept and tried."""


class AudioUrls:
    """Base class of providers whose payload has temporary audio URLs, in the form of `audio_payload`."""

    def audio_requests(
        self, base_url: str, api_key: str | None, job_id: str, payload: Mapping[str, Any]
    ) -> list[list[AudioRequest]]:
        """Return a request for each URL of each file.

        The key is sent only to URLs at the service's own origin, after a request without it was refused.
        """
        credentials = self.credentials(Account(base_url, api_key))
        return [
            [temporary_request(url, base_url, credentials) for url in urls] for urls in file_urls(payload, base_url)
        ]

    def credentials(self, account: Account) -> dict[str, str]:
        """Return the headers that carry the account's key; none for a service that does not document them."""
        return {}


def audio_payload(urls: Iterable[str], alternatives: Iterable[str] = ()) -> dict[str, Any]:
    """Return the fields of the payload.

    Args:
        urls: one for each file.
        alternatives: other URLs of the first file; ignored if there are several files, as it is unknown to which they
            belong.
    """
    fields: dict[str, Any] = {}
    files = list(urls)
    others = [url for url in alternatives if url not in files][:MAX_ALTERNATIVES]
    if files:
        fields["audio_url"] = files[0]
    if len(files) > 1:
        fields["audio_urls"] = files
    elif others:
        fields["audio_url_alternatives"] = others
    return fields


def file_urls(payload: Mapping[str, Any], base_url: str) -> list[list[str]]:
    """Return the usable URLs of each file, best first; a path is resolved against the service's address.

    Each URL in `audio_urls` is a file of its own, not an alternative for the first.
    """
    first = web_addresses(payload.get("audio_url"))[:1]
    files = [[text] for text in web_addresses(first, payload.get("audio_urls"))]
    if first:
        others = web_addresses(payload.get("audio_url_alternatives"))[:MAX_ALTERNATIVES]
        files[0] = list(dict.fromkeys([*first, *others]))
    usable = ([url for text in urls if (url := absolute_url(text, base_url)) is not None] for urls in files)
    return [urls for urls in usable if urls]


def absolute_url(text: str, base_url: str) -> str | None:
    """Return a URL in its absolute form, a path with the service's origin; None if it is not usable."""
    try:
        url = urljoin(base_url, text) if text.startswith("/") else text
    except ValueError:
        return None
    return url if origin_of(url) is not None else None


def temporary_request(url: str, base_url: str, credentials: Mapping[str, str]) -> AudioRequest:
    """Return a request for a temporary URL. At the service's own origin a refused request is repeated with the key."""
    return AudioRequest(url, {}, durable=False, headers_if_refused=credentials if is_own_origin(url, base_url) else {})


def is_own_origin(url: str, base_url: str) -> bool:
    """Return whether a URL is at the service's own origin. The key must not be sent to any other."""
    home = origin_of(base_url)
    return home is not None and origin_of(url) == home
