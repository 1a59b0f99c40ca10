"""Put a job's end through the inbox and end the job, in one transaction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pydantic_core
from sqlalchemy import Connection

from receiver.engine.jobs.source import JobContext, log
from receiver.model.delivery import Delivery, Parsed
from receiver.model.event import FAILED, Origin
from receiver.model.ids import event_id
from receiver.store import inbox, job_leases
from receiver.store.inbox import Receipt
from receiver.store.job_leases import JobClaim
from receiver.store.states import JobState


class JobCompletion:
    """Ends jobs of one source."""

    def __init__(self, deps: JobContext) -> None:
        self._deps = deps

    def build_delivery(self, claim: JobClaim, job_id: str, parsed: Parsed, body: bytes, origin: Origin) -> Delivery:
        """The end as a delivery, such as a webhook would have brought."""
        now = self._deps.clock.now()
        return Delivery(
            event_id=event_id(now, self._deps.rng.getrandbits(74)),
            source=claim.source,
            type=parsed.type,
            key=job_id,
            job_id=job_id,
            origin=origin.value,
            payload=pydantic_core.to_json(_add_metadata(parsed.payload, claim.request)).decode(),
            body=body,
            headers="[]",
            key_id=None,
            skew=None,
            received_at=now,
            handlers=self._deps.handlers_for(parsed.type),
        )

    async def complete(self, claim: JobClaim, parsed: Parsed, body: bytes, state: JobState, *, polls: int) -> None:
        """A watched job has ended.

        Args:
            body: the provider's answer; empty where nothing was asked.
            polls: how many answers it took: 1 or 0.
        """
        delivery = self.build_delivery(claim, claim.job_id or "", parsed, body, Origin.POLL)
        receipt = await self._deps.database.write(
            lambda connection: store_completion(connection, claim, state, delivery, polls=polls)
        )
        if receipt is not None:
            self.report(claim, delivery, receipt, polls=claim.polls + polls)

    def report(self, claim: JobClaim, delivery: Delivery, receipt: Receipt, *, polls: int) -> None:
        """After the commit: say it, count it, and wake the handlers."""
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
            deps.metrics.events.labels(claim.source, delivery.type, delivery.origin).inc()
            if delivery.origin == Origin.POLL.value and deps.source.receives_webhooks:
                deps.metrics.recovered.labels(claim.source).inc()
        if not receipt.duplicate or receipt.released:
            deps.wake()
        deps.changed(claim.id)


def store_completion(
    connection: Connection, claim: JobClaim, state: JobState, delivery: Delivery, *, polls: int
) -> Receipt | None:
    """End a watched job, and take the event in that says so; None if the job is not ours to end."""
    held = job_leases.complete(connection, claim, state, delivery.received_at, delivery.event_id, polls=polls)
    if not held and not job_leases.was_completed_by_event(connection, claim):
        return None  # somebody else polls it now, or it is watched no longer
    (receipt,) = inbox.accept(connection, [delivery])
    if held and receipt.duplicate:
        job_leases.set_event(connection, claim.id, receipt.event_id)
    return receipt


def failed_event(job_id: str, code: str, message: str) -> Parsed:
    """The end of a job of which the provider will not tell one."""
    return Parsed(FAILED, job_id, {"status": "failed", "error": {"code": code, "message": message}})


def _add_metadata(payload: Mapping[str, Any], request: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """What was given with the submit comes back with the end, also where the service does not keep it."""
    given = (request or {}).get("metadata")
    return payload if not given or payload.get("metadata") else {**payload, "metadata": given}
