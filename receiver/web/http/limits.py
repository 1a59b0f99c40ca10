"""Limits on what unauthenticated clients may use of a listener: bytes, connections, seconds."""

from __future__ import annotations

from dataclasses import dataclass

MAX_TARGET_BYTES = 32 * 1024
"""The longest request target; a longer one is answered 414."""
MAX_HEAD_BYTES = 64 * 1024
"""The longest request head. Also the most bytes that sizes, extensions and trailer of a chunked body may take, besides
the share below. More is answered 431."""
MAX_FRAMING_SHARE = 0.25
"""How many more bytes they may take for each byte of the body: a chunk costs the same work whatever its size."""
MAX_HEADERS = 128
"""Header lines of a request; more are answered 431."""
MAX_BODY_BUFFER = 64 * 1024
"""Body bytes buffered for an application that does not read them; beyond it the connection is not read from."""
MAX_PARTIAL_BYTES = 8 * 1024 * 1024
"""Partial heads of all connections of a listener together."""
MAX_PIPELINED_BYTES = 8 * 1024 * 1024
"""Pipelined requests, likewise."""
MAX_DRAIN_BYTES = 64 * 1024 * 1024
"""Bytes read and discarded after an early refusal, so that its sender can read the answer."""
DRAIN_SECONDS = 15.0
"""How long a connection that is being closed may take: for its sender to end, and to read the answer."""

LINGER_SECONDS = 1.0
"""How long a listener that stops leaves idle connections open for their next request, and then waits for the first
request of the connections that it has just accepted."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits that differ between listeners.

    Attributes:
        connections: how many may be open at once.
        head_seconds: from a connection's start, or from a request's first byte, to the end of the request's head.
        idle_seconds: how long a connection may be without a request, and how long a sender may not read its answer.
    """

    connections: int
    head_seconds: float
    idle_seconds: float
