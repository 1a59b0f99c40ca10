"""What the store says while it is shared, killed and cut off: read-only, on both databases."""

from __future__ import annotations

from typing import Any

from sqlalchemy import exc, select, tuple_

from receiver.store.backend import Backend
from receiver.store.schema import processes, runs
from receiver.store.states import RunState

HeldRuns = dict[tuple[str, str], int]
"""Run to the attempt that a process has of it."""

_OPEN = (RunState.PENDING, RunState.RUNNING)
_BLAMED_CRASHES = 2
"""A run with so many crashes before waits after the next one (docs/adr/0042)."""


def pid_of(owner: str) -> int:
    """The process that an owner of leases is."""
    return int(owner.split("_")[1])


class StoreUnreadable(Exception):
    """The database does not respond now."""


class StoreView:
    """Reads the store. Every method raises StoreUnreadable while the database is away."""

    def __init__(self, backend: Backend) -> None:
        self._engine = backend.reader_engine(30.0)

    def rows(self, statement: Any) -> list[Any]:
        """All rows of a query."""
        try:
            with self._engine.connect() as connection:
                return list(connection.execute(statement))
        except exc.DBAPIError as error:
            raise StoreUnreadable(str(error)) from error

    def held_by(self, pid: int) -> HeldRuns:
        """The runs that this process of this machine holds, but those that would wait after a crash."""
        columns = (runs.c.event_id, runs.c.handler, runs.c.attempt, runs.c.lease_owner)
        running = select(*columns).where(runs.c.state == RunState.RUNNING, runs.c.crashes < _BLAMED_CRASHES)
        found = self.rows(running)
        return {(row.event_id, row.handler): row.attempt for row in found if pid_of(row.lease_owner) == pid}

    def not_taken_up(self, held: HeldRuns) -> HeldRuns:
        """Those that are neither finished nor claimed again."""
        columns = (runs.c.event_id, runs.c.handler, runs.c.attempt)
        keys = tuple_(runs.c.event_id, runs.c.handler).in_(list(held))
        found = self.rows(select(*columns).where(keys, runs.c.state.in_(_OPEN)))
        return {(event, handler): attempt for event, handler, attempt in found if attempt == held[event, handler]}

    def pids(self) -> set[int]:
        """Of the processes that the store knows."""
        return {row.pid for row in self.rows(select(processes.c.pid))}

    def open_runs(self) -> list[Any]:
        """A few of the runs that have not ended."""
        columns = (runs.c.event_id, runs.c.handler, runs.c.state, runs.c.attempt)
        return self.rows(select(*columns).where(runs.c.state.in_(_OPEN)).limit(10))

    def close(self) -> None:
        """Close its connections."""
        self._engine.dispose()
