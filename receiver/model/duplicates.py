"""Whether two copies of one event contradict each other about its job.

Separate from the store, which asks only once it has found a copy: how honest copies differ depends on the wire.
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
"""Fields that differ between honest copies of one event: signed addresses, times of sending."""


def contradicts(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two payloads of one event contradict each other about its job, by their mapped fields.

    A field that only one of them has is no contradiction, nor is one that honest copies differ in.
    """
    return any(_mapped_differ(one[name], other[name]) for name in one.keys() & other.keys() - VOLATILE)


def bodies_contradict(one: bytes, other: bytes) -> bool:
    """Whether two bodies of one event and one origin contradict each other, by every field that both have.

    At any depth, except volatile fields and the queries of addresses, which may
    be signatures. A body that is no JSON object says nothing.
    """
    return one != other and _differ(document_of(one), document_of(other))


def _mapped_differ(one: Any, other: Any) -> bool:
    """Of two objects the fields that both have are compared: an error may come with its code, or as its words alone."""
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
    """Whether both are addresses that differ in their query at most."""
    if not (isinstance(one, str) and isinstance(other, str) and one.startswith(("https://", "http://"))):
        return False
    try:
        return urlsplit(one)[:3] == urlsplit(other)[:3]
    except ValueError:
        return False
