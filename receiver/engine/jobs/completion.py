"""Completes jobs: one transaction ends the job and stores its event in the inbox."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pydantic_core
from sqlalchemy import Connection

from receiver.engine.jobs.source import JobContext, log
from receiver.model.charge import read_charge
from receiver.model.delivery import Delivery, Parsed
from receiver.model.event import FAILED, Origin
from receiver.model.ids import event_id
from receiver.model.metadata import indexed_pairs
from receiver.store import inbox, job_leases
from receiver.store.inbox import Receipt
from receiver.store.job_leases import JobClaim
from receiver.store.states import JobState


class JobCompletion:
    """Completes jobs of one source."""

    def __init__(self, deps: JobContext) -> None:
        self._deps = deps

    def build_delivery(self, claim: JobClaim, job_id: str, parsed: Parsed, body: bytes, origin: Origin) -> Delivery:
        """Return the job's end as a delivery, as a webhook would have sent it."""
        deps = self._deps
        now = deps.clock.now()
        payload = _add_metadata(parsed.payload, claim.request)
        return Delivery(
            event_id=event_id(now, deps.rng.getrandbits(74)),
            source=claim.source,
            type=parsed.type,
            key=job_id,
            job_id=job_id,
            origin=origin.value,
            payload=pydantic_core.to_json(payload).decode(),
            body=body,
            headers="[]",
            key_id=None,
            skew=None,
            received_at=now,
            handlers=deps.handlers_for(parsed.type, claim.source, payload),
            handlers_for=deps.handlers_for,
            indexed=indexed_pairs(payload.get("metadata"), deps.source.metadata_keys),
        )

    async def complete(self, claim: JobClaim, parsed: Parsed, body: bytes, state: JobState, *, polls: int) -> None:
        """Complete a watched job.

        Args:
            body: the provider's response; empty if there was none.
            polls: how many polls to add to the job's count: 1 or 0.
        """
        delivery = self.build_delivery(claim, claim.job_id or "", parsed, body, Origin.POLL)

        def report(outcome: Receipt | BaseException | None) -> None:
            if isinstance(outcome, Receipt):
                self.report(claim, delivery, outcome, polls=claim.polls + polls)

        report(
            await self._deps.store_result(
                lambda connection: store_completion(connection, claim, state, delivery, polls=polls),
                lambda error: log.error("poll.not_stored", source=claim.source, job=claim.job_id, detail=str(error)),
                report,
            )
        )

    def report(self, claim: JobClaim, delivery: Delivery, receipt: Receipt, *, polls: int) -> None:
        """After the commit: log it, count it, and wake the dispatcher."""
        deps = self._deps
        log.info(
            "job.ended",
            source=claim.source,
            event_id=receipt.event_id,
            job=delivery.job_id,
            type=delivery.type,
            polls=polls,
        )
        if not receipt.duplicate:
            deps.telemetry.event_stored(delivery)
        if not receipt.duplicate or receipt.released:
            deps.wake()
        deps.changed(claim.id)


def store_completion(
    connection: Connection, claim: JobClaim, state: JobState, delivery: Delivery, *, polls: int
) -> Receipt | None:
    """End a watched job and store its event; None if this process no longer holds the job."""
    charge = read_charge(json.loads(delivery.payload))
    held = job_leases.complete(connection, claim, state, delivery.received_at, delivery.event_id, charge, polls=polls)
    if not held and not job_leases.was_completed_by_event(connection, claim, delivery.event_id):
        return None  # another process polls it now, or it is no longer watched
    (receipt,) = inbox.accept(connection, [delivery])
    if held and receipt.duplicate:
        job_leases.set_event(connection, claim.id, receipt.event_id)
    return receipt


def failed_event(job_id: str, code: str, message: str) -> Parsed:
    """The end of a job for which the provider reports none."""
    return Parsed(FAILED, job_id, {"status": "failed", "error": {"code": code, "message": message}})


def _add_metadata(payload: Mapping[str, Any], request: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Add the submitted `metadata` to the payload if the service does not return it."""
    submitted = (request or {}).get("metadata")
    return payload if not submitted or payload.get("metadata") else {**payload, "metadata": submitted}
