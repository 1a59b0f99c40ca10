"""Writes the log lines of what the hooks report. Lines about anything else are written where it happens."""

from __future__ import annotations

from typing import Any

import structlog

from receiver.errors import ReceiverError, StoreUnavailable
from receiver.logs.event_line import EventLine
from receiver.model.crashes import CrashDecision
from receiver.model.delivery import Delivery
from receiver.store.artifacts import ArtifactRow
from receiver.store.claims import Claim
from receiver.store.inbox import Receipt
from receiver.store.runs import RunResult
from receiver.store.states import RunState
from receiver.telemetry.hooks import LEASE_LOST, Telemetry, Token

_intake = structlog.get_logger("receiver.intake")
_dispatch = structlog.get_logger("receiver.dispatch")
_jobs = structlog.get_logger("receiver.jobs")
_audio = structlog.get_logger("receiver.audio")


def run_fields(claim: Claim) -> dict[str, Any]:
    """What names a run in a line; source and job too where its event has been read."""
    event = claim.event
    named = {"event_id": claim.event_id, "handler": claim.handler, "attempt": claim.counted}
    return {"source": event["source"], "job": event["job_id"], **named} if event else named


class LogTelemetry(Telemetry):
    """Writes to the log of the process."""

    def __init__(self) -> None:
        self._stored: dict[tuple[str, str], EventLine] = {}
        self._succeeded = EventLine(_dispatch, "run.succeeded")

    # deliveries

    def delivery_stored(self, token: Token, delivery: Delivery, receipt: Receipt, outcome: str) -> None:
        """Write the line of the delivery, and of a conflict."""
        line = self._stored.get((delivery.source, outcome))
        if line is None:
            line = self._stored[delivery.source, outcome] = _delivery_line(delivery.source, outcome)
        line(receipt.event_id, {"type": delivery.type, "job": delivery.job_id, "key": delivery.key_id})
        if receipt.conflict:
            _intake.warning(
                "event.conflict",
                source=delivery.source,
                event_id=receipt.event_id,
                conflict=receipt.conflict,
                job=delivery.job_id,
            )

    def delivery_refused(
        self, token: Token, source: str, status: int | None, outcome: str | None, error: BaseException,
        client: str | None,
    ) -> None:  # fmt: skip
        """Write why; nothing if the work was cancelled."""
        if isinstance(error, StoreUnavailable):
            _intake.error("delivery.not_stored", source=source, outcome=outcome, detail=str(error))
        elif isinstance(error, ReceiverError):
            _intake.warning("delivery.refused", source=source, outcome=outcome, detail=str(error), client=client)
        elif outcome is not None:
            _intake.warning("delivery.refused", source=source, outcome=outcome, client=client)

    # runs

    def claim_ended(self, claim: Claim, reason: str) -> None:
        """Write that the lease was lost; nothing if the claim was released."""
        if reason == LEASE_LOST:
            _dispatch.warning("run.lease_lost", outcome="not_started", **run_fields(claim))

    def run_finished(self, token: Token, result: RunResult, seconds: float, trace: str) -> None:
        """Write how the attempt ended."""
        claim, took = result.claim, round(seconds, 3)
        if result.outcome == "succeeded" and claim.event:
            event = claim.event
            fields = {
                "source": event["source"], "job": event["job_id"], "handler": claim.handler, "attempt": claim.counted,
                "seconds": took,
            }  # fmt: skip
            self._succeeded(claim.event_id, fields)
            return
        fields = run_fields(claim)
        if result.outcome == "released":
            _dispatch.warning("run.released", **fields, seconds=took)
            return
        again_in = None if result.due_at is None else round(result.due_at - result.ended, 1)
        if result.outcome == "postponed":
            _dispatch.info("run.postponed", **fields, error=result.error, again_in=again_in)
            return
        why = {"outcome": result.outcome, "error_kind": result.error_kind, "error": result.error, "seconds": took}
        if result.reason is not None:
            why["reason"] = result.reason
        if trace:
            why["exception"] = trace
        if result.state == RunState.DEAD:
            _dispatch.error("run.dead", **fields, **why)
        else:
            _dispatch.warning("run.failed", again_in=again_in, **fields, **why)

    def run_discarded(self, token: Token, claim: Claim, outcome: str, seconds: float, reason: str) -> None:
        """Write that the lease was lost."""
        if reason == LEASE_LOST:
            _dispatch.warning("run.lease_lost", outcome=outcome, **run_fields(claim))

    def run_crashed(self, claim: Claim, owner: str, after: CrashDecision) -> None:
        """Write what the crash means for the run."""
        _dispatch.warning(
            "run.crashed",
            event_id=claim.event_id,
            handler=claim.handler,
            attempt=claim.counted,
            owner=owner,
            crashes=after.crashes,
            suspect=after.suspect,
            counts=after.counts,
            dead=after.wait is None,
            again_in=None if after.wait is None else round(after.wait, 1),
        )

    # jobs

    def job_submitted(self, source: str, own_id: str, outcome: str, error: BaseException | None) -> None:
        """Write the error, if there is one."""
        if error is not None:
            _jobs.warning("submit.failed", source=source, id=own_id, reason=outcome, detail=str(error))

    def submit_refused(self, source: str, error: ReceiverError) -> None:
        """Write why."""
        _jobs.warning("submit.refused", source=source, reason=error.reason, detail=str(error))

    def job_polled(self, source: str, job_id: str | None, outcome: str, error: BaseException | None) -> None:
        """Write the error, if there is one."""
        if error is None:
            return
        if job_id is None:
            _jobs.warning("history.failed", source=source, reason=outcome, detail=str(error))
        else:
            _jobs.warning("poll.failed", source=source, job=job_id, reason=outcome, detail=str(error))

    # audio

    def fetch_stored(self, token: Token, source: str, job_id: str, artifact: ArtifactRow) -> None:
        """Write where the file is."""
        _audio.info(
            "audio.stored",
            source=source,
            event_id=artifact.event_id,
            job=job_id,
            n=artifact.n,
            address=artifact.address,
            bytes=artifact.bytes,
            sha256=artifact.sha256,
            seconds=round(artifact.fetch_seconds, 3),
        )

    def fetch_failed(
        self, token: Token, source: str, event_id: str, job_id: str, n: int, seconds: float, reason: str | None,
        error: BaseException,
    ) -> None:  # fmt: skip
        """Write why, if anything was requested."""
        if reason is not None:
            _audio.warning(
                "audio.not_fetched", source=source, event_id=event_id, job=job_id, n=n, reason=reason, detail=str(error)
            )


def _delivery_line(source: str, outcome: str) -> EventLine:
    return EventLine(structlog.get_logger("receiver.intake", source=source), f"delivery.{outcome}")
