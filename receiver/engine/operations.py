"""Operators' changes of all that matches a filter: accepted at once, stopped, resumed (docs/adr/0097).

Any process accepts them. The module `operation_worker` does them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, cast

from sqlalchemy import Connection

from receiver.clock import Clock
from receiver.engine import matching
from receiver.engine.audit import Auditor, ChangeRecorder
from receiver.engine.matching import Matches
from receiver.model.audit import AuditOperation
from receiver.store import operations, views
from receiver.store.database import Database
from receiver.store.event_pages import Filter
from receiver.store.states import ENDED_STATES, OPEN_STATES, RunState

_STATES: dict[AuditOperation, tuple[RunState, ...]] = {
    AuditOperation.REPLAY_RUNS: ENDED_STATES,
    AuditOperation.CANCEL_RUNS: OPEN_STATES,
    AuditOperation.RETRY_RUNS: (RunState.PENDING,),
}
"""The runs that an operation can change. Operations that are not here change events."""


def states_of(operation: AuditOperation, filter: Filter) -> tuple[RunState, ...] | None:
    """The states of the runs that it changes; None if it changes events."""
    states = _STATES.get(operation)
    return None if states is None else tuple(state for state in states if filter.state in (None, state))


@dataclass(frozen=True, slots=True)
class Bulk:
    """What an operator asks for.

    Attributes:
        handlers: for events to replay: only these; empty for all that they are for.
    """

    operation: AuditOperation
    filter: Filter
    handlers: Sequence[str] = ()

    @property
    def states(self) -> tuple[RunState, ...] | None:
        """As `states_of`."""
        return states_of(self.operation, self.filter)

    def matches(self, connection: Connection, limit: int) -> Matches:
        """What it would change now, counted up to a limit."""
        return matching.find_matches(connection, self.filter, self.states, limit)

    def described(self) -> dict[str, Any]:
        """What the audit log says of it."""
        return {**matching.describe_filter(self.filter), "handlers": list(self.handlers)}


class OperationService:
    """Accepts operations, stops and resumes them.

    Args:
        clock: by which runs end.
        accepted: called after one was stored or resumed.
    """

    def __init__(self, database: Database, clock: Clock, accepted: Callable[[], None]) -> None:
        self._database = database
        self._clock = clock
        self._accepted = accepted

    async def preview(self, bulk: Bulk, limit: int) -> Matches:
        """What it would change now, counted up to a limit.

        Raises:
            ListingTimeout: counting took too long.
            StoreUnavailable: the store cannot be read.
        """
        return await self._database.read_list(bulk.matches, limit)

    async def accept(self, audit: Auditor, bulk: Bulk) -> operations.Row:
        """Store it, and return its row. What is received, or fails, from now on is not part of it. Raises as above."""

        def read(connection: Connection) -> tuple[str, int]:
            end = views.end_of_events(connection)
            bounded = replace(bulk, filter=replace(bulk.filter, older_than=end))
            return end, bounded.matches(connection, matching.MAX_COUNTED_AT_ONCE).number

        now = self._clock.now()
        end, count = await self._database.read_list(read)
        recorder = audit.bulk(**bulk.described())
        entry = recorder.entry
        kept = {"at": entry.at, "actor": entry.actor, "via": str(entry.via), "filter": dict(entry.filter)}
        criteria = {"filter": asdict(replace(bulk.filter, older_than=end)), "handlers": list(bulk.handlers)}

        def store(connection: Connection) -> operations.Row:
            operations.accept(connection, entry.id, bulk.operation, count, kept, criteria, now)
            return cast(operations.Row, operations.get(connection, entry.id))

        row = await self._database.write(store)
        self._accepted()
        return row

    async def stop(self, recorder: ChangeRecorder, id: str) -> operations.Row | None:
        """Stop it after the batch in progress; its row, also if it had ended. None if it does not exist."""

        def stop(connection: Connection) -> operations.Row | None:
            recorder.add(connection, operations.stop(connection, id, self._clock.now()))
            return operations.get(connection, id)

        return await self._database.write(stop)

    async def resume(self, recorder: ChangeRecorder, id: str) -> operations.Row | None:
        """Continue one that has failed or was stopped, where it was; its row, also if it had not. None as above."""

        def resume(connection: Connection) -> operations.Row | None:
            recorder.add(connection, operations.resume(connection, id, self._clock.now()))
            return operations.get(connection, id)

        row = await self._database.write(resume)
        self._accepted()
        return row


def bulk_of(row: operations.Row) -> Bulk:
    """What a row asks for.

    Raises:
        KeyError, TypeError, ValueError: it is of a later release, and this one cannot do it.
    """
    given = row["criteria"]["filter"]
    pairs = tuple((key, value) for key, value in given["metadata"])
    filter = Filter(**{**given, "metadata": pairs})
    return Bulk(AuditOperation(row["operation"]), filter, row["criteria"]["handlers"])
