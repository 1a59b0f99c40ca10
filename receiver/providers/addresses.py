"""The addresses of a completed job's audio in its event's payload: written and read back.

`audio_url` is the first file's address, `audio_urls` has all files' where there are several, and
`audio_url_alternatives` has other addresses of the first file, for services that name it in more than one way.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urljoin

from receiver.providers.base import AudioRequest, origin_of
from receiver.providers.fields import web_addresses

MAX_ALTERNATIVES = 4
"""Further addresses of one file that are kept and tried."""


def audio_fields(addresses: Iterable[str], alternatives: Iterable[str] = ()) -> dict[str, Any]:
    """The payload's fields.

    Args:
        addresses: one of each file.
        alternatives: others of the first file; ignored with several files, since it is unknown to which they belong.
    """
    fields: dict[str, Any] = {}
    urls = list(addresses)
    others = [url for url in alternatives if url not in urls][:MAX_ALTERNATIVES]
    if urls:
        fields["audio_url"] = urls[0]
    if len(urls) > 1:
        fields["audio_urls"] = urls
    elif others:
        fields["audio_url_alternatives"] = others
    return fields


def files_of(payload: Mapping[str, Any], base_url: str) -> list[list[str]]:
    """The usable addresses of each file, best first; a path is one at the service.

    Each of several outputs is a file, not an alternative for the first.
    """
    first = web_addresses(payload.get("audio_url"))[:1]
    files = [[text] for text in web_addresses(first, payload.get("audio_urls"))]
    if first:
        others = web_addresses(payload.get("audio_url_alternatives"))[:MAX_ALTERNATIVES]
        files[0] = list(dict.fromkeys([*first, *others]))
    usable = ([url for text in ways if (url := absolute(text, base_url)) is not None] for ways in files)
    return [ways for ways in usable if ways]


def absolute(text: str, base_url: str) -> str | None:
    """An address in its absolute form, with the service's origin before a path; None if it is not usable."""
    try:
        url = urljoin(base_url, text) if text.startswith("/") else text
    except ValueError:
        return None
    return url if origin_of(url) is not None else None


def temporary(url: str, base_url: str, key: Mapping[str, str]) -> AudioRequest:
    """A request for a temporary address. At the service's own origin it is repeated with the key after a refusal."""
    return AudioRequest(url, {}, durable=False, headers_if_refused=key if is_at_home(url, base_url) else {})


def is_at_home(url: str, base_url: str) -> bool:
    """Whether an address is at the service's own origin: only such an address may get its key."""
    home = origin_of(base_url)
    return home is not None and origin_of(url) == home
