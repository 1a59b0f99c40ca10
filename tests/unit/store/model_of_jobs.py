"""What the store should do with jobs, in plain Python, as `model_of_runs` for events and runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from receiver.store.job_leases import JobClaim


class EndEvent(Protocol):
    """A dispatched event that reports a job's end."""

    id: str
    type: str
    received_at: float


@dataclass
class Job:
    """A job. `text` is what is to be spoken; None for a job that was submitted elsewhere."""

    id: str
    source: str
    job_id: str | None
    state: str
    due_at: float
    deadline_at: float
    text: str | None = None
    client_key: str | None = None
    claim: int = 0
    lease_until: float | None = None
    lease_owner: str | None = None
    submits: int = 0
    polls: int = 0
    misses: int = 0
    ended_at: float | None = None
    event_id: str | None = None
    error_code: str | None = None

    def free(self) -> None:
        self.lease_owner = self.lease_until = None

    def finish(self, state: str, at: float, event_id: str | None = None) -> None:
        self.state, self.ended_at, self.event_id, self.error_code = state, at, event_id, None
        self.free()

    def watch(self, at: float, deadline_at: float) -> None:
        self.state, self.due_at, self.deadline_at, self.error_code = "watching", at, deadline_at, None

    def is_free(self, now: float) -> bool:
        return self.lease_until is None or self.lease_until < now


@dataclass
class ModelOfJobs:
    """Jobs by our id."""

    rows: dict[str, Job] = field(default_factory=dict)

    def named(self, source: str, job_id: str) -> Job | None:
        return next((job for job in self.rows.values() if (job.source, job.job_id) == (source, job_id)), None)

    def end(self, source: str, job_id: str, state: str, at: float, event_id: str) -> None:
        """An event reports the end of a job."""
        job = self.named(source, job_id)
        if job is not None and job.state == "watching":
            job.finish(state, at, event_id)

    def end_by(self, id: str, event: EndEvent | None) -> None:
        """A job begins to be watched whose event may be there already."""
        if event is not None:
            self.rows[id].finish(event.type.removeprefix("job."), event.received_at, event.id)

    # created, watched, cancelled

    def enqueue(self, job: Job) -> tuple[str, bool] | None:
        """The job's id, and whether it is new; None if the client's key belongs to another request."""
        if job.client_key is not None:
            for known in self.rows.values():
                if known.client_key == job.client_key:
                    same = (known.source, known.text) == (job.source, job.text)
                    return (known.id, False) if same else None
        self.rows[job.id] = job
        return job.id, True

    def watch(self, job: Job, event: EndEvent | None) -> tuple[str, bool]:
        known = self.named(job.source, job.job_id or "")
        if known is None:
            self.rows[job.id] = known = job
        elif known.state in ("cancelled", "expired"):
            known.watch(job.due_at, job.deadline_at)
            known.misses, known.ended_at, known.event_id = 0, None, None
        else:
            return known.id, False
        self.end_by(known.id, event)
        return known.id, True

    def adopt(self, id: str, job_id: str, now: float, deadline_at: float, event: EndEvent | None) -> bool:
        job = self.rows[id]
        other = self.named(job.source, job_id)
        if job.state != "unknown" or (other is not None and other.text is not None):
            return False
        if other is not None:
            del self.rows[other.id]
        job.watch(now, deadline_at)
        job.job_id, job.ended_at = job_id, None
        self.end_by(id, event)
        return True

    def cancel(self, id: str, now: float) -> bool:
        job = self.rows[id]
        unsent = job.state == "submitting" and job.lease_until is None and job.submits == 0
        if job.state not in ("watching", "unknown") and not unsent:
            return False
        job.state, job.ended_at = "cancelled", now
        job.free()
        return True

    # claims

    def claim(self, source: str, limit: int, now: float, lease: tuple[str, float], found: Sequence[JobClaim]) -> None:
        """Check the claims, and make them: first what is to be submitted; each kind the longest due first."""
        left = limit
        rest = [claim.id for claim in found]
        for state in ("submitting", "watching"):
            due = {
                job.id: job.due_at
                for job in self.rows.values()
                if job.source == source and job.state == state and job.due_at <= now and job.is_free(now)
            }
            size = min(left, len(due))
            taken, rest = rest[:size], rest[size:]
            left -= size
            assert sorted(due[id] for id in taken) == sorted(due.values())[:size]
        assert rest == []
        self.mark_claimed(found, lease)

    def mark_claimed(self, found: Sequence[JobClaim], lease: tuple[str, float]) -> None:
        for claim in found:
            job = self.rows[claim.id]
            job.claim += 1
            job.lease_owner, job.lease_until = lease
            shown = (claim.claim, claim.job_id, str(claim.state), claim.submits, claim.polls, claim.misses)
            assert shown == (job.claim, job.job_id, job.state, job.submits, job.polls, job.misses)

    def held(self, claim: JobClaim) -> Job | None:
        """The job, if the claim still holds it."""
        job = self.rows.get(claim.id)
        return job if job is not None and (job.claim, job.state) == (claim.claim, str(claim.state)) else None

    def end_leases(self, owner: str) -> int:
        held = [job for job in self.rows.values() if job.lease_owner == owner]
        for job in held:
            job.free()
        return len(held)

    # results of requests

    def submitted(self, claim: JobClaim, job_id: str, at: float, deadline_at: float, now: float, event: Any) -> bool:
        job = self.held(claim)
        if job is None:
            return False
        other = self.named(job.source, job_id)
        job.free()
        if other is not None and other.text is not None:
            job.state, job.ended_at, job.error_code = "failed", now, "same_job"
            return True
        if other is not None:
            del self.rows[other.id]
        job.watch(at, deadline_at)
        job.job_id = job_id
        self.end_by(job.id, event)
        return True

    def prunable(self, before: float, events: set[str]) -> list[str]:
        """Ended jobs without a stored event, but for those that an operator has to decide about."""
        old = [job for job in self.rows.values() if job.ended_at is not None and job.ended_at < before]
        return sorted(job.id for job in old if job.state != "unknown" and job.event_id not in events)
