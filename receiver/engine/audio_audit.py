"""Compares what is stored about completed jobs with the audio storage: `audit`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from receiver.errors import NotFound
from receiver.model.event import COMPLETED
from receiver.outbound.storage_types import Storage
from receiver.store import artifacts
from receiver.store.artifacts import ArtifactRow
from receiver.store.database import Database
from receiver.store.event_pages import Filter
from receiver.store.job_pages import JobFilter, list_jobs
from receiver.store.states import JobState
from receiver.store.views import list_events

PAGE = 200
"""Events whose files are examined at a time."""
CONCURRENCY = 16
"""Files whose sizes are requested from the storage at a time."""


class FindingKind(StrEnum):
    """What is wrong.

    `NO_AUDIO`: a completed job has no file, and one of its runs has failed for good, or its event is in quarantine.
    `MISSING`: the storage does not have a file. `OTHER_SIZE`: it has another number of bytes. `UNKNOWN_JOB`: it is
    unknown whether the provider accepted a job.
    """

    NO_AUDIO = "no_audio"
    MISSING = "missing"
    OTHER_SIZE = "other_size"
    UNKNOWN_JOB = "unknown_job"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        id: of the event; of an unknown job, ours.
        job_id: the provider's; None if it is not known.
        detail: a sentence.
    """

    kind: FindingKind
    source: str
    id: str
    job_id: str | None
    detail: str


@dataclass(slots=True)
class AuditCounts:
    """What was examined.

    Attributes:
        events: completed jobs.
        files: their files.
        open: completed jobs without a file whose runs have not ended.
        without: completed jobs without a file whose runs have ended without a failure: nothing asked for audio, or
            there is none.
    """

    events: int = 0
    files: int = 0
    open: int = 0
    without: int = 0


@dataclass(slots=True)
class AudioAudit:
    """One comparison.

    Args:
        since: of what is received or created at this time or later, unix seconds.
    """

    database: Database
    storage: Storage
    since: float
    counts: AuditCounts = field(default_factory=AuditCounts)

    async def run(self) -> AsyncIterator[Finding]:
        """Every finding, those of the newest events first; unknown jobs last.

        Raises:
            ListingTimeout: a page took too long.
            StorageFailed: the storage cannot be read.
            StoreUnavailable: the store cannot be read.
        """
        older_than: str | None = None
        while True:
            filters = Filter(type=COMPLETED, after=self.since, older_than=older_than)
            page = await self.database.read_list(list_events, filters, PAGE)
            rows = await self.database.read_list(artifacts.of_events, [event["id"] for event in page])
            for finding in await self._examine(page, rows):
                yield finding
            if len(page) < PAGE:
                break
            older_than = page[-1]["id"]
        before: str | None = None
        while True:
            unknown = JobFilter(states=[JobState.UNKNOWN], created_after=self.since, before=before)
            jobs = await self.database.read_list(list_jobs, unknown, PAGE)
            for job in jobs:
                detail = job["error"] or "It is unknown whether the provider accepted it."
                yield Finding(FindingKind.UNKNOWN_JOB, job["source"], job["id"], job["job_id"], detail)
            if len(jobs) < PAGE:
                return
            before = jobs[-1]["id"]

    async def _examine(self, page: list[dict[str, Any]], rows: list[ArtifactRow]) -> list[Finding]:
        files: dict[str, list[ArtifactRow]] = {}
        for row in rows:
            files.setdefault(row.event_id, []).append(row)
        limit = asyncio.Semaphore(CONCURRENCY)

        async def problem_of(row: ArtifactRow) -> tuple[FindingKind, str] | None:
            async with limit:
                return await self._examine_file(row)

        problems = dict(zip(rows, await asyncio.gather(*map(problem_of, rows)), strict=True))
        found = []
        for event in page:
            own = [problems[row] for row in files.get(event["id"], [])]
            if not own:
                own = [self._without_file(event)]
            found += [
                Finding(problem[0], event["source"], event["id"], event["job_id"], problem[1])
                for problem in own
                if problem is not None
            ]
        self.counts.events += len(page)
        self.counts.files += len(rows)
        return found

    async def _examine_file(self, row: ArtifactRow) -> tuple[FindingKind, str] | None:
        try:
            size = await self.storage.size(row.address)
        except NotFound as error:  # stored before `audio.url` was changed
            return FindingKind.MISSING, str(error)
        if size is None:
            return FindingKind.MISSING, f"{row.address} does not exist."
        if size != row.bytes:
            return (
                FindingKind.OTHER_SIZE,
                f"{row.address} has {size:,} bytes, and had {row.bytes:,} when stored.",
            )
        return None

    def _without_file(self, event: dict[str, Any]) -> tuple[FindingKind, str] | None:
        if event["state"] == "dead":
            return FindingKind.NO_AUDIO, "No file is stored, and a run has failed for good."
        if event["state"] == "quarantined":
            return FindingKind.NO_AUDIO, "No file is stored, because the event is in quarantine."
        if event["state"] == "open":
            self.counts.open += 1
        else:
            self.counts.without += 1
        return None
