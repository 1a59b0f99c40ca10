"""What the store should do with events and runs, in plain Python: one process, one thread, no SQL.

Written from the documentation (docs/explanation), not from the statements. Where the store may choose, such as
between runs that are equally long due, the model does not predict: it checks what the store chose.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from receiver.model.crashes import after_crash
from receiver.model.retry import RetryPolicy
from receiver.store.claims import Claim, Claimed, ClaimRequest
from receiver.store.inbox import QUARANTINE_FULL, Receipt
from receiver.store.runs import RunResult
from tests.unit.store.model_of_jobs import ModelOfJobs
from tests.unit.store.model_rows import Event, Key, Run

ENDS = {"job.completed": "completed", "job.failed": "failed"}
OPPOSITE = {"job.completed": "job.failed", "job.failed": "job.completed"}
ENDED = ("succeeded", "dead", "cancelled")
CRASHES = RetryPolicy(attempts=2)
JITTER = 0.5


@dataclass
class ModelOfRuns:
    """Events in the order of their commits, their runs, and the jobs that they complete."""

    jobs: ModelOfJobs = field(default_factory=ModelOfJobs)
    events: dict[str, Event] = field(default_factory=dict)
    runs: dict[Key, Run] = field(default_factory=dict)

    # the inbox

    def accept(self, deliveries: Sequence[Any], max_quarantined: int) -> list[Receipt]:
        """The first of each identity becomes an event; then the others are counted."""
        refused = self._refused(deliveries, max_quarantined)
        taken = [item for item in deliveries if item.event_id not in refused]
        before = {id: event.status for id, event in self.events.items()}
        firsts = [item for item in taken if self._store(item)]
        receipts = []
        for item in deliveries:
            if item.event_id in refused:
                receipts.append(QUARANTINE_FULL)
            elif item in firsts:
                conflict = self.events[item.event_id].conflict
                receipts.append(Receipt(item.event_id, False, item.quarantined, conflict=conflict))
            else:
                receipts.append(self._count(item, before))
        return receipts

    def find(self, source: str, type: str, job_id: str) -> Event | None:
        for event in self.events.values():
            if (event.source, event.type, event.job_id) == (source, type, job_id):
                return event
        return None

    def _refused(self, deliveries: Sequence[Any], max_quarantined: int) -> set[str]:
        quarantined = [event.source for event in self.events.values() if event.status == "quarantined"]
        seen: set[tuple[str, str, str]] = set()
        refused = set()
        for item in deliveries:
            identity = item.source, item.type, item.key
            if identity in seen or self.find(*identity):
                continue
            if item.quarantined:
                if quarantined.count(item.source) >= max_quarantined:
                    refused.add(item.event_id)
                    continue
                quarantined.append(item.source)
            seen.add(identity)
        return refused

    def _store(self, item: Any) -> bool:
        if self.find(item.source, item.type, item.key):
            return False
        status = "quarantined" if item.quarantined else "accepted"
        event = Event(item.event_id, item.source, item.type, item.key, int(item.body), status, item.received_at)
        opposite = OPPOSITE.get(item.type)
        if opposite and self.find(item.source, opposite, item.key):
            event.conflict = "completed_and_failed"
        self.events[event.id] = event
        if not item.quarantined:
            self._dispatch(event, item.handlers, item.received_at)
        return True

    def _count(self, item: Any, before: Mapping[str, str]) -> Receipt:
        event = self.find(item.source, item.type, item.key)
        assert event is not None
        quarantined = before.get(event.id, event.status) == "quarantined"
        event.duplicates += 1
        differs = event.chars != int(item.body)
        if differs:
            event.conflict = event.conflict or "duplicate_differs"
        released = not item.quarantined and self.release(event.id, item.handlers, item.received_at)
        conflict = "duplicate_differs" if differs else None
        return Receipt(event.id, True, quarantined and item.quarantined, released, conflict)

    def release(self, event_id: str, handlers: Iterable[str], now: float) -> bool:
        event = self.events.get(event_id)
        if event is None or event.status != "quarantined":
            return False
        event.status = "accepted"
        self._dispatch(event, handlers, now)
        return True

    def _dispatch(self, event: Event, handlers: Iterable[str], now: float) -> None:
        for name in handlers:
            self.runs[event.id, name] = Run(now)
        if event.type in ENDS:
            self.jobs.end(event.source, event.job_id, ENDS[event.type], event.received_at, event.id)

    def end_of(self, source: str, job_id: str) -> Event | None:
        """The first dispatched event that reports the job's end."""
        found = [self.find(source, type, job_id) for type in ENDS]
        return min((event for event in found if event and event.status == "accepted"), key=lambda e: e.id, default=None)

    # claims

    def claim(self, request: ClaimRequest, answer: Claimed) -> None:
        """Check what was claimed and started, and do the same."""
        free = request.free.copy()
        new = [self._begin(claim, request) for claim in self._checked_suspect(request, answer)]
        for claim in new:
            free.take(claim.handler, 1)
        suspects = {claim.key for claim in new}
        lost = {claim.key for claim in answer.lost}
        left = {name: list(claims) for name, claims in answer.prefetched.items()}
        for name in free.handlers:
            pool = list(request.prefetched.get(name, ()))
            found = [claim for claim in answer.new if claim.handler == name and claim.key not in suspects]
            waiting = self._checked_due(name, found, request)
            for claim in found:
                self._begin(claim, request)
            pool += found
            slots = free.available(name)
            starting, rest = pool[:slots], pool[slots:]
            assert [claim.key for claim in left.get(name, [])] == [claim.key for claim in rest]
            assert not waiting or len(pool) >= slots, "a slot stays free although a run is due"
            for claim in starting:
                held = self.runs.get(claim.key[:2], Run(0)).held_by(claim, request.lease.owner)
                assert (claim.key in lost) == (not held)
                if held:
                    new.append(claim)
                    self.runs[claim.key[:2]].started_at = request.now
            free.take(name, len(starting))
        assert sorted(claim.key for claim in answer.started) == sorted(claim.key for claim in new)
        for claim in answer.started:
            event, run = self.events[claim.event_id], self.runs[claim.key[:2]]
            assert (claim.started, claim.counted) == (request.now, run.attempt - run.forgiven)
            assert claim.event["job_id"] == event.job_id
            assert claim.event["payload"] == {"chars_charged": event.chars}
        assert answer.due_at == self._next_due([name for name in free.startable() if not left.get(name)])

    def _checked_suspect(self, request: ClaimRequest, answer: Claimed) -> list[Claim]:
        candidates = [
            run
            for (_, name), run in self.runs.items()
            if run.suspect and run.state == "pending" and run.due_at <= request.now and request.free.available(name)
        ]
        running = any(run.suspect and run.state == "running" for run in self.runs.values())
        found = [claim for claim in answer.new if self.runs[claim.key[:2]].suspect]
        assert len(found) == (1 if candidates and not running else 0), "of all suspects one runs at a time"
        for claim in found:
            assert self.runs[claim.key[:2]].due_at == min(run.due_at for run in candidates)
        return found

    def _checked_due(self, handler: str, found: Sequence[Claim], request: ClaimRequest) -> list[Run]:
        """The due runs of the handler that were not claimed; those that were have been due longer."""
        due = {
            key: run
            for key, run in self.runs.items()
            if key[1] == handler and run.state == "pending" and not run.suspect and run.due_at <= request.now
        }
        keys = [claim.key[:2] for claim in found]
        assert len(set(keys)) == len(keys)
        assert set(keys) <= set(due), "only due runs are claimed"
        waiting = [run for key, run in due.items() if key not in keys]
        assert all(due[key].due_at <= run.due_at for key in keys for run in waiting), "the longest due is first"
        return waiting

    def _begin(self, claim: Claim, request: ClaimRequest) -> Claim:
        run = self.runs[claim.key[:2]]
        assert run.state == "pending"
        run.state, run.waits_for = "running", None
        run.attempt += 1
        run.lease_owner, run.lease_until = request.lease
        run.started_at = request.now if run.suspect or not request.wanted.get(claim.handler) else None
        assert (claim.attempt, claim.crashes, claim.due_at) == (run.attempt, run.crashes, run.due_at)
        return claim

    def _next_due(self, handlers: Collection[str]) -> float | None:
        of_suspects = not any(run.suspect and run.state == "running" for run in self.runs.values())
        return min(
            (
                run.due_at
                for (_, name), run in self.runs.items()
                if name in handlers and run.state == "pending" and (of_suspects or not run.suspect)
            ),
            default=None,
        )

    def release_claims(self, claims: Iterable[Claim], owner: str) -> None:
        """Claims that did not start: no attempt is lost."""
        for claim in claims:
            run = self.runs.get(claim.key[:2])
            if run is not None and run.held_by(claim, owner):
                run.free("pending")
                run.forgiven += 1

    def extend(self, claims: Iterable[Claim], owner: str, until: float) -> list[tuple[str, str, int]]:
        """The keys of those that were lost."""
        lost = []
        for claim in claims:
            run = self.runs.get(claim.key[:2])
            if run is not None and run.held_by(claim, owner):
                run.lease_until = until
            else:
                lost.append(claim.key)
        return lost

    # results

    def finish(self, results: Iterable[RunResult]) -> list[bool]:
        return [self._finish(item) for item in results]

    def _finish(self, item: RunResult) -> bool:
        run = self.runs.get(item.claim.key[:2])
        if run is None or not run.held_by(item.claim, item.owner):
            return False
        run.free(str(item.state))
        run.due_at = item.claim.due_at if item.due_at is None else item.due_at
        run.finished_at = None if item.state == "pending" else item.ended
        run.forgiven += item.forgiven
        run.crashes, run.result, run.waits_for = item.crashes, item.result, item.waits_for
        run.error_kind, run.reason = item.error_kind, item.reason
        if item.traceback is not None:
            run.traceback = item.claim.attempt, item.traceback
        if item.outcome != "postponed":
            run.attempts[item.claim.attempt] = item.outcome
        run.successes += item.state == "succeeded"
        assert run.successes <= 1 + run.replays, "a run succeeds once"
        return True

    def end_leases(self, owner: str) -> int:
        held = [run for run in self.runs.values() if run.lease_owner == owner]
        for run in held:
            run.lease_until = 0.0
        return len(held)

    def recover(self, now: float) -> None:
        """Runs whose lease has expired: those that had not started cost nothing, the others have crashed."""
        for run in self.runs.values():
            if run.state != "running" or (run.lease_until or 0.0) >= now:
                continue
            if run.started_at is None:
                run.free("pending")
                run.forgiven += 1
                continue
            after = after_crash(CRASHES, run.crashes, run.attempt - run.forgiven, JITTER)
            run.attempts[run.attempt] = "crashed"
            run.free("dead" if after.wait is None else "pending")
            if after.wait is None:
                run.finished_at = now
            else:
                run.due_at = now + after.wait if after.wait else min(run.due_at, now)
            run.forgiven += not after.counts
            run.crashes, run.result = after.crashes, None
            run.error_kind, run.reason = "crashed", None

    # operations

    def replay(self, keys: Iterable[Key], now: float) -> list[Key]:
        changed = []
        for key in keys:
            run = self.runs.get(key)
            if run is not None and run.state in ENDED:
                run.state, run.due_at, run.forgiven = "pending", now, run.attempt
                run.finished_at = run.result = run.error_kind = run.reason = None
                run.replays += 1
            elif run is None and key[0] in self.events:
                self.runs[key] = Run(now)
            else:
                continue
            changed.append(key)
        return changed

    def cancel(self, keys: Iterable[Key], now: float) -> list[Key]:
        changed = []
        for key in keys:
            run = self.runs.get(key)
            if run is not None and run.state not in ENDED:
                run.forgiven += run.state == "running" and run.started_at is None
                run.free("cancelled")
                run.finished_at, run.waits_for = now, None
                run.error_kind, run.reason = "cancelled", None
                changed.append(key)
        return changed

    def release_waiting(self, now: float) -> None:
        """The first of the runs that wait for the audio storage is due."""
        first = min((run for run in self.runs.values() if run.waits_for), key=lambda run: run.due_at)
        first.due_at, first.waits_for = now, None

    def prunable(self, before: float) -> list[str]:
        """Finished events, the oldest first: nothing open, no dead letter that is newer."""

        def stays(id: str) -> bool:
            runs = [run for (event_id, _), run in self.runs.items() if event_id == id]
            return any(
                run.state not in ENDED or (run.state == "dead" and (run.finished_at or 0.0) >= before) for run in runs
            )

        return sorted(
            event.id
            for event in self.events.values()
            if event.status == "accepted" and event.received_at < before and not stays(event.id)
        )

    def delete(self, ids: Iterable[str]) -> None:
        for id in ids:
            del self.events[id]
        self.runs = {key: run for key, run in self.runs.items() if key[0] in self.events}
