"""The processes that work on a store: who counts, and in which order."""

from __future__ import annotations

from sqlalchemy import insert

from receiver.model.role import Role
from receiver.store import replicas
from receiver.store.database import Database
from receiver.store.replicas import FRESH_SECONDS, Replica
from receiver.store.schema import processes
from tests.unit.store.conftest import NOW


def add(database: Database, owner: str, role: Role, started_at: float, heartbeat_at: float = NOW) -> None:
    row = {"owner": owner, "role": role, "host": f"host-{owner}", "pid": 1, "version": "0"}
    row |= {"started_at": started_at, "heartbeat_at": heartbeat_at}
    database.transact(lambda connection: connection.execute(insert(processes).values(row)))


def test_those_that_work_are_listed_the_first_started_at_the_top(database: Database) -> None:
    assert database.query(replicas.working, NOW) == []
    add(database, "b", Role.WORKER, NOW - 5)
    add(database, "a", Role.ALL, NOW - 5)
    add(database, "intake", Role.INTAKE, NOW - 9)
    add(database, "speech", Role.SPEECH, NOW - 9)
    add(database, "gone", Role.WORKER, NOW - 9, NOW - FRESH_SECONDS - 1)
    add(database, "late", Role.WORKER, NOW - 1)
    assert database.query(replicas.working, NOW) == [Replica(owner, f"host-{owner}") for owner in ("a", "b", "late")]
