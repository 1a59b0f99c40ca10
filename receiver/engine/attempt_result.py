"""What the end of an attempt means for its run, and the log line that tells of it.

Pure, and apart from the dispatcher: the line is written only after the store has taken the result, since a result that
comes too late is thrown away.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import structlog

from receiver.engine.outcome import Outcome
from receiver.errors import StoragePaused
from receiver.logs.fixed import EventLine
from receiver.model.redact import Redactor
from receiver.model.retry import RetryPolicy
from receiver.store.claims import Claim
from receiver.store.runs import RunResult
from receiver.store.states import RunState
from receiver.store.waiting_runs import AUDIO_STORAGE

MAX_ERROR_CHARACTERS = 2000
MAX_TRACE_CHARACTERS = 20_000


Log = structlog.typing.FilteringBoundLogger


class AttemptResult(NamedTuple):
    """The row to write, and what logs it once it is written."""

    row: RunResult
    report: Callable[[Log], None]


def run_fields(claim: Claim) -> dict[str, Any]:
    """What names a run in a line; source and job too where its event has been read."""
    event = claim.event
    named = {"event_id": claim.event_id, "handler": claim.handler, "attempt": claim.counted}
    return {"source": event["source"], "job": event["job_id"], **named} if event else named


@dataclass(frozen=True, slots=True)
class AttemptRules:
    """What decides about attempts, the same for all handlers.

    Attributes:
        owner: names this process in leases.
        backoff: each handler's own number of attempts replaces the policy's.
        redact: cuts secrets out of a text.
        succeeded: writes the line of a run that succeeded.
    """

    owner: str
    backoff: RetryPolicy
    redact: Redactor
    succeeded: EventLine

    def decide(self, claim: Claim, outcome: Outcome, ended: float, attempts: int, draw: float) -> AttemptResult:
        """Decide what an attempt's end means.

        Args:
            ended: unix seconds.
            attempts: the handler's.
            draw: uniform in [0, 1).
        """
        seconds = {"seconds": round(ended - claim.started, 3)}
        if outcome.word == "succeeded":
            row = RunResult(claim, self.owner, outcome.word, RunState.SUCCEEDED, ended, result=outcome.result)
            return AttemptResult(row, lambda log: self.succeeded(**(run_fields(claim) | seconds)))
        if outcome.word == "released":
            row = RunResult(
                claim, self.owner, outcome.word, RunState.PENDING, ended, due_at=ended, forgiven=1,
                crashes=claim.crashes,  # it has not shown yet that it does not end the process
            )  # fmt: skip
            return AttemptResult(row, lambda log: log.warning("run.given_back", **run_fields(claim), **seconds))
        error = self.redact.bounded(outcome.text, MAX_ERROR_CHARACTERS)
        wait = outcome.wait(self.backoff.limited_to(attempts), claim.counted, draw)
        fields: dict[str, Any] = {
            **run_fields(claim), "outcome": outcome.word, "error": error, **seconds, **self._trace(outcome),
        }  # fmt: skip
        if wait is None:
            row = RunResult(claim, self.owner, outcome.word, RunState.DEAD, ended, error=error)
            return AttemptResult(row, lambda log: log.error("run.dead", **fields))
        again_in = round(wait, 1)
        due_at = ended + wait
        if not outcome.counts:
            row = RunResult(
                claim, self.owner, outcome.word, RunState.PENDING, ended, due_at=due_at, forgiven=1, error=error,
                waits_for=AUDIO_STORAGE if isinstance(outcome.error, StoragePaused) else None,
            )  # fmt: skip
            named = {**run_fields(claim), "error": error, "again_in": again_in}
            return AttemptResult(row, lambda log: log.info("run.postponed", **named))
        row = RunResult(claim, self.owner, outcome.word, RunState.PENDING, ended, due_at=due_at, error=error)
        return AttemptResult(row, lambda log: log.warning("run.failed", again_in=again_in, **fields))

    def _trace(self, outcome: Outcome) -> dict[str, str]:
        if not outcome.trace:
            return {}
        text = self.redact(outcome.trace)
        if len(text) > MAX_TRACE_CHARACTERS:
            text = f"{text[: MAX_TRACE_CHARACTERS // 2]}\n  […]\n{text[-MAX_TRACE_CHARACTERS // 2 :]}"
        return {"exception": text}
