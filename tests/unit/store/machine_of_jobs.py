"""Random work on jobs, beside that on events and runs: submits, polls, and what an operator does with them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant

from receiver.engine.jobs.completion import store_completion
from receiver.model.ids import new_job_id
from receiver.store import job_leases, jobs, prune
from receiver.store.job_leases import JobClaim
from receiver.store.jobs import ClientKeyReused, NewJob
from receiver.store.leases import Lease
from receiver.store.states import JobState
from tests.unit.store.machine import JOB_IDS, LEASE, SOURCES, RunRules, step
from tests.unit.store.model_of_jobs import Job

ALLOWED = 100.0
POLL = 7.0
UNLIMITED = 1000
ENDS = [
    (JobState.COMPLETED, "job.completed"),
    (JobState.FAILED, "job.failed"),
    (JobState.EXPIRED, "job.failed"),
]


class StoreMachine(RunRules):
    """Events, runs and jobs."""

    def has_job(self, *states: str) -> bool:
        return any(job.state in states for job in self.model.jobs.rows.values())

    def job_id(self, data: Any) -> str:
        return str(data.draw(st.sampled_from(JOB_IDS), "provider's id"))

    def any_job(self, data: Any) -> str:
        return str(data.draw(st.sampled_from([*self.model.jobs.rows]), "job"))

    # an operator and clients

    @step(
        source=st.sampled_from(SOURCES),
        text=st.sampled_from(["Hello.", "Bye."]),
        client_key=st.sampled_from([None, None, "k1", "k2"]),
    )
    def submit(self, data: Any, source: str, text: str, client_key: str | None) -> None:
        id = new_job_id(self.now, self.number())
        deadline = self.now + ALLOWED
        new = NewJob(
            id=id, source=source, request={"text": text}, submit_key=id, client_key=client_key, now=self.now,
            deadline_at=deadline,
        )  # fmt: skip
        expected = self.model.jobs.enqueue(Job(id, source, None, "submitting", self.now, deadline, text, client_key))
        if expected is None:
            with pytest.raises(ClientKeyReused):
                self.transact(jobs.enqueue, new)
            return
        row, is_new = self.transact_again(jobs.enqueue, new)
        assert (row["id"], is_new) == expected

    @step(source=st.sampled_from(SOURCES))
    def watch(self, data: Any, source: str) -> None:
        id, job_id = new_job_id(self.now, self.number()), self.job_id(data)
        first_at, deadline = self.now + POLL, self.now + ALLOWED
        row, is_new = self.transact(jobs.watch, id, source, job_id, self.now, first_at, deadline)
        end = self.model.end_of(source, job_id)
        expected = self.model.jobs.watch(Job(id, source, job_id, "watching", first_at, deadline), end)
        assert (row["id"], is_new) == expected

    @step(lambda self: self.has_job("unknown"))
    def adopt(self, data: Any) -> None:
        unknown = [job.id for job in self.model.jobs.rows.values() if job.state in ("unknown", "watching")]
        id, job_id = data.draw(st.sampled_from(unknown), "job"), self.job_id(data)
        deadline = self.now + ALLOWED
        row = self.transact(jobs.adopt, id, job_id, self.now, deadline)
        end = self.model.end_of(self.model.jobs.rows[id].source, job_id)
        assert (row is not None) == self.model.jobs.adopt(id, job_id, self.now, deadline, end)

    @step(lambda self: self.has_job("submitting", "watching", "unknown"))
    def cancel_job(self, data: Any) -> None:
        id = self.any_job(data)
        assert self.transact(jobs.cancel, id, self.now) == self.model.jobs.cancel(id, self.now)

    @step(lambda self: self.model.jobs.rows)
    def poll_now(self, data: Any) -> None:
        job = self.model.jobs.rows[self.any_job(data)]
        is_open = job.state in ("submitting", "watching")
        assert self.transact(jobs.poll_now, job.id, self.now) == is_open
        job.due_at = self.now if is_open else job.due_at

    @step(lambda self: self.model.jobs.prunable(self.now, set(self.model.events)), age=st.sampled_from([0.0, 40.0]))
    def prune_jobs(self, data: Any, age: float) -> None:
        before = self.now - age
        page = self.database.query(prune.find_jobs, before, None, UNLIMITED)
        assert sorted(page.ids) == self.model.jobs.prunable(before, set(self.model.events))
        assert self.transact(prune.delete_jobs, before, page.ids) == len(page.ids)
        for id in page.ids:
            del self.model.jobs.rows[id]

    # processes

    def work(self, data: Any) -> None:
        super().work(data)
        actions: list[Any] = [None]
        if self.has_job("submitting", "watching"):
            actions.append(self.claim_jobs)
        if self.claims_of(JobState.SUBMITTING):
            actions += [self.submit_request] * 2
        if self.claims_of(JobState.WATCHING):
            actions += [self.poll_that_is_running, self.poll_that_has_ended]
        action = data.draw(st.sampled_from(actions), "work on jobs")
        if action is not None:
            action(data)

    def claim_jobs(self, data: Any) -> None:
        source, limit = data.draw(st.sampled_from(SOURCES)), data.draw(st.sampled_from([1, 2, 4]))
        one = self.process(data)
        lease = Lease(one.owner, self.now + LEASE)
        found = self.transact(job_leases.claim, source, limit, self.now, lease)
        self.model.jobs.claim(source, limit, self.now, lease, found)
        one.jobs += found

    @step(
        lambda self: self.has_job("watching"),
        source=st.sampled_from(SOURCES),
        job_ids=st.sets(st.sampled_from(JOB_IDS)),
    )
    def claim_named_jobs(self, data: Any, source: str, job_ids: set[str]) -> None:
        one = self.process(data)
        lease = Lease(one.owner, self.now + LEASE)
        named = [self.model.jobs.named(source, job_id) for job_id in sorted(job_ids)]
        free = [job.id for job in named if job and job.state == "watching" and job.is_free(self.now)]
        found = self.transact(job_leases.claim_named, source, sorted(job_ids), self.now, lease)
        assert sorted(claim.id for claim in found) == sorted(free)
        self.model.jobs.mark_claimed(found, lease)
        one.jobs += found

    def claims_of(self, state: JobState) -> list[JobClaim]:
        """The claims in this state, first those whose process may have lost them."""
        held = [*self.stale_jobs, *(claim for one in self.processes for claim in one.jobs)]
        return [claim for claim in held if claim.state is state]

    def take(self, data: Any, state: JobState) -> JobClaim:
        """A claim in this state whose request is over."""
        claim: JobClaim = data.draw(st.sampled_from(self.claims_of(state)), "claim")
        for one in self.processes:
            if claim in one.jobs:
                one.jobs.remove(claim)
                self.keep_stale_jobs([claim])
        return claim

    def submit_request(self, data: Any) -> None:
        """A request to submit, from before it is sent until its response is stored."""
        how = data.draw(st.sampled_from(["accepted", "accepted", "refused", "late", "failed", "unknown", "not"]))
        claim = self.take(data, JobState.SUBMITTING)
        at, deadline = self.now + POLL, self.now + ALLOWED
        if how == "not":
            self.expect(claim, self.transact(job_leases.release, claim, at, self.now), due_at=at, free=True)
            return
        self.expect(claim, self.transact_again(job_leases.begin_submit, claim), submits=claim.submits + 1)
        if how == "accepted":
            job_id = self.job_id(data)
            row = self.transact_again(job_leases.mark_submitted, claim, job_id, self.now, at, deadline)
            end = self.model.end_of(claim.source, job_id)
            assert (row is not None) == self.model.jobs.submitted(claim, job_id, at, deadline, self.now, end)
        elif how in ("refused", "late"):
            refused = how == "refused"
            held = self.transact_again(
                lambda c: job_leases.reschedule_submit(c, claim, at, self.now, how, "Why.", refused=refused)
            )
            submits = claim.submits + (not refused)
            self.expect(claim, held, submits=submits, due_at=at, error_code=how, free=True)
        else:
            held = self.transact(job_leases.mark_not_submitted, claim, JobState(how), self.now, how, "Why.")
            self.expect(claim, held, state=how, ended_at=self.now, error_code=how, free=True)

    def expect(self, claim: JobClaim, held: bool, *, free: bool = False, **values: Any) -> None:
        """The write had an effect if the claim held the job, and none if not."""
        job = self.model.jobs.held(claim)
        assert held == (job is not None)
        if job is not None:
            for name, value in values.items():
                setattr(job, name, value)
            if free:
                job.free()

    def poll_that_is_running(self, data: Any) -> None:
        misses = data.draw(st.sampled_from([0, 1]))
        claim = self.take(data, JobState.WATCHING)
        at = self.now + POLL
        held = self.transact_again(lambda c: job_leases.reschedule(c, claim, at, self.now, misses=misses))
        self.expect(claim, held, due_at=at, polls=claim.polls + 1, misses=misses, error_code=None, free=True)

    def poll_that_has_ended(self, data: Any) -> None:
        state, type = data.draw(st.sampled_from(ENDS))
        claim = self.take(data, JobState.WATCHING)
        item = self.delivery(data, job_id=claim.job_id, source=claim.source, type=type, origin="poll")
        receipt = self.transact(lambda c: store_completion(c, claim, state, item, polls=1))
        if receipt is not None and not receipt.duplicate:
            assert self.transact(lambda c: store_completion(c, claim, state, item, polls=1)) == receipt
        job = self.model.jobs.held(claim)
        known = self.model.jobs.rows.get(claim.id)
        if job is not None:
            job.finish(str(state), self.now, item.event_id)
            job.polls = claim.polls + 1
        elif not (known and known.claim == claim.claim and known.state in ("completed", "failed")):
            assert receipt is None
            return
        self.expect_accepted([item], UNLIMITED, [receipt])
        if job is not None and receipt is not None:
            job.event_id = receipt.event_id

    @invariant()
    def no_job_is_watched_whose_end_is_known(self) -> None:
        for job in self.model.jobs.rows.values():
            assert job.state != "watching" or self.model.end_of(job.source, job.job_id or "") is None
