"""Membership of the processes that share the store: the leases of a dead process end at once.

With leases alone its work would wait until they expire. They still decide if a death cannot be detected: a process
hangs, was started by an earlier release, or its file system has no locks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import structlog

from receiver.clock import Clock
from receiver.errors import StoreUnavailable
from receiver.model.role import Role
from receiver.store.backend import Processes
from receiver.store.database import Database
from receiver.store.leases import end_leases

T = TypeVar("T")

log = structlog.get_logger("receiver.processes")

POLL_INTERVAL_SECONDS = 1.0
"""How often dead processes are looked for."""
REJOIN_SECONDS = 60.0
"""How often a process that could not join tries again: on a file system without locks each try fails."""


class Membership:
    """Joins the processes that share the store, and looks for dead ones until it leaves.

    Args:
        role: an intake looks for none: others would notice later that leases were ended, and it can take nothing up.
        on_release: each is called after the leases of a dead process were ended.
    """

    def __init__(
        self,
        database: Database,
        processes: Processes,
        role: Role,
        on_release: Sequence[Callable[[], None]],
        clock: Clock,
    ) -> None:
        self._database = database
        self._processes = processes
        self._role = role
        self._on_release = on_release
        self._clock = clock
        self._seen = False
        self._warned = False
        self._join_at = float("-inf")
        self._leaving = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        # A thread of its own: all of asyncio's few threads may wait for a storage that does not respond.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="processes")

    async def join(self) -> None:
        """Join. Call before anything is claimed. Ends the leases of dead processes, if the store is available."""
        await self._update()
        self._task = asyncio.create_task(self._update_until_left())

    async def leave(self) -> None:
        """Leave, and end the leases that are left. Call when all work has ended and the store is still open."""
        if self._task is None:
            return
        self._leaving.set()
        task, self._task = self._task, None
        await task
        try:
            await self._leave()
        finally:
            self._thread.shutdown()

    async def _leave(self) -> None:
        try:
            await self._database.write(end_leases, self._processes.owner)
        except StoreUnavailable:  # the next process ends them
            await self._in_thread(self._processes.close)
            return
        try:
            await self._in_thread(self._processes.leave)
        except OSError as error:
            log.warning("process.lock_not_removed", owner=self._processes.owner, detail=str(error))

    async def _update_until_left(self) -> None:
        await self._clock.wait(self._leaving, POLL_INTERVAL_SECONDS)
        while not self._leaving.is_set():
            await self._update()
            await self._clock.wait(self._leaving, POLL_INTERVAL_SECONDS)

    async def _update(self) -> None:
        try:
            await self._register()
            if self._role.recovers:
                await self._release_dead()
        except StoreUnavailable as error:
            log.error("process.work_not_released", detail=str(error))
        except Exception:
            log.exception("process.broken")

    async def _register(self) -> None:
        """Join if other processes cannot detect this one: at the start, or because its file was removed."""
        if self._seen:
            if await self._in_thread(lambda: self._processes.is_visible):
                return
            self._seen = False
            self._warn_unregistered("Its file was removed.")
        if self._clock.monotonic() < self._join_at:
            return
        try:
            await self._in_thread(self._processes.join)
        except OSError as error:
            self._join_at = self._clock.monotonic() + REJOIN_SECONDS
            self._warn_unregistered(str(error))
            return
        self._seen = True
        if self._warned:
            self._warned = False
            log.info("process.lock_restored", owner=self._processes.owner)

    async def _release_dead(self) -> None:
        for owner in await self._in_thread(self._processes.find_dead):
            held = await self._database.write(end_leases, owner)
            log.warning("process.dead", owner=owner, runs=held.runs, jobs=held.jobs)
            for listener in self._on_release:
                listener()
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
