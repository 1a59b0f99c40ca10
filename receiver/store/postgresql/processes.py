"""Processes that share a PostgreSQL store: each holds a session's advisory lock, by which the others see it live.

The server releases the lock when the session's connection ends, however its process ends. A lock that is free may also
belong to a process whose connection was cut, and which is connecting again. So a process is dead if its lock was free
twice, with time between to take it again (docs/adr/0077).
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

from sqlalchemy import URL

from receiver.clock import Clock
from receiver.store.changes import Change
from receiver.store.postgresql.listener import Listener, NotConnected

CONFIRM_SECONDS = 0.5
"""How long a lock must be seen free. Whose connection was cut connects again within a tenth of a second."""
RECONNECTED_SECONDS = 3.0
"""How long no other process is taken for dead after our own connection was lost: the others may have lost theirs, and
connect again within a second of the server (`listener.MAX_RETRY_SECONDS`)."""
QUIET_SECONDS = 20.0
"""How often dead processes are looked for while no process holds leases."""

_KEY = "hashtextextended('receiver: process ' || {}, 3)"
IS_HELD = f"""
    EXISTS (
        SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND ((classid::bigint << 32) | objid::bigint) = {_KEY.format("processes.owner")}
    )
"""  # noqa: S608 - constants only
LEASES_HELD = """
    EXISTS (SELECT 1 FROM runs WHERE state = 'running' AND state != 'succeeded')
    OR EXISTS (SELECT 1 FROM jobs WHERE lease_until IS NOT NULL)
"""
_FIND = f"SELECT ARRAY(SELECT owner FROM processes WHERE owner != %s AND NOT {IS_HELD}), {LEASES_HELD}"  # noqa: S608
_TRY_LOCK = f"SELECT pg_try_advisory_lock({_KEY.format('%s')})"
_IS_KNOWN = "SELECT EXISTS (SELECT 1 FROM processes WHERE owner = %s)"
_UNLOCK = f"SELECT pg_advisory_unlock({_KEY.format('%s')})"
LIVING = f"SELECT owner FROM processes WHERE {IS_HELD} ORDER BY owner"  # noqa: S608 - constants only


class SessionLocks:
    """The process `owner` among those that share a store, seen by its lock; see `store.backend.Processes`.

    Args:
        owner: as made by `leases.new_owner`.
    """

    heartbeat_seconds = 60.0
    rejoin_seconds = 1.0

    def __init__(self, url: URL, owner: str, clock: Clock, rng: random.Random) -> None:
        self.owner = owner
        self._clock = clock
        self._listener = Listener(url, self._opened, self._on_word, rng)
        self._subscriber: Callable[[Change | None], None] = lambda _: None
        self._started = False
        self._locked = False
        self._judge_at = float("-inf")
        self._free_since: dict[str, float] = {}
        self._confirm_at = math.inf
        self._dead: list[str] = []
        self._look = True
        self._held = False
        self._looked_at = float("-inf")

    @property
    def is_visible(self) -> bool:
        """Whether this process has its connection, and on it the lock."""
        return self._locked and self._listener.connected

    @property
    def quiet(self) -> bool:
        """Whether there is a connection to hear the others, and no process holds leases, as far as is known."""
        return self._started and self._listener.connected and not self._held and not self._look

    @property
    def hears(self) -> bool:
        """Whether there is a connection to hear the others."""
        return self._started and self._listener.connected

    @property
    def confirm_seconds(self) -> float:
        """In how many seconds a lock has been free for long enough; infinite if none is."""
        return max(0.0, self._confirm_at - self._clock.monotonic())

    def join(self) -> None:
        """Connect and take the lock; the lock again, if the connection was made again.

        Raises:
            OSError: there is no connection, or the lock is still held by the session that was lost.
        """
        if not self._started:
            self._listener.start()
            self._started = True
        self._locked = self._listener.call(self._try_lock)
        if not self._locked:
            raise NotConnected("the server still has the lock of a connection that was lost")

    def find_dead(self) -> list[str]:
        """Owners whose lock is free, and is ours from now on. Without a query while nothing can have happened."""
        if not self._started:
            return []
        now = self._clock.monotonic()
        watched = self._look or self._held or self._free_since or self._dead
        if not watched and now < self._looked_at + QUIET_SECONDS:
            return []
        self._look, self._looked_at = False, now
        self._listener.call(lambda connection: self._find(connection, now))
        return list(self._dead)

    def _find(self, connection: Any, now: float) -> None:
        free, self._held = connection.execute(_FIND, (self.owner,)).fetchone()
        since = {owner: self._free_since.get(owner, now) for owner in free}
        confirm_at = {owner: max(at + CONFIRM_SECONDS, self._judge_at) for owner, at in since.items()}
        for owner, at in confirm_at.items():
            if at <= now and connection.execute(_TRY_LOCK, (owner,)).fetchone()[0]:
                del since[owner]
                if connection.execute(_IS_KNOWN, (owner,)).fetchone()[0]:
                    self._dead.append(owner)
                else:  # another process has found it meanwhile
                    connection.execute(_UNLOCK, (owner,))
        self._free_since = since
        self._confirm_at = min((at for at in confirm_at.values() if at > now), default=math.inf)

    def remove(self, owner: str) -> None:
        """Release the lock of a dead owner, whose row is deleted."""
        if owner in self._dead:
            self._dead.remove(owner)
            self._listener.call(lambda connection: connection.execute(_UNLOCK, (owner,)))

    def leave(self) -> None:
        """Release the lock: the row is deleted."""
        self.close()

    def close(self) -> None:
        """End the connection. The row stays, and with it others find this process dead."""
        self._locked = False
        self._listener.stop()

    def announce(self, change: Change) -> None:
        """Send it soon; without a connection, when it has been made again."""
        self._look = True
        self._listener.send(change)

    def subscribe(self, subscriber: Callable[[Change | None], None]) -> None:
        """Call it, in another thread, with what other processes announce; None if something may have been missed."""
        self._subscriber = subscriber

    # in the listener's thread

    def _opened(self, connection: Any) -> None:
        self._dead, self._free_since, self._confirm_at, self._look = [], {}, math.inf, True
        if self._started:
            self._judge_at = self._clock.monotonic() + RECONNECTED_SECONDS
        self._locked = self._try_lock(connection)

    def _try_lock(self, connection: Any) -> bool:
        return bool(connection.execute(_TRY_LOCK, (self.owner,)).fetchone()[0])

    def _on_word(self, word: str | None) -> None:
        self._look = True
        if word is None:
            self._subscriber(None)
        elif word in set(Change):
            self._subscriber(Change(word))
