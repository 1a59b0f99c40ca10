"""Detects duplicates that contradict each other: deliveries of one event that say different things about its job.

Separate from the store, because how authentic duplicates may differ depends on the providers' formats.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from receiver.model.json_body import document_of

VOLATILE = frozenset(
    {  # from the services' documentation
        *("audio_url", "audio_urls", "audio_url_expires_at", "created_at"),  # our mapped fields; aitts, audixa
        *("url", "urls"),  # audixa, finevoice
        *("audioUrl", "audio_link", "download_signed_url", "createdAt", "updatedAt"),  # miragic
        *("timestamp", "event_timestamp"),  # Standard Webhooks, ElevenLabs
    }
)
"""Fields that may differ between duplicates: signed addresses, times of sending."""


def contradicts(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether the mapped fields of two payloads of one event contradict each other.

    A field that only one of them has is no contradiction, and volatile fields are not compared.
    """
    return any(_mapped_differ(one[name], other[name]) for name in one.keys() & other.keys() - VOLATILE)


def bodies_contradict(one: bytes, other: bytes) -> bool:
    """Whether two bodies of one event and one origin contradict each other in a field that both have, at any depth.

    Volatile fields are not compared, nor are the queries of addresses, which may be signatures. A body that is not a
    JSON object contradicts nothing.
    """
    return one != other and _differ(document_of(one), document_of(other))


def _mapped_differ(one: Any, other: Any) -> bool:
    """Compare the fields that both objects have: an error may have a code, or only a message."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return any(one[name] != other[name] for name in one.keys() & other.keys() if one[name] and other[name])
    return bool(one != other)


def _differ(one: Any, other: Any) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return any(_differ(one[name], other[name]) for name in one.keys() & other.keys() - VOLATILE)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) != len(other) or any(map(_differ, one, other))
    return bool(one != other) and not _same_address(one, other)


def _same_address(one: Any, other: Any) -> bool:
    """Whether both are addresses that are the same but for their queries."""
    if not (isinstance(one, str) and isinstance(other, str) and one.startswith(("https://", "http://"))):
        return False
    try:
        return urlsplit(one)[:3] == urlsplit(other)[:3]
    except ValueError:
        return False
