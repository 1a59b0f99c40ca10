"""Recovers runs whose process ended without a result: they start again, suspects one at a time (docs/adr/0042).

The dispatcher passes the runs whose leases have expired. The rule is in `receiver.model.crashes`.
"""

from __future__ import annotations

import random
from collections.abc import Iterable

import structlog

from receiver.engine.plugins import Registry
from receiver.errors import StoreUnavailable
from receiver.model.crashes import CrashDecision, after_crash
from receiver.model.retry import RetryPolicy
from receiver.store import claims, runs
from receiver.store.claims import Claim
from receiver.store.database import Database
from receiver.store.runs import RunResult
from receiver.store.states import RunState
from receiver.telemetry.hooks import Telemetry

log = structlog.get_logger("receiver.dispatch")


class CrashedRuns:
    """Makes runs of dead processes due again.

    Args:
        backoff: the waits of suspects; each handler's own number of attempts replaces the policy's.
    """

    def __init__(
        self,
        database: Database,
        registry: Registry,
        *,
        backoff: RetryPolicy,
        telemetry: Telemetry,
        rng: random.Random,
    ) -> None:
        self._database = database
        self._registry = registry
        self._backoff = backoff
        self._telemetry = telemetry
        self._rng = rng

    async def recover_expired(self, now: float) -> bool:
        """Recover runs whose process let their lease expire. Whether there were any.

        Raises:
            StoreUnavailable: not all were recovered.
        """
        if not await self._database.read(claims.has_expired, now):
            return False
        if released := await self._database.write(claims.release_expired, now):
            log.info("dispatch.claims_released", runs=released)
        await self.recover(await self._database.read(claims.expired, now), now)
        return True

    async def recover(self, crashed: Iterable[tuple[Claim, str]], now: float) -> None:
        """Make each run due again, or a dead letter. Runs that have ended since, or that another process holds, stay.

        Args:
            crashed: each run with the lease owner, which names the dead process.
            now: unix seconds.

        Raises:
            StoreUnavailable: not all were written; the others are still held by their owner.
        """
        decided = [(claim, owner, self._decide(claim)) for claim, owner in crashed]
        results = [_finish(claim, owner, after, now) for claim, owner, after in decided]
        written = [self._database.batch(runs.finish, result) for result in results]
        for (claim, owner, after), result, held in zip(decided, results, written, strict=True):
            try:
                was_held = await held
            except StoreUnavailable:  # the answer to the commit may be lost: what is stored is recognised
                was_held = await self._database.batch(runs.finish, result)
            if was_held:
                self._telemetry.run_crashed(claim, owner, after)

    def _decide(self, claim: Claim) -> CrashDecision:
        active = self._registry.active.get(claim.handler)
        policy = self._backoff if active is None else self._backoff.limited_to(active.handler.attempts)
        return after_crash(policy, claim.crashes, claim.counted, self._rng.random())


def _finish(claim: Claim, owner: str, after: CrashDecision, now: float) -> RunResult:
    return RunResult(
        claim,
        owner,
        "crashed",
        RunState.DEAD if after.wait is None else RunState.PENDING,
        now,
        # Without a wait it keeps its position among the due runs: those that ran together start together.
        due_at=now + after.wait if after.wait else min(claim.due_at, now),
        forgiven=0 if after.counts else 1,
        error=_sentence(after),
        error_kind="crashed",
        crashes=after.crashes,
    )


def _sentence(after: CrashDecision) -> str:
    if after.wait is None:
        return f"The process ended {after.crashes} times in a row while this ran. The attempts are used up."
    if after.suspect:
        return (
            f"The process ended {after.crashes} times in a row while this ran. It is a suspect: it waits until no "
            "other suspect runs."
        )
    return "The process ended while this ran. The attempt does not count."
