"""Membership of the processes that share the store: the leases of a dead process end at once.

With leases alone its work would wait until they expire. They still decide if a death cannot be detected: a process
hangs, was started by an earlier release, or its file system has no locks. Each process also has a row in the store, for
`processes list`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import structlog
from sqlalchemy import Connection

from receiver.clock import Clock
from receiver.errors import StoreMigrated, StoreUnavailable
from receiver.store.backend import Processes
from receiver.store.changes import Change
from receiver.store.database import Database
from receiver.store.metadata_index import declare_keys
from receiver.store.migrate import CopyUnfinished, SchemaTooNew, SchemaTooOld, require_usable
from receiver.store.processes import ProcessInfo, remove, remove_abandoned, write_heartbeat

T = TypeVar("T")

log = structlog.get_logger("receiver.processes")

POLL_INTERVAL_SECONDS = 1.0
"""How often dead processes are looked for; where that is a query, only while it can find one."""
SCHEMA_CHECK_SECONDS = 60.0
HEARTBEAT_RETRY_SECONDS = 5.0
"""How soon a heartbeat is written again that could not be written."""
MOVED_SECONDS = 1.0
"""A change of the clock's difference that is written at once, as a step of the clock is."""


class Membership:
    """Joins the processes that share the store, and looks for dead ones until it leaves.

    Args:
        info: of this process. An intake looks for no dead ones: it can take nothing up.
        on_release: each is called after the leases of a dead process were ended.
        busy: whether this process holds leases.
        on_join: called on the running loop before this process joins.
        clock_difference: by how many seconds this machine's clock is ahead of the database server's, if that is known.
    """

    def __init__(
        self,
        database: Database,
        processes: Processes,
        info: ProcessInfo,
        on_release: Sequence[Callable[[], None]],
        clock: Clock,
        busy: Callable[[], bool] = lambda: False,
        on_join: Callable[[], None] = lambda: None,
        clock_difference: Callable[[], float | None] = lambda: None,
    ) -> None:
        self._database = database
        self._processes = processes
        self._info = info
        self._on_release = on_release
        self._clock = clock
        self._busy = busy
        self._on_join = on_join
        self._clock_difference = clock_difference
        self._written_difference: float | None = None
        self._was_busy = False
        self._beat_at = float("-inf")
        self._check_at = float("-inf")
        self._beaten = False
        self._seen = False
        self._warned = False
        self._join_at = float("-inf")
        self._leaving = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        # A thread of its own: all of asyncio's few threads may wait for a storage that does not respond.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="processes")

    async def join(self) -> None:
        """Join. Call before anything is claimed. Ends the leases of dead processes, if the store is available."""
        self._on_join()
        await self._update()
        self._task = asyncio.create_task(self._update_until_left())

    async def leave(self) -> bool:
        """Leave, and end the leases that are left. Call when all work has ended and the store is still open.

        Returns:
            Whether other processes no longer see this one. If the store is unavailable, its row stays.
        """
        if self._task is None:
            return True
        self._leaving.set()
        task, self._task = self._task, None
        await task
        try:
            return await self._leave()
        finally:
            self._thread.shutdown()

    async def declare_keys(self) -> list[str]:
        """Record the keys by which this process indexes metadata; those by which not all that is stored is indexed.

        Raises:
            StoreUnavailable: nothing was recorded.
        """
        return await self._database.write(self._declare_keys)

    def _declare_keys(self, connection: Connection) -> list[str]:
        now = self._clock.now()
        if self._seen:  # otherwise others would take it for dead
            write_heartbeat(connection, self._info, now, self._clock_difference())
        return declare_keys(connection, self._info.metadata_keys, self._info.started_at, now)

    async def _leave(self) -> bool:
        try:
            await self._database.write(remove, self._processes.owner)
        except StoreUnavailable:  # the next process ends them
            await self._in_thread(self._processes.close)
            return False
        self._processes.announce(Change.LEASES)
        try:
            await self._in_thread(self._processes.leave)
        except OSError as error:
            log.warning("process.lock_not_removed", owner=self._processes.owner, detail=str(error))
        return True

    async def _update_until_left(self) -> None:
        await self._wait()
        while not self._leaving.is_set():
            await self._update()
            await self._wait()

    async def _wait(self) -> None:
        await self._clock.wait(self._leaving, min(POLL_INTERVAL_SECONDS, self._processes.confirm_seconds))

    async def _update(self) -> None:
        try:
            await self._register()
            await self._check_schema()
            if self._seen:
                await self._write_heartbeat()
            if self._info.role.recovers:
                self._tell_busy()
                await self._release_dead()
        except StoreUnavailable as error:
            log.error("process.work_not_released", detail=str(error))
        except Exception:
            log.exception("process.broken")

    async def _check_schema(self) -> None:
        """Store nothing more under a schema that this release does not know.

        A migration is refused while this process is seen to live. It is not where locks do not work, or when a backup
        is restored.
        """
        if self._clock.monotonic() < self._check_at:
            return
        self._check_at = self._clock.monotonic() + SCHEMA_CHECK_SECONDS
        try:
            await self._database.read(require_usable)
        except (SchemaTooNew, SchemaTooOld, CopyUnfinished) as error:
            message = f"The store {self._database.location} was migrated while this process used it. {error}"
            self._database.health.refuse(StoreMigrated(message))

    async def _register(self) -> None:
        """Join if other processes cannot detect this one: at the start, or because its lock was lost."""
        if self._seen:
            if await self._in_thread(lambda: self._processes.is_visible):
                return
            self._seen = False
            self._warn_unregistered("Its lock was lost: the file was removed, or the connection was cut.")
        if self._clock.monotonic() < self._join_at:
            return
        try:
            await self._in_thread(self._processes.join)
        except OSError as error:
            self._join_at = self._clock.monotonic() + self._processes.rejoin_seconds
            self._warn_unregistered(str(error))
            return
        self._seen = True
        self._beat_at = float("-inf")  # others may have taken this process for dead, and deleted its row
        if self._warned:
            self._warned = False
            log.info("process.lock_restored", owner=self._processes.owner)

    async def _write_heartbeat(self) -> None:
        difference, written = self._clock_difference(), self._written_difference
        moved = (difference is None) is not (written is None) or abs((difference or 0) - (written or 0)) > MOVED_SECONDS
        if self._clock.monotonic() < self._beat_at and not moved:
            return
        self._beat_at = self._clock.monotonic() + HEARTBEAT_RETRY_SECONDS
        self._written_difference = difference
        try:
            await self._database.write(self._beat, self._clock.now(), difference)
        except StoreUnavailable as error:
            log.warning("process.heartbeat_not_written", owner=self._processes.owner, detail=str(error))
            return
        self._beaten = True
        self._beat_at = self._clock.monotonic() + self._processes.heartbeat_seconds

    def _beat(self, connection: Connection, now: float, clock_difference: float | None) -> None:
        if not self._beaten:
            remove_abandoned(connection, now)
        write_heartbeat(connection, self._info, now, clock_difference)

    def _tell_busy(self) -> None:
        """Let idle processes watch this one from now on."""
        busy = self._busy()
        if busy and not self._was_busy:
            self._processes.announce(Change.BUSY)
        self._was_busy = busy

    async def _release_dead(self) -> None:
        try:
            dead = await self._in_thread(self._processes.find_dead)
        except OSError as error:
            if self._seen:  # otherwise it is known already
                log.warning("process.not_watching", owner=self._processes.owner, detail=str(error))
            return
        for owner in dead:
            held = await self._database.write_again(remove, owner)
            log.warning("process.dead", owner=owner, runs=held.runs, jobs=held.jobs)
            for listener in self._on_release:
                listener()
            self._processes.announce(Change.LEASES)
            await self._remove(owner)

    async def _remove(self, owner: str) -> None:
        try:
            await self._in_thread(lambda: self._processes.remove(owner))
        except OSError as error:
            log.warning("process.lock_not_removed", owner=owner, detail=str(error))

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _warn_unregistered(self, detail: str) -> None:
        if self._warned:
            return
        self._warned = True
        hint = "if it is killed, other processes continue its work only when its leases expire"
        log.warning("process.lock_failed", owner=self._processes.owner, detail=detail, hint=hint)
