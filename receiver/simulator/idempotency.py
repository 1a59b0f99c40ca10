"""`Idempotency-Key`: the same key and body get the same answer, and the work is done once."""

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
    answer: Mapping[str, Any] | None = None


class IdempotencyStore:
    """Keys seen, each with its body and, once there is one, its answer."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}

    def begin(self, key: str, body: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Start the work for `key`: None to go on, or the answer that was given before.

        Provider's documentation: the key is a UUID v4; 409 REQUEST_IN_PROGRESS while the first is
        running, 409 IDEMPOTENCY_KEY_REUSE for another body. Raises ApiError.
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
        if entry.answer is None:
            message = "The first request with this Idempotency-Key is still running."
            raise ApiError(409, "REQUEST_IN_PROGRESS", message)
        return entry.answer

    def finish(self, key: str, answer: Mapping[str, Any]) -> None:
        """Keep the answer for `key`."""
        self._entries[key].answer = answer

    def abandon(self, key: str) -> None:
        """The work failed: the key is free again."""
        entry = self._entries.get(key)
        if entry is not None and entry.answer is None:
            del self._entries[key]


def _check_uuid4(key: str) -> None:
    try:
        version = uuid.UUID(key).version
    except ValueError:
        version = None
    if version != 4:
        message = "Idempotency-Key must be a UUID v4"
        raise invalid(message)
