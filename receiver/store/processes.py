"""The rows of the processes that use the store: what each is, and when it last wrote that it is alive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, func, select

from receiver.model.role import Role
from receiver.store.dialect import DIALECTS
from receiver.store.leases import IS_RUNNING, Held, end_leases
from receiver.store.schema import jobs, processes, runs

ABANDONED_SECONDS = 86_400.0
"""After this time without a heartbeat the row of a process is deleted; one that lives writes it again."""


@dataclass(frozen=True, slots=True)
class ProcessInfo:
    """What a process is.

    Attributes:
        owner: its name in leases.
        started_at: unix seconds.
        metadata_keys: by which it indexes what it stores.
    """

    owner: str
    role: Role
    host: str
    pid: int
    version: str
    started_at: float
    metadata_keys: Sequence[str] = ()


def write_heartbeat(
    connection: Connection, process: ProcessInfo, now: float, clock_difference: float | None = None
) -> None:
    """Write the row of a living process, whether or not it exists.

    Args:
        now: unix seconds.
        clock_difference: by how many seconds its clock is ahead of the database server's; None if that is not known.
    """
    values: dict[str, Any] = {
        "owner": process.owner,
        "role": process.role,
        "host": process.host,
        "pid": process.pid,
        "version": process.version,
        "started_at": process.started_at,
        "heartbeat_at": now,
        "clock_difference": clock_difference,
        "metadata_keys": list(process.metadata_keys),
    }
    changed = {name: values[name] for name in ("heartbeat_at", "clock_difference")}
    statement = DIALECTS[connection.dialect.name].insert(processes).values(values)
    connection.execute(statement.on_conflict_do_update(index_elements=["owner"], set_=changed))


def remove(connection: Connection, owner: str) -> Held:
    """End every lease of a process that has ended, and delete its row."""
    held = end_leases(connection, owner)
    connection.execute(delete(processes).where(processes.c.owner == owner))
    return held


def remove_abandoned(connection: Connection, now: float) -> None:
    """Delete the rows of processes that ended unnoticed, such as those of a store that was restored from a backup."""
    connection.execute(delete(processes).where(processes.c.heartbeat_at < now - ABANDONED_SECONDS))


def listed(connection: Connection) -> list[dict[str, Any]]:
    """Every process, the one that started first at the top, with the number of its leases: `runs`, `jobs`."""
    of_runs = select(func.count()).where(IS_RUNNING, runs.c.lease_owner == processes.c.owner)
    of_jobs = select(func.count()).where(jobs.c.lease_until.is_not(None), jobs.c.lease_owner == processes.c.owner)
    statement = select(
        processes, of_runs.scalar_subquery().label("runs"), of_jobs.scalar_subquery().label("jobs")
    ).order_by(processes.c.started_at, processes.c.owner)
    return [dict(row._mapping) for row in connection.execute(statement)]
