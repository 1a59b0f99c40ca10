"""What `/readyz` reports: whether a delivery would be stored now, whether background tasks run, and what is paused.

The check of the store has a deadline and a minimum interval, because `/readyz` is public: it must neither wait behind
the deliveries nor cost a commit for each request.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from receiver.model.redact import Redactor
from receiver.store.database import Database

PROBE_SECONDS = 1.0
"""How old the last commit may be; also how far apart two probes are at least."""
DEADLINE_SECONDS = 1.0
"""How long a request waits for a probe."""
STARTING, READY, STOPPING = "starting", "ready", "stopping"


@dataclass(frozen=True, slots=True)
class Report:
    """Names of parts of the receiver, each with a sentence.

    Attributes:
        missing: why the receiver is not ready; empty if it is.
        paused: which kinds of work wait for the end of an outage; deliveries are still accepted.
    """

    missing: dict[str, str]
    paused: dict[str, str] = field(default_factory=dict)


class Readiness:
    """Answers `/readyz`.

    Attributes:
        state: `STARTING`, `READY` or `STOPPING`; set by `Receiver`.

    Args:
        max_waiting: writes that may wait for the store.
        alive: by the name of each background task, whether it still runs.
        paused: by the name of each kind of work, why it is paused; None if it is not.
    """

    def __init__(
        self,
        database: Database,
        redact: Redactor,
        *,
        max_waiting: int,
        alive: Mapping[str, Callable[[], bool]],
        paused: Mapping[str, Callable[[], str | None]],
    ) -> None:
        self._database = database
        self._redact = redact
        self.state = STARTING
        self._max_waiting = max_waiting
        self._alive = alive
        self._paused = paused
        self._probe: asyncio.Future[None] | None = None
        self._probed_at = float("-inf")

    async def report(self) -> Report:
        """The report now."""
        if self.state != READY:
            return Report({"receiver": f"is {self.state}"})
        missing = {}
        if (outage := await self._store_outage()) is not None:
            missing["store"] = outage
        if self._database.waiting >= self._max_waiting:
            missing["intake"] = "more deliveries wait for the store than server.max_waiting"
        missing |= {word: "has ended" for word, alive in self._alive.items() if not alive()}
        paused = {word: self._redact(cause) for word, why in self._paused.items() if (cause := why()) is not None}
        return Report(missing, paused)

    async def _store_outage(self) -> str | None:
        if not self._database.writing:
            return "The store's writer has ended: nothing can be stored. Restart the receiver."
        health = self._database.health
        if health.outage() is not None or time.monotonic() - health.committed_at >= PROBE_SECONDS:
            await self._wait_for_probe()
        outage = health.outage()
        return None if outage is None else self._redact(str(outage))

    async def _wait_for_probe(self) -> None:
        """Write a probe, unless one is being written or was recently; wait for it up to the deadline."""
        now = time.monotonic()
        if (self._probe is None or self._probe.done()) and now - self._probed_at >= PROBE_SECONDS:
            self._probe, self._probed_at = self._database.probe(), now
            self._probe.add_done_callback(lambda probe: probe.cancelled() or probe.exception())
        if self._probe is not None:
            await asyncio.wait([self._probe], timeout=max(0.0, self._probed_at + DEADLINE_SECONDS - now))
