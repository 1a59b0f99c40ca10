"""Operators' changes of all that matches a filter, accepted at once and done in the background (docs/adr/0097).

Any process accepts them. Of the processes that work, one does the oldest, in batches that do not delay deliveries.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, cast

import structlog
from sqlalchemy import Connection

from receiver.clock import Clock
from receiver.engine import matching
from receiver.engine.audit import Auditor, ChangeRecorder
from receiver.engine.batch_writer import BatchWriter
from receiver.engine.matching import Matches
from receiver.engine.plugins import Registry
from receiver.engine.replay import ReplayResult, count_changed, count_due, release_events, replay_events
from receiver.errors import ListingTimeout, StoreUnavailable
from receiver.model.audit import AuditEntry, AuditOperation, AuditState, Via
from receiver.model.redact import Redactor
from receiver.settings import Settings
from receiver.store import operations, runs, views
from receiver.store.database import Database
from receiver.store.event_pages import Filter
from receiver.store.states import ENDED_STATES, OPEN_STATES, RunState

log = structlog.get_logger("receiver.operations")

LEASE_SECONDS = 60.0
"""How long after its last batch another process may continue an operation whose process hangs."""
POLL_SECONDS = 15.0
"""How often a process looks for an operation that no notification announced."""
RETRY_SECONDS = 5.0
"""The wait after the store failed."""

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

    def matches(self, connection: Connection, limit: int = matching.MAX_COUNTED) -> Matches:
        """What it would change now, counted up to a limit."""
        return matching.find_matches(connection, self.filter, self.states, limit)

    def described(self) -> dict[str, Any]:
        """What the audit log says of it."""
        return {**matching.describe_filter(self.filter), "handlers": list(self.handlers)}


class OperationService:
    """Accepts operations, and stops them.

    Args:
        clock: by which runs end.
        accepted: called after one was stored.
    """

    def __init__(self, database: Database, clock: Clock, accepted: Callable[[], None]) -> None:
        self._database = database
        self._clock = clock
        self._accepted = accepted

    async def preview(self, bulk: Bulk) -> Matches:
        """What it would change now.

        Raises:
            ListingTimeout: counting took too long.
            StoreUnavailable: the store cannot be read.
        """
        return await self._database.read_list(bulk.matches)

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


def _bulk_of(row: operations.Row) -> Bulk:
    """What a row asks for."""
    given = row["criteria"]["filter"]
    pairs = tuple((key, value) for key, value in given["metadata"])
    filter = Filter(**{**given, "metadata": pairs})
    return Bulk(AuditOperation(row["operation"]), filter, row["criteria"]["handlers"])


class OperationWorker:
    """Does operations in a process that works, one after the other.

    Args:
        clock: as for `OperationService`.
        owner: this process's name in leases.
        runs_due: called after runs were made due.
        poll_seconds: see `Changes.poll_seconds`.
        released: called when this process lets an operation go.
    """

    def __init__(
        self,
        database: Database,
        settings: Settings,
        registry: Registry,
        redact: Redactor,
        clock: Clock,
        *,
        owner: str,
        runs_due: Callable[[], None],
        poll_seconds: Callable[[float], float],
        released: Callable[[], None],
    ) -> None:
        self._database = database
        self._settings = settings
        self._registry = registry
        self._redact = redact
        self._clock = clock
        self._owner = owner
        self._runs_due = runs_due
        self._poll_seconds = poll_seconds
        self._released = released
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._claimed: str | None = None

    def wake(self) -> None:
        """An operation may be there to be done."""
        self._wake.set()

    def start(self) -> None:
        """Start the task."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Stop after the batch in progress. Another process, or the next start, continues."""
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        if self._claimed is not None:
            with contextlib.suppress(StoreUnavailable):  # then its lease ends
                await self._database.write(operations.release, self._owner)
                self._released()

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            seconds = self._poll_seconds(POLL_SECONDS)
            try:
                while (row := await self._claim()) is not None:
                    await self._do(row)
            except (StoreUnavailable, ListingTimeout) as error:
                log.warning("operation.interrupted", operation=self._claimed, detail=str(error))
                seconds = RETRY_SECONDS
            except Exception:
                log.exception("operation.broken", operation=self._claimed)
                seconds = RETRY_SECONDS
            await self._clock.wait(self._wake, seconds)

    async def _claim(self) -> operations.Row | None:
        id = await self._database.read_list(operations.first_unfinished)
        if id is None:
            return None
        now = self._clock.now()
        row = await self._database.write(operations.claim, id, self._owner, now, now + LEASE_SECONDS)
        self._claimed = None if row is None else id
        return row

    async def _do(self, row: operations.Row) -> None:
        """Do all that is left of it.

        Raises:
            ListingTimeout, StoreUnavailable: it is not finished, and can be continued.
        """
        id = row["id"]
        log.info("operation.started", operation=id, kind=row["operation"], changed=row["changed"])
        try:
            work = _Work(self._settings, self._registry, self._recorder(row), row, self._owner, self._clock)
            writer = BatchWriter(self._database, self._clock)
            async for page in _pages(writer, work.bulk, row["reached"]):
                await writer.write(work.change, page, self._committed)
                if work.lost:
                    break
        except (StoreUnavailable, ListingTimeout):
            raise
        except Exception as error:
            log.exception("operation.broken", operation=id)
            await self._finish(row, AuditState.FAILED, f"{type(error).__name__}: see the log")
        else:
            await self._finish(row, AuditState.COMPLETED, None)

    def _committed(self, changed: int) -> None:
        if changed:
            self._runs_due()

    async def _finish(self, row: operations.Row, state: AuditState, detail: str | None) -> None:
        now = self._clock.now()
        ended = await self._database.write(operations.finish, row["id"], self._owner, state, detail, now)
        self._claimed = None
        log.info("operation.ended", operation=row["id"], state=state if ended else AuditState.STOPPED)

    def _recorder(self, row: operations.Row) -> ChangeRecorder:
        kept = row["entry"]
        entry = AuditEntry(
            id=row["id"],
            at=kept["at"],
            actor=kept["actor"],
            via=Via(kept["via"]),
            operation=AuditOperation(row["operation"]),
            filter=kept["filter"],
            state=AuditState.UNFINISHED,
        )
        return ChangeRecorder(entry, self._redact, self._clock)


async def _pages(writer: BatchWriter, bulk: Bulk, reached: str | None) -> AsyncIterator[list[list[tuple[str, str]]]]:
    """Pages of what is left: of each event its runs, or only its id."""
    filter = bulk.filter if reached is None else replace(bulk.filter, newer_than=reached)
    states = bulk.states
    if states is None:
        async for ids in matching.pages_of_events(writer, filter):
            yield [[(id, "")] for id in ids]
    else:
        async for page in matching.pages_of_runs(writer, filter, states):
            yield page


class _Work:
    """The batches of one operation.

    Attributes:
        lost: it was stopped, or another process does it.
    """

    def __init__(
        self,
        settings: Settings,
        registry: Registry,
        recorder: ChangeRecorder,
        row: operations.Row,
        owner: str,
        clock: Clock,
    ) -> None:
        self.bulk = _bulk_of(row)
        self.lost = False
        self._settings = settings
        self._registry = registry
        self._recorder = recorder
        self._id = row["id"]
        self._at = row["at"]
        self._owner = owner
        self._clock = clock

    def change(self, connection: Connection, by_event: Sequence[list[tuple[str, str]]]) -> int:
        """Change one batch; return how much was changed."""
        now = self._clock.now()
        last = by_event[-1][0][0]
        held = operations.advance(connection, self._id, self._owner, last, now, now + LEASE_SECONDS)
        self.lost = not held
        if not held:
            return 0
        changed, refused = self._change(connection, [key for keys in by_event for key in keys], now)
        operations.add(connection, self._id, changed, refused)
        self._recorder.add(connection, changed)
        return changed

    def _change(self, connection: Connection, keys: list[tuple[str, str]], now: float) -> tuple[int, int]:
        """How much was changed, and how many events were refused."""
        match self.bulk.operation:
            case AuditOperation.REPLAY_RUNS:
                return len(runs.replay(connection, runs.ended_by(connection, keys, self._at), now)), 0
            case AuditOperation.CANCEL_RUNS:
                return len(runs.cancel(connection, keys, now)), 0
            case AuditOperation.RETRY_RUNS:
                return len(runs.retry_now(connection, keys, now)), 0
        ids = [event_id for event_id, _ in keys]
        results: Collection[ReplayResult]
        if self.bulk.operation is AuditOperation.REPLAY:
            results = replay_events(connection, self._settings, self._registry, ids, self.bulk.handlers, now)
            return count_due(results), len(results) - count_changed(results)
        results = release_events(connection, self._settings, self._registry, ids, now)
        return count_changed(results), len(results) - count_changed(results)
