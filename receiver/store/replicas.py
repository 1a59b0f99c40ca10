"""The processes that work on this store now: which of them maintains it, and whose audio must be reachable."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection, select

from receiver.model.role import Role
from receiver.store.schema import processes

FRESH_SECONDS = 300.0
"""How old the heartbeat of a process may be that counts. An older row is of one that ended unnoticed, or hangs."""

_WORKING = [role for role in Role if role.works]


class Replica(NamedTuple):
    """A process that works, and the machine or container that it is on."""

    owner: str
    host: str


def working(connection: Connection, now: float) -> list[Replica]:
    """The processes that work, the one that started first at the top; all see the same order."""
    rows = connection.execute(
        select(processes.c.owner, processes.c.host)
        .where(processes.c.role.in_(_WORKING), processes.c.heartbeat_at >= now - FRESH_SECONDS)
        .order_by(processes.c.started_at, processes.c.owner)
    )
    return [Replica(*row) for row in rows]
