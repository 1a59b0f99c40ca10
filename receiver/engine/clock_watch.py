"""Detects that the machine's clock was set, and corrects stored times that cannot be right.

It checks at the start, because the clock may have been set while no process ran, and then each second. A pending run, a
poll, a pause or a lease whose time lies an hour ahead would otherwise wait for that hour.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import structlog
from sqlalchemy import Connection

from receiver.clock import Clock, SteadyClock
from receiver.engine.clock_trust import ClockTrust
from receiver.engine.server_clock import ServerClock
from receiver.errors import StoreUnavailable
from receiver.metrics import Metrics
from receiver.store import clocks
from receiver.store.clocks import TimeBounds
from receiver.store.database import Database

log = structlog.get_logger("receiver.clock")

POLL_INTERVAL_SECONDS = 1.0
STEP_SECONDS = 1.0
"""The smallest step after which stored times are corrected; a smaller one has no visible effect."""


async def correct_times(database: Database, bounds: TimeBounds, clock: Clock) -> Mapping[str, int]:
    """Move back every stored time that lies further ahead of `clock` than it could.

    Returns:
        How many were moved, by kind.

    Raises:
        StoreUnavailable: the store did not commit; times moved until then stay moved.
    """
    moved: dict[str, int] = {}
    for kind, step in clocks.steps(bounds, clock):
        after = None
        while True:
            rows, after = await database.write(step, after)
            if rows:
                moved[kind] = moved.get(kind, 0) + rows
            if after is None:
                break
    return moved


class ClockWatch:
    """Adopts steps of the machine's clock and corrects the store's times until stopped.

    Args:
        bounds: how far ahead stored times may lie.
        server: is compared here. No time is corrected by a clock that differs from the server's.
        on_step: called after a step: what waits for a stored time waits too long.
    """

    def __init__(
        self,
        database: Database,
        clock: SteadyClock,
        trust: ClockTrust,
        bounds: TimeBounds,
        metrics: Metrics,
        server: ServerClock,
        on_step: Callable[[], None] = lambda: None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._trust = trust
        self._bounds = bounds
        self._metrics = metrics
        self._server = server
        self._on_step = on_step
        self._stepped = False
        self._uncorrected = True
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Correct the stored times before anything uses them; then start the watch.

        If the store does not commit now, they are corrected as soon as it does.
        """
        self._clock.adopt()
        await self._server.compare_if_due()
        await self._correct_times()
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Stop the watch."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await self._clock.wait(asyncio.Event(), POLL_INTERVAL_SECONDS)
            try:
                await self._check()
            except Exception:
                log.exception("clock.broken")

    async def _check(self) -> None:
        seconds = self._clock.step()
        if abs(seconds) >= STEP_SECONDS:
            log.warning("clock.stepped", seconds=round(seconds, 1))
            self._metrics.clock_steps.inc()
            self._trust.invalidate()
            self._server.stepped(seconds)
            self._stepped = self._uncorrected = True
        # Nothing else of this process runs from here until the renewal of leases is queued. So no claim uses the new
        # time with old leases, and writes that used the old time are ahead of the renewal in the writer's queue.
        self._clock.adopt()
        if self._uncorrected:
            await self._correct_times()
        await self._server.compare_if_due()

    async def _correct_times(self) -> None:
        if self._server.paused is not None:
            return
        try:
            if self._stepped:
                await self._database.write(self._renew_leases)
            moved = await correct_times(self._database, self._bounds, self._clock)
        except StoreUnavailable as error:
            log.error("clock.times_not_corrected", detail=str(error))
            return
        if self._stepped:
            self._on_step()
        self._stepped = self._uncorrected = False
        if moved:
            log.warning("clock.times_corrected", **moved)

    def _renew_leases(self, connection: Connection) -> None:
        clocks.renew_leases(connection, self._bounds, self._clock.now())
