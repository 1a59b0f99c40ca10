"""`Idempotency-Key`: the same key and body get the same response, and the job is created once."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .envelope import ApiError, invalid


@dataclass(slots=True)
class _Entry:
    body: str
    response: Mapping[str, Any] | None = None


class IdempotencyStore:
    """The used keys, each with its body and, once known, its response."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}

    def begin(self, key: str, body: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Begin a request with `key`; return the earlier response, or None if this is the key's first request.

        Provider's documentation: the key is a UUID v4; 409 REQUEST_IN_PROGRESS while the first request is running, 409
        IDEMPOTENCY_KEY_REUSE for another body. Raises ApiError.
        """
        _check_uuid4(key)
        canonical = json.dumps(body, sort_keys=True)
        entry = self._entries.get(key)
        if entry is None:
            self._entries[key] = _Entry(canonical)
            return None
        if entry.body != canonical:
            message = "This Idempotency-Key was used with another body."
            raise ApiError(409, "IDEMPOTENCY_KEY_REUSE", message)
        if entry.response is None:
            message = "The first request with this Idempotency-Key is still running."
            raise ApiError(409, "REQUEST_IN_PROGRESS", message)
        return entry.response

    def finish(self, key: str, response: Mapping[str, Any]) -> None:
        """Store the response for `key`."""
        self._entries[key].response = response

    def abandon(self, key: str) -> None:
        """Release `key` if it has no response: the request failed."""
        entry = self._entries.get(key)
        if entry is not None and entry.response is None:
            del self._entries[key]


def _check_uuid4(key: str) -> None:
    try:
        version = uuid.UUID(key).version
    except ValueError:
        version = None
    if version != 4:
        message = "Idempotency-Key must be a UUID v4"
        raise invalid(message)
