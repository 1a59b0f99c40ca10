"""File descriptors: enough for the listeners, and some reserved for our own work."""

from __future__ import annotations

import resource
from typing import NamedTuple

import structlog

log = structlog.get_logger("receiver.listener")

RESERVED = 256
"""Reserved for the store, audio files, and connections to providers and storages."""
OPEN_AT_START = 48
"""Open before the first connection, with a margin: the store, logs, event loops."""
PRIVATE_CONNECTIONS = 128
"""Connections of the private listener."""


class ConnectionLimits(NamedTuple):
    """How many connections each listener may have open at once."""

    public: int
    private: int


def allocate_descriptors(wanted: int) -> ConnectionLimits:
    """Divide the process's file descriptors, raising their limit as far as needed and allowed.

    Args:
        wanted: connections of the public listener.

    Returns:
        As many as wanted, or as many as the system's limit leaves beside our own work.
    """
    needed = wanted + PRIVATE_CONNECTIONS + RESERVED
    limit = _raised(needed)
    if limit >= needed:
        return ConnectionLimits(wanted, PRIVATE_CONNECTIONS)
    limits = divide(limit)
    log.warning(
        "connections.limit_lowered",
        limit=limit,
        public=limits.public,
        wanted=wanted,
        hint=f"raise the limit of open files to {needed} (ulimit -n, LimitNOFILE=), or lower server.max_connections",
    )
    return limits


def divide(limit: int) -> ConnectionLimits:
    """The connections of each listener under a limit that is too low for all of them."""
    own = max(min(RESERVED, limit // 4), OPEN_AT_START)
    private = min(PRIVATE_CONNECTIONS, max(0, limit - own) // 4)
    return ConnectionLimits(max(1, limit - own - private), max(1, private))


def _raised(needed: int) -> int:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return needed
    allowed = needed if hard == resource.RLIM_INFINITY else min(hard, needed)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    except (OSError, ValueError) as error:
        log.warning("connections.limit_not_raised", error=str(error))
        return soft
    return allowed
