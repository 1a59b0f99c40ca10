"""The throttle state of a source: its pauses, and when the next request may be made. All processes share it.

Each change is one statement, so that no process changes it between what another reads and writes.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from sqlalchemy import Connection, case, select

from receiver.model.rate_plan import RequestKind
from receiver.store import rate_buckets
from receiver.store.dialect import DIALECTS
from receiver.store.schema import source_state

_ROUNDING_ERROR = 1e-6
"""The largest rounding error when request times are counted."""


class ThrottleState(NamedTuple):
    """The throttle state of one source. Unix seconds; 0 means at any time.

    Attributes:
        pause_until: no request is made before this.
        why: the reason slug of the pause.
        next_request_at: the first request time that is not reserved.
    """

    pause_until: float = 0.0
    why: str = ""
    next_request_at: float = 0.0

    def free_times(self, now: float, interval: float, ahead: float) -> int:
        """How many request times, `interval` seconds apart, are free within `ahead` seconds of `now`."""
        return max(0, 1 + math.floor((now + ahead - max(now, self.next_request_at)) / interval + _ROUNDING_ERROR))


def get(connection: Connection, source: str) -> ThrottleState:
    """The source's throttle state."""
    c = source_state.c
    columns = (c.pause_until, c.reason, c.next_request_at)
    row = connection.execute(select(*columns).where(c.source == source)).first()
    return ThrottleState() if row is None else ThrottleState(*row)


def pauses(connection: Connection, now: float) -> dict[str, ThrottleState]:
    """The throttle states of paused sources, by source; one whose buckets are all paused is paused, too."""
    c = source_state.c
    found: dict[str, ThrottleState] = {}
    for source, plan in rate_buckets.get_all(connection).items():
        if (bucket := plan.pause(now)) is not None:
            found[source] = ThrottleState(bucket.pause_until, bucket.why)
    columns = (c.source, c.pause_until, c.reason, c.next_request_at)
    rows = connection.execute(select(*columns).where(c.pause_until > now))
    return found | {row[0]: ThrottleState(*row[1:]) for row in rows}


def pause_of(
    connection: Connection, source: str, kind: RequestKind, now: float, *, submits_wait: bool
) -> ThrottleState | None:
    """The pause of a source's requests of this kind, or how long its rate limit leaves none to them; None if neither.

    Args:
        submits_wait: whether submits leave requests to the polls of submitted jobs.
    """
    state, plan = get(connection, source), rate_buckets.get(connection, source)
    if state.pause_until > now:
        return state
    bucket = plan.bucket(kind)
    if bucket is not None and bucket.pause_until > now:
        return ThrottleState(bucket.pause_until, bucket.why)
    at = plan.free_at(kind, now, rate_buckets.watched(connection, source) if submits_wait else 0)
    return None if at <= now else ThrottleState(at, rate_buckets.LIMIT_USED_UP)


def pause(connection: Connection, source: str, until: float, reason: str, now: float) -> None:
    """Pause the source until `until`, unix seconds as `now`; a longer pause stays."""
    values = {"pause_until": until, "pause_seconds": until - now, "reason": reason}
    statement = _insert(connection, source, values)
    longer = statement.excluded.pause_until > source_state.c.pause_until
    connection.execute(statement.on_conflict_do_update(index_elements=["source"], set_=values, where=longer))


def resume(connection: Connection, source: str) -> None:
    """End a source's pauses, for an operator who has fixed their cause."""
    _write(connection, source, {"pause_until": 0.0, "reason": ""})
    rate_buckets.forget(connection, source)


def reserve_times(connection: Connection, source: str, count: int, now: float, interval: float) -> list[float]:
    """Reserve the next `count` request times, `interval` seconds apart; return them, unix seconds."""
    if count <= 0:
        return []
    seconds = count * interval
    statement = _insert(connection, source, {"next_request_at": now + seconds})
    free = source_state.c.next_request_at
    reserved = {"next_request_at": case((free > now, free), else_=now) + seconds}
    statement = statement.on_conflict_do_update(index_elements=["source"], set_=reserved)
    first: float = connection.execute(statement.returning(free - seconds)).scalar_one()
    return [first + index * interval for index in range(count)]


def record_response(connection: Connection, source: str, now: float) -> None:
    """Record that the source has responded about a job."""
    _write(connection, source, {"heard_at": now})


def _write(connection: Connection, source: str, values: dict[str, Any]) -> None:
    statement = _insert(connection, source, values)
    connection.execute(statement.on_conflict_do_update(index_elements=["source"], set_=values))


def _insert(connection: Connection, source: str, values: dict[str, Any]) -> Any:
    new = {"source": source, "pause_until": 0.0, "reason": ""} | values
    return DIALECTS[connection.dialect.name].insert(source_state).values(**new)
