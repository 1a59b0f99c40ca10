"""Extends the leases of this process's runs, and recovers the runs whose lease has expired."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from receiver.engine.crashes import CrashedRuns
from receiver.engine.server_clock import LeaseClock
from receiver.errors import StoreUnavailable
from receiver.store import claims
from receiver.store.backend import Processes
from receiver.store.claims import RunKey
from receiver.store.database import Database

log = structlog.get_logger("receiver.dispatch")


class LeaseKeeper:
    """Works three times in each lease.

    Args:
        owner: names this process in leases.
        seconds: how long a lease lasts.
        held: the runs that this process holds.
        lost: called with those that it has lost.
        recovered: called when runs with an expired lease were made due again.
        looked: called when there were none.
    """

    def __init__(
        self,
        database: Database,
        *,
        owner: str,
        seconds: float,
        clock: LeaseClock,
        processes: Processes,
        crashed: CrashedRuns,
        held: Callable[[], list[RunKey]],
        lost: Callable[[list[RunKey]], None],
        recovered: Callable[[], None],
        looked: Callable[[], None],
    ) -> None:
        self._database = database
        self._owner = owner
        self._seconds = seconds
        self._clock = clock
        self._processes = processes
        self._crashed = crashed
        self._held = held
        self._lost = lost
        self._recovered = recovered
        self._looked = looked
        self._ended = asyncio.Event()

    def leases_ended(self) -> None:
        """Recover the runs of a dead process now: its leases were ended."""
        self._ended.set()

    async def run(self) -> None:
        """Keep leases until cancelled."""
        while True:
            self._ended.clear()
            try:
                await self._extend()
                if not self._processes.quiet and self._clock.paused is None:  # somebody may hold leases
                    recovered = await self._crashed.recover_expired(self._clock.now())
                    (self._recovered if recovered else self._looked)()
            except StoreUnavailable as error:
                log.error("dispatch.leases_not_extended", detail=str(error))
            except Exception:
                log.exception("dispatch.leases_broken")
            await self._clock.wait(self._ended, self._seconds / 3)

    async def _extend(self) -> None:
        """Extend our own leases. First: our own runs would otherwise be taken for crashed."""
        until = self._clock.server_now() + self._seconds
        if held := self._held():
            self._lost(await self._database.write(claims.extend, held, self._owner, until))
