"""Limits on a listener's resources for strangers: bytes, connections, seconds."""

from __future__ import annotations

from dataclasses import dataclass

MAX_TARGET_BYTES = 32 * 1024
"""The longest request target; a longer one is answered 414."""
MAX_HEAD_BYTES = 64 * 1024
"""The longest request head, and the most that sizes, extensions and trailer of a chunked body may take, besides the
share below; more is answered 431."""
MAX_FRAMING_SHARE = 0.25
"""How many bytes more they may take for each byte of the body: a chunk costs the same work whatever it holds."""
MAX_HEADERS = 128
"""Header lines of a request; more are answered 431."""
MAX_BODY_AHEAD = 64 * 1024
"""Body bytes kept for an application that is not reading them; then the connection is not read from."""
MAX_UNFINISHED_BYTES = 8 * 1024 * 1024
"""Unfinished heads of all connections of a listener together."""
MAX_HELD_BYTES = 8 * 1024 * 1024
"""Requests sent ahead of their answers, likewise."""
MAX_DRAIN_BYTES = 64 * 1024 * 1024
"""Bytes read and discarded after an early refusal, so that its sender can read the answer."""
DRAIN_SECONDS = 15.0
"""How long a connection that is to be closed may take: for its sender to end, and to read the answer."""

LINGER_SECONDS = 1.0
"""How long a listener that stops leaves idle connections open for their next request, and then waits for the first
request of those that it has just accepted."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits that differ between listeners.

    Attributes:
        connections: how many may be open at once.
        head_seconds: from a connection's start, or from a request's first byte, to the end of the request's head.
        idle_seconds: how long a connection may be without a request, and an answer without a reader.
    """

    connections: int
    head_seconds: float
    idle_seconds: float
