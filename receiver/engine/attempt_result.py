"""Decides the result of an attempt: the new state of its run. Pure, unlike the dispatcher."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from receiver.engine.executions import FinishedAttempt
from receiver.engine.outcome import Outcome
from receiver.errors import StoragePaused
from receiver.model.error_kind import as_word
from receiver.model.redact import Redactor
from receiver.model.retry import RetryPolicy
from receiver.model.tracebacks import innermost
from receiver.store.claims import Claim
from receiver.store.runs import RunResult
from receiver.store.states import RunState
from receiver.store.waiting_runs import AUDIO_STORAGE

MAX_ERROR_CHARACTERS = 2000
MAX_TRACE_CHARACTERS = 20_000


class AttemptResult(NamedTuple):
    """How an attempt ended.

    Attributes:
        row: what to write.
        seconds: from the start until the handler had ended.
        trace: the traceback, without secrets; empty if the result needs none.
    """

    row: RunResult
    seconds: float
    trace: str = ""


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

    def decide(self, ended: FinishedAttempt, at: float, attempts: int, jitter: float) -> AttemptResult:
        """Decide the result of an attempt.

        Args:
            at: when it ended, unix seconds.
            attempts: the handler's.
            jitter: a random number in [0, 1).
        """
        trace = self.redact(ended.outcome.trace) if ended.outcome.trace else ""
        row = self._row(ended.claim, ended.outcome, at, attempts, jitter, trace)
        if len(trace) > MAX_TRACE_CHARACTERS:
            trace = f"{trace[: MAX_TRACE_CHARACTERS // 2]}\n  […]\n{trace[-MAX_TRACE_CHARACTERS // 2 :]}"
        return AttemptResult(row, ended.seconds, trace)

    def _row(self, claim: Claim, outcome: Outcome, at: float, attempts: int, jitter: float, trace: str) -> RunResult:
        if outcome.word == "succeeded":
            return RunResult(claim, self.owner, outcome.word, RunState.SUCCEEDED, at, result=outcome.result)
        if outcome.word == "released":
            return RunResult(
                claim, self.owner, outcome.word, RunState.PENDING, at, due_at=at, forgiven=1,
                crashes=claim.crashes,  # unchanged: it did not finish, so it may still crash the process
            )  # fmt: skip
        wait = outcome.wait(self.backoff.limited_to(attempts), claim.counted, jitter)
        counts = wait is None or outcome.counts
        return RunResult(
            claim, self.owner, outcome.word, RunState.DEAD if wait is None else RunState.PENDING, at,
            due_at=None if wait is None else at + wait,
            forgiven=0 if counts else 1,
            error=self.redact.bounded(outcome.text, MAX_ERROR_CHARACTERS),
            waits_for=AUDIO_STORAGE if not counts and isinstance(outcome.error, StoragePaused) else None,
            error_kind=as_word(self.redact(outcome.kind)),
            reason=None if outcome.reason is None else as_word(self.redact(outcome.reason)),
            traceback=innermost(trace) if trace else None,
        )  # fmt: skip
