"""Trace ids of attempts, and the header that passes one on (W3C Trace Context, docs/adr/0114)."""

from __future__ import annotations

import hashlib


def trace_id(event_id: str, handler: str, attempt: int) -> str:
    """The id of the trace in which an attempt sends its requests: 32 hex digits, the same whenever it is asked for.

    Args:
        attempt: its number, which no other attempt of this handler at this event has.
    """
    return _digest(event_id, handler, attempt)[:32]


def traceparent(event_id: str, handler: str, attempt: int) -> str:
    """The header of a request that an attempt sends: its trace, the attempt as the parent, and that it is sampled."""
    digest = _digest(event_id, handler, attempt)
    return f"00-{digest[:32]}-{digest[32:48]}-01"


def _digest(event_id: str, handler: str, attempt: int) -> str:
    return hashlib.sha256(f"{event_id}:{handler}:{attempt}".encode()).hexdigest()
