"""Notices that the machine's clock was set, and corrects the stored times that cannot be right any longer.

At the start, because the clock may have been set while nothing ran, and then each second: a pending run, a poll, a
pause or a lease whose time lies an hour ahead would otherwise wait for that hour.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import structlog

from receiver.clock import SteadyClock
from receiver.engine.clock_trust import ClockTrust
from receiver.errors import StoreUnavailable
from receiver.metrics import Metrics
from receiver.store import clocks
from receiver.store.clocks import TimeBounds
from receiver.store.database import Database

log = structlog.get_logger("receiver.clock")

POLL_INTERVAL_SECONDS = 1.0
STEP_SECONDS = 1.0
"""The smallest step for which stored times are corrected; a smaller one has no visible effect."""


async def put_right(database: Database, bounds: TimeBounds, now: float) -> Mapping[str, int]:
    """Move every stored time back that lies further ahead of `now` (unix seconds) than it could; how many by kind.

    Raises:
        StoreUnavailable: the store did not commit; what was moved until then stays so.
    """
    moved: dict[str, int] = {}
    for kind, step in clocks.steps(bounds, now):
        after = None
        while True:
            rows, after = await database.write(step, after)
            if rows:
                moved[kind] = moved.get(kind, 0) + rows
            if after is None:
                break
    return moved


class ClockWatch:
    """Keeps the process's clock and the store's times in order until stopped.

    Args:
        bounds: how far ahead stored times may lie.
    """

    def __init__(
        self,
        database: Database,
        clock: SteadyClock,
        trust: ClockTrust,
        bounds: TimeBounds,
        metrics: Metrics,
    ) -> None:
        self._database = database
        self._clock = clock
        self._trust = trust
        self._bounds = bounds
        self._metrics = metrics
        self._stepped = False
        self._untidy = True
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Correct the stored times before anything uses them; then begin to watch.

        If the store does not commit now, they are corrected as soon as it does.
        """
        self._clock.adopt()
        await self._put_right()
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End."""
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
            self._trust.doubt()
            self._stepped = self._untidy = True
        # From here to the first write nothing else of this process runs: no claim goes by the new time and finds old
        # leases, and the leases of those that were claimed by the old time are behind it in the writer's queue.
        self._clock.adopt()
        if self._untidy:
            await self._put_right()

    async def _put_right(self) -> None:
        now = self._clock.now()
        try:
            if self._stepped:
                await self._database.write(clocks.renew_leases, self._bounds, now)
            moved = await put_right(self._database, self._bounds, now)
        except StoreUnavailable as error:
            log.error("clock.not_put_right", detail=str(error))
            return
        self._stepped = self._untidy = False
        if moved:
            log.warning("clock.times_moved", **moved)
