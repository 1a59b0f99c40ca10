"""Creates jobs in a running process, and waits for their progress."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from receiver.clock import Clock
from receiver.engine.audit import ChangeRecorder, recorded
from receiver.engine.jobs.commands import cancel_job, check_request, is_found, is_new, new_job, submit_job, watch_job
from receiver.engine.jobs.requests import JobRequest
from receiver.engine.jobs.source import JobSource
from receiver.errors import NotFound, ReceiverError
from receiver.model.budget import BudgetExceeded
from receiver.store import jobs
from receiver.store.database import Database
from receiver.store.jobs import NewJob, Row
from receiver.store.states import OPEN_JOBS, JobKind, JobState

POLL_INTERVAL_SECONDS = 0.5
"""How often a caller that waits reads the job's row: another process may change it."""


T = TypeVar("T")


class NoApiAccess(ReceiverError):
    """A source's API cannot be used for jobs; the message says why and what to do."""

    reason = "no_api_access"


class JobService:
    """Creates and cancels jobs of all sources.

    Attributes:
        sources: those whose API can be used, by name.

    Args:
        wake: called with a source's name when its loop has something to do.
        why_no_api_access: explains, for the name of any other source, why its API cannot be used.
        refused: called with a source's name and the error when its budget has no place for a job.
    """

    def __init__(
        self,
        database: Database,
        sources: Mapping[str, JobSource],
        wake: Callable[[str], None],
        why_no_api_access: Callable[[str], str],
        *,
        clock: Clock,
        rng: random.Random,
        refused: Callable[[str, BudgetExceeded], None] = lambda source, error: None,
    ) -> None:
        self._database = database
        self.sources = sources
        self._refused = refused
        self._wake = wake
        self._why_no_api_access = why_no_api_access
        self._clock = clock
        self._rng = rng
        self._waiting: dict[str, list[asyncio.Event]] = {}

    def source(self, name: str) -> JobSource:
        """A source whose API can be used.

        Raises:
            NoApiAccess: there is none of this name, it has no API key, or its provider only sends webhooks.
        """
        source = self.sources.get(name)
        if source is None:
            raise NoApiAccess(self._why_no_api_access(name))
        return source

    async def submit(
        self, recorder: ChangeRecorder, source: str, request: JobRequest, client_key: str | None = None
    ) -> tuple[Row, bool]:
        """Create a job: it is durable when this returns, and submitted soon after.

        Returns:
            Its row, and whether it is new.

        Raises:
            NoApiAccess: as `source`.
            Invalid: the provider does not accept this request.
            ClientKeyReused: the key was used with another request before.
            BudgetExceeded: the source's daily budget has no place for it.
        """
        found = self.source(source)
        check_request(found, request)
        job = new_job(found, request, client_key, self._clock.now(), self._rng)
        row, new = await self.store_new(job, submit_job, recorder, job)
        if new:
            self._wake(source)
        return row, new

    async def store_new(self, job: NewJob, write: Callable[..., T], *args: Any) -> T:
        """Write a new job, by what recognises it: our client might submit another one, if the answer is lost.

        Raises:
            BudgetExceeded: the source's daily budget has no place for it; nothing is stored.
        """
        try:
            if job.budget is not None:
                await self._database.read(jobs.require_budget, job)
            return await self._database.write_again(write, *args)
        except BudgetExceeded as error:
            self._refused(job.source, error)
            raise

    async def watch(
        self, recorder: ChangeRecorder, source: str, job_id: str, kind: JobKind | None = None
    ) -> tuple[Row, bool]:
        """Watch a job that was submitted elsewhere.

        Returns:
            Its row, and whether it was not watched before.

        Raises:
            NoApiAccess: as `source`.
            NotWatchable: `job_id` cannot be a job id.
        """
        found = self.source(source)
        row, new = await self._database.write(
            recorded, recorder, is_new, watch_job, found, job_id, self._clock.now(), self._rng, kind
        )
        if new:
            self._wake(source)
        return row, new

    async def wait_until_submitted(self, id: str, seconds: float) -> Row:
        """Return the job's row once the provider has accepted or refused it, or after `seconds`.

        Raises:
            NotFound: there is no such job.
        """
        return await self._wait_until(id, seconds, lambda row: row["state"] != JobState.SUBMITTING)

    async def wait_until_ended(self, id: str, seconds: float) -> Row:
        """Return the job's row once it has ended (`unknown` is an end, too), or after `seconds`.

        Raises:
            NotFound: there is no such job.
        """
        return await self._wait_until(id, seconds, lambda row: row["state"] not in OPEN_JOBS)

    async def cancel(self, recorder: ChangeRecorder, id: str) -> Row | None:
        """Cancel a job; return its row, or None if there is no such job.

        Raises:
            Conflict: its state does not allow it.
        """
        row: Row | None = await self._database.write(recorded, recorder, is_found, cancel_job, id, self._clock.now())
        self.changed(id)
        return row

    def changed(self, id: str) -> None:
        """A job's row has changed in this process: wake the callers that wait for it."""
        for event in self._waiting.get(id, ()):
            event.set()

    async def _wait_until(self, id: str, seconds: float, done: Callable[[dict[str, Any]], bool]) -> Row:
        event = asyncio.Event()
        self._waiting.setdefault(id, []).append(event)
        end = self._clock.monotonic() + seconds
        try:
            while True:
                event.clear()
                row = await self._database.read(jobs.get, id)
                if row is None:
                    raise NotFound(f"There is no job {id}.")
                left = end - self._clock.monotonic()
                if done(row) or left <= 0:
                    return row
                await self._clock.wait(event, min(POLL_INTERVAL_SECONDS, left))
        finally:
            self._waiting[id].remove(event)
            if not self._waiting[id]:
                del self._waiting[id]
