"""A source's pace: until when nobody asks it anything, and when the next request may be made.

In the store, so that all processes keep it together.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from sqlalchemy import Connection, select
from sqlalchemy.dialects import sqlite

from receiver.store.schema import source_state

_NOT_DIGITS = 1e-6
"""What floating point may be off by when turns are counted."""


class ThrottleState(NamedTuple):
    """One source's pace. Unix seconds; 0 means: at any time.

    Attributes:
        pause_until: nobody asks anything before this.
        why: the slug of what paused it.
        poll_pause_until: nobody polls before this; what is left of the rate limit is for other requests.
        next_request_at: the first turn that is not taken.
    """

    pause_until: float = 0.0
    why: str = ""
    poll_pause_until: float = 0.0
    next_request_at: float = 0.0

    def free_slots(self, now: float, gap: float, ahead: float) -> int:
        """How many requests could have a turn that is at most `ahead` seconds away, `gap` seconds apart."""
        return max(0, 1 + math.floor((now + ahead - max(now, self.next_request_at)) / gap + _NOT_DIGITS))


def get(connection: Connection, source: str) -> ThrottleState:
    """The source's pace."""
    c = source_state.c
    columns = (c.pause_until, c.reason, c.poll_pause_until, c.next_request_at)
    row = connection.execute(select(*columns).where(c.source == source)).first()
    return ThrottleState() if row is None else ThrottleState(*row)


def pauses(connection: Connection, now: float) -> dict[str, ThrottleState]:
    """The paused sources."""
    c = source_state.c
    paused = (c.pause_until > now) | (c.poll_pause_until > now)
    rows = connection.execute(
        select(c.source, c.pause_until, c.reason, c.poll_pause_until, c.next_request_at).where(paused)
    )
    return {row[0]: ThrottleState(*row[1:]) for row in rows}


def pause(connection: Connection, source: str, until: float, reason: str, now: float) -> None:
    """Let nobody ask the source anything before `until`, unix seconds as `now`; a longer pause stays."""
    if until > get(connection, source).pause_until:
        _write(connection, source, {"pause_until": until, "pause_seconds": until - now, "reason": reason})


def pause_polls(connection: Connection, source: str, until: float, now: float) -> None:
    """Let nobody poll the source before `until`, unix seconds as `now`."""
    _write(connection, source, {"poll_pause_until": until, "poll_pause_seconds": until - now})


def resume(connection: Connection, source: str) -> None:
    """Lift a source's pauses. For an operator who has mended what was wrong."""
    _write(connection, source, {"pause_until": 0.0, "reason": "", "poll_pause_until": 0.0})


def reserve_times(connection: Connection, source: str, count: int, now: float, gap: float) -> list[float]:
    """Reserve the next `count` turns, `gap` seconds apart: when each request may be made, unix seconds."""
    if count <= 0:
        return []
    first = max(now, get(connection, source).next_request_at)
    _write(connection, source, {"next_request_at": first + count * gap})
    return [first + index * gap for index in range(count)]


def record_response(connection: Connection, source: str, now: float) -> None:
    """The source has answered about a job."""
    _write(connection, source, {"heard_at": now})


def _write(connection: Connection, source: str, values: dict[str, Any]) -> None:
    new = {"source": source, "pause_until": 0.0, "reason": ""} | values
    statement = sqlite.insert(source_state).values(**new)
    connection.execute(statement.on_conflict_do_update(index_elements=["source"], set_=values))
