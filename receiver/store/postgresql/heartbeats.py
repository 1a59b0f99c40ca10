"""Processes that share a PostgreSQL store behind a pooler: they see each other by heartbeats, as no session is theirs.

A heartbeat is compared only with the one before, never with our own clock, which may be another machine's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from sqlalchemy import URL

from receiver.clock import Clock
from receiver.store.backend import ANSWER_SECONDS
from receiver.store.changes import Change
from receiver.store.postgresql import faults
from receiver.store.postgresql.engine import connect

HEARTBEAT_SECONDS = 5.0
MISSED_SECONDS = 3.5 * HEARTBEAT_SECONDS
"""How long a process that holds leases may write no heartbeat."""

RECENT = """
    SELECT owner FROM processes WHERE heartbeat_at > extract(epoch FROM clock_timestamp())::float8 - 60 ORDER BY owner
"""
"""Who wrote a heartbeat in the last minute, which allows for clocks that differ."""
_HOLDERS = """
    SELECT owner, heartbeat_at FROM processes WHERE owner != %s AND (
        EXISTS (SELECT 1 FROM runs WHERE state = 'running' AND state != 'succeeded' AND lease_owner = processes.owner)
        OR EXISTS (SELECT 1 FROM jobs WHERE lease_until IS NOT NULL AND lease_owner = processes.owner)
    )
"""


class Heartbeats:
    """The process `owner` among those that share a store, seen by its heartbeats; see `store.backend.Processes`."""

    heartbeat_seconds = HEARTBEAT_SECONDS
    rejoin_seconds = 1.0
    confirm_seconds = math.inf
    is_visible = True
    quiet = False
    hears = False

    def __init__(self, url: URL, owner: str, clock: Clock) -> None:
        self.owner = owner
        self._url = url
        self._clock = clock
        self._seen: dict[str, tuple[float, float]] = {}
        self._connection: Any = None
        self._look_at = float("-inf")

    def join(self) -> None:
        """Nothing: the row of this process is all that others see."""

    def find_dead(self) -> list[str]:
        """Owners of leases whose heartbeat did not change for `MISSED_SECONDS`. Two processes may find the same one.

        Raises:
            OSError: the server cannot be reached.
        """
        now = self._clock.monotonic()
        if now < self._look_at:
            return []
        self._look_at = now + HEARTBEAT_SECONDS / 2
        seen = {}
        for owner, heartbeat in self._holders():
            before = self._seen.get(owner)
            seen[owner] = before if before is not None and before[0] == heartbeat else (heartbeat, now)
        self._seen = seen
        return [owner for owner, (_, since) in seen.items() if now - since >= MISSED_SECONDS]

    def _holders(self) -> list[Any]:
        import psycopg

        try:
            if self._connection is None or self._connection.closed:
                self._connection = connect(self._url, prepares=False, answer_seconds=ANSWER_SECONDS)
            found: list[Any] = self._connection.execute(_HOLDERS, (self.owner,)).fetchall()
        except psycopg.Error as error:
            self._seen = {}  # the others may not have reached the server either
            self.close()
            raise OSError(faults.text_of(error, self._url)) from None
        return found

    def remove(self, owner: str) -> None:
        """Nothing: its row is deleted."""
        self._seen.pop(owner, None)

    def leave(self) -> None:
        """Nothing is left: the row is deleted."""
        self.close()

    def close(self) -> None:
        """End the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def announce(self, change: Change) -> None:
        """Nothing: the others poll."""

    def subscribe(self, subscriber: Callable[[Change | None], None]) -> None:
        """Nothing is announced."""
