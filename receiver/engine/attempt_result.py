"""What the end of an attempt means for its run, and the log line that tells of it.

Pure, and apart from the dispatcher: the line is written only after the store has taken the result, since a result that
comes too late is thrown away.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog

from receiver.engine.outcome import Outcome
from receiver.errors import StoragePaused
from receiver.model.redact import Redactor
from receiver.model.retry import RetryPolicy
from receiver.store.runs import Claim, Finish
from receiver.store.states import RunState
from receiver.store.waiting_runs import AUDIO_STORAGE

MAX_ERROR_CHARACTERS = 2000
MAX_TRACE_CHARACTERS = 20_000


Log = structlog.typing.FilteringBoundLogger


@dataclass(frozen=True, slots=True)
class AttemptResult:
    """The row to write, and what logs it once it is written."""

    finish: Finish
    report: Callable[[Log], None]


@dataclass(frozen=True, slots=True)
class AttemptRules:
    """What decides about attempts, the same for all handlers.

    Attributes:
        owner: names this process in leases.
        backoff: each handler's own number of attempts replaces the policy's.
        redact: cuts secrets out of a text.
    """

    owner: str
    backoff: RetryPolicy
    redact: Redactor

    def decide(self, claim: Claim, outcome: Outcome, ended: float, attempts: int, chance: float) -> AttemptResult:
        """Decide what an attempt's end means.

        Args:
            ended: unix seconds.
            attempts: the handler's.
            chance: uniform in [0, 1).
        """
        seconds = {"seconds": round(ended - claim.started, 3)}
        if outcome.word == "succeeded":
            finish = Finish(claim, self.owner, outcome.word, RunState.SUCCEEDED, ended, result=outcome.result)
            return AttemptResult(finish, lambda log: log.info("run.succeeded", **seconds))
        if outcome.word == "released":
            finish = Finish(
                claim, self.owner, outcome.word, RunState.PENDING, ended, due_at=ended, forgiven=1,
                crashes=claim.crashes,  # it has not shown yet that it does not end the process
            )  # fmt: skip
            return AttemptResult(finish, lambda log: log.warning("run.given_back", **seconds))
        error = self.redact.bounded(outcome.text, MAX_ERROR_CHARACTERS)
        wait = outcome.wait(self.backoff.limited_to(attempts), claim.counted, chance)
        fields: dict[str, Any] = {"outcome": outcome.word, "error": error, **seconds, **self._trace(outcome)}
        if wait is None:
            finish = Finish(claim, self.owner, outcome.word, RunState.DEAD, ended, error=error)
            return AttemptResult(finish, lambda log: log.error("run.dead", **fields))
        again_in = round(wait, 1)
        due_at = ended + wait
        if not outcome.counts:
            finish = Finish(
                claim, self.owner, outcome.word, RunState.PENDING, ended, due_at=due_at, forgiven=1, error=error,
                waits_for=AUDIO_STORAGE if isinstance(outcome.error, StoragePaused) else None,
            )  # fmt: skip
            return AttemptResult(finish, lambda log: log.info("run.postponed", error=error, again_in=again_in))
        finish = Finish(claim, self.owner, outcome.word, RunState.PENDING, ended, due_at=due_at, error=error)
        return AttemptResult(finish, lambda log: log.warning("run.failed", again_in=again_in, **fields))

    def _trace(self, outcome: Outcome) -> dict[str, str]:
        if not outcome.trace:
            return {}
        text = self.redact(outcome.trace)
        if len(text) > MAX_TRACE_CHARACTERS:
            text = f"{text[: MAX_TRACE_CHARACTERS // 2]}\n  […]\n{text[-MAX_TRACE_CHARACTERS // 2 :]}"
        return {"exception": text}
