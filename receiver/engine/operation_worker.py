"""Does operators' changes of all that matches a filter, in a process that works (docs/adr/0097).

Of the processes that work, one does the oldest, in batches that do not delay deliveries.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from itertools import groupby
from operator import itemgetter

import structlog
from sqlalchemy import Connection

from receiver.clock import Clock
from receiver.engine.audit import ChangeRecorder
from receiver.engine.batch_writer import BatchWriter
from receiver.engine.matching import PAGE
from receiver.engine.operations import Bulk, bulk_of
from receiver.engine.plugins import Registry
from receiver.engine.replay import ReplayResult, count_changed, count_due, release_events, replay_events
from receiver.errors import ListingTimeout, ReceiverError, StoreUnavailable
from receiver.model.audit import MAX_DETAIL, AuditEntry, AuditOperation, AuditState, Via
from receiver.model.redact import Redactor
from receiver.model.retry import RetryPolicy, wait_seconds
from receiver.settings import Settings
from receiver.store import operations, runs, views
from receiver.store.database import Database
from receiver.store.metadata_index import require_indexed

log = structlog.get_logger("receiver.operations")

LEASE_SECONDS = 60.0
"""How long after its last batch another process may continue an operation whose process hangs."""
POLL_SECONDS = 15.0
"""How often a process looks for an operation that no notification announced."""
RETRY_SECONDS = 5.0
"""The wait after the store failed."""
RETRIES = RetryPolicy(attempts=8, base_seconds=5.0, factor=2.0, cap_seconds=40.0)
"""Of an operation that makes no progress in a store that works otherwise. The waits are shorter than a lease."""
QUICK_SECONDS = 1.0
"""A page that took no longer lets the next one be larger."""

Page = list[list[tuple[str, str]]]
"""Of each event its runs, or only its id."""


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
        self._failures: dict[str, int] = {}
        """Attempts of an operation in a row without progress."""
        self._page = PAGE

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
        row = await self._database.read_list(operations.first_unfinished)
        if row is None:
            return None
        id = row["id"]
        try:
            bulk_of(row)
        except (KeyError, TypeError, ValueError):
            log.warning("operation.not_known", operation=id, kind=row["operation"])
            return None
        now = self._clock.now()
        claimed = await self._database.write(operations.claim, id, self._owner, now, now + LEASE_SECONDS)
        self._claimed = None if claimed is None else id
        return claimed

    async def _do(self, row: operations.Row) -> None:
        """Do all that is left of it, or up to an error.

        Raises:
            StoreUnavailable: it is not finished, and can be continued.
        """
        id = row["id"]
        work = _Work(self._settings, self._registry, self._recorder(row), row, self._owner, self._clock)
        log.info("operation.started", operation=id, kind=row["operation"], changed=row["changed"])
        try:
            await self._change_all(work, row["reached"])
        except (StoreUnavailable, ListingTimeout) as error:
            await self._failed(row, error)
        except ReceiverError as error:
            await self._finish(row, AuditState.FAILED, str(error))
        except Exception as error:
            log.exception("operation.broken", operation=id)
            await self._finish(row, AuditState.FAILED, f"{type(error).__name__}: {error}; see the log")
        else:
            await self._finish(row, AuditState.COMPLETED, None)

    async def _change_all(self, work: _Work, reached: str | None) -> None:
        """Change page by page, from an event on."""
        writer = BatchWriter(self._database, self._clock)
        full = True
        while full and not work.lost:
            page, seconds = await writer.read(self._read_timed, work.bulk, reached, self._page)
            if not page:
                return
            full = len(page) == self._page
            if seconds <= QUICK_SECONDS:
                self._page = min(PAGE, 2 * self._page)
            await writer.write(work.change, page, self._committed)
            reached = page[-1][0][0]

    def _read_timed(self, connection: Connection, bulk: Bulk, reached: str | None, limit: int) -> tuple[Page, float]:
        begun = self._clock.monotonic()
        return _read_page(connection, bulk, reached, limit), self._clock.monotonic() - begun

    async def _failed(self, row: operations.Row, error: StoreUnavailable | ListingTimeout) -> None:
        """Wait for the next attempt with a smaller page; or end the operation if it has made no progress in many.

        Raises:
            StoreUnavailable: the store cannot be written, and the attempt does not count.
        """
        id = row["id"]
        failures = self._failures.get(id, 0) + 1
        wait = wait_seconds(RETRIES, failures, 0.0)
        if wait is None:
            await self._finish(row, AuditState.FAILED, f"No progress in {failures} attempts: {error}")
            return
        detail = self._redact.bounded(f"Attempt {failures} of {RETRIES.attempts} failed: {error}", MAX_DETAIL)
        await self._database.write(operations.note, id, self._owner, detail, self._clock.now())
        self._failures[id] = failures
        self._page = max(1, self._page // 2)
        log.warning("operation.interrupted", operation=id, detail=detail, seconds=wait)
        await self._clock.wait(asyncio.Event(), wait)

    def _committed(self, changed: int) -> None:
        self._failures.clear()
        if changed:
            self._runs_due()

    async def _finish(self, row: operations.Row, state: AuditState, detail: str | None) -> None:
        now = self._clock.now()
        bounded = None if detail is None else self._redact.bounded(detail, MAX_DETAIL)
        ended = await self._database.write(operations.finish, row["id"], self._owner, state, bounded, now)
        self._claimed = None
        self._failures.clear()
        self._page = PAGE
        log.info("operation.ended", operation=row["id"], state=state if ended else AuditState.STOPPED, detail=bounded)

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


def _read_page(connection: Connection, bulk: Bulk, reached: str | None, limit: int) -> Page:
    """What is to be changed of up to `limit` events after an event.

    Raises:
        MetadataNotIndexed: since it was accepted, the index of a key has become incomplete.
    """
    require_indexed(connection, [key for key, _ in bulk.filter.metadata])
    filter = bulk.filter if reached is None else replace(bulk.filter, newer_than=reached)
    states = bulk.states
    if states is None:
        return [[(id, "")] for id in views.event_ids(connection, filter, limit)]
    page = views.runs_of_page(connection, filter, states, limit)
    return [list(keys) for _, keys in groupby(page, key=itemgetter(0))]


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
        self.bulk = bulk_of(row)
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
