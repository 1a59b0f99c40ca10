"""Compares what is stored about completed jobs with the audio storage: `audit` and `GET /v1/audio/audit`."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection

from receiver.errors import NotFound, StorageFailed
from receiver.model.event import COMPLETED, Origin
from receiver.outbound.storage_types import Storage
from receiver.store import artifacts
from receiver.store.artifacts import ArtifactRow
from receiver.store.database import Database
from receiver.store.event_pages import Filter
from receiver.store.job_pages import SUMMARY, JobFilter, list_jobs
from receiver.store.states import JobState
from receiver.store.views import list_events

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


@dataclass(frozen=True, slots=True)
class AuditCounts:
    """What was examined.

    Attributes:
        events: completed jobs.
        files: their files.
        open: completed jobs without a file whose runs have not ended.
        without_audio: completed jobs without a file whose runs have ended without a failure: nothing asked for it, or
            there is none.
    """

    events: int = 0
    files: int = 0
    open: int = 0
    without_audio: int = 0

    def __add__(self, other: AuditCounts) -> AuditCounts:
        return AuditCounts(
            self.events + other.events, self.files + other.files, self.open + other.open,
            self.without_audio + other.without_audio,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class AuditPage:
    """A part of the comparison.

    Attributes:
        findings: those of the newest events and jobs first.
        last: the id of the last that was examined, if there are older ones; otherwise None.
    """

    counts: AuditCounts
    findings: Sequence[Finding]
    last: str | None


@dataclass(frozen=True, slots=True)
class _Candidates:
    """Completed events and unknown jobs, the newest first; the files of the events; whether there are older ones."""

    rows: Sequence[dict[str, Any]]
    files: Sequence[ArtifactRow]
    more: bool


async def audit_page(database: Database, storage: Storage, since: float, before: str | None, limit: int) -> AuditPage:
    """Compare completed jobs with their files, and find unknown jobs: the newest first, up to `limit` together.

    Args:
        since: of what was received or created at this time or later, unix seconds.
        before: the page begins before this id, which is without its prefix.

    Raises:
        ListingTimeout: reading the store took too long.
        StorageFailed: the storage cannot be read.
        StoreUnavailable: the store cannot be read.
    """
    found = await database.read_list(_read, since, before, limit)
    of_files: dict[str, list[tuple[FindingKind, str] | None]] = defaultdict(list)
    for file, problem in zip(found.files, await _examine_files(storage, found.files), strict=True):
        of_files[file.event_id].append(problem)
    findings = [
        Finding(problem[0], row["source"], row["id"], row["job_id"], problem[1])
        for row in found.rows
        for problem in of_files.get(row["id"]) or ([] if _is_edited(row) else [_without_file(row)])
        if problem is not None
    ]
    without = [row["state"] for row in found.rows if row["id"] not in of_files and not _is_edited(row)]
    events = sum(row["state"] != JobState.UNKNOWN and not _is_edited(row) for row in found.rows)
    counts = AuditCounts(events, len(found.files), without.count("open"), without.count("done"))
    return AuditPage(counts, findings, found.rows[-1]["id"] if found.more else None)


def _is_edited(row: Mapping[str, Any]) -> bool:
    """Whether it is an edited event, beside which its job has one of its own. Jobs have no origin."""
    return row.get("origin") == Origin.EDITED


def _read(connection: Connection, since: float, before: str | None, limit: int) -> _Candidates:
    """Ids of events and of jobs begin with the same form of time, so that one position is that of both."""
    filters = Filter(type=COMPLETED, after=since, older_than=None if before is None else f"evt_{before}")
    events = list_events(connection, filters, limit + 1)
    unknown = JobFilter(
        states=[JobState.UNKNOWN], created_after=since, older_than=None if before is None else f"job_{before}"
    )
    jobs = list_jobs(connection, unknown, limit + 1, SUMMARY)
    rows = sorted(events + jobs, key=lambda row: str(row["id"]).rpartition("_")[2], reverse=True)
    page = rows[:limit]
    ids = [row["id"] for row in page if row["state"] != JobState.UNKNOWN]
    return _Candidates(page, artifacts.of_events(connection, ids), len(rows) > limit)


async def _examine_files(storage: Storage, rows: Sequence[ArtifactRow]) -> list[tuple[FindingKind, str] | None]:
    """What is wrong with each; None if nothing is."""
    limit = asyncio.Semaphore(CONCURRENCY)

    async def examine(row: ArtifactRow) -> tuple[FindingKind, str] | None:
        async with limit:
            return await _examine_file(storage, row)

    failed: BaseException | None = None
    try:
        async with asyncio.TaskGroup() as group:  # the first failure ends the others
            tasks = [group.create_task(examine(row)) for row in rows]
    except* StorageFailed as errors:
        failed = errors.exceptions[0]
    if failed is not None:
        raise failed
    return [task.result() for task in tasks]


async def _examine_file(storage: Storage, row: ArtifactRow) -> tuple[FindingKind, str] | None:
    try:
        size = await storage.size(row.address)
    except NotFound as error:  # stored before `audio.url` was changed
        return FindingKind.MISSING, str(error)
    if size is None:
        return FindingKind.MISSING, f"{row.address} does not exist."
    if size != row.bytes:
        return FindingKind.OTHER_SIZE, f"{row.address} has {size:,} bytes, and had {row.bytes:,} when stored."
    return None


def _without_file(row: dict[str, Any]) -> tuple[FindingKind, str] | None:
    """What is wrong with an unknown job, or with an event without a file; None if nothing is."""
    if row["state"] == JobState.UNKNOWN:
        return FindingKind.UNKNOWN_JOB, row["error"] or "It is unknown whether the provider accepted it."
    if row["state"] == "dead":
        return FindingKind.NO_AUDIO, "No file is stored, and a run has failed for good."
    if row["state"] == "quarantined":
        return FindingKind.NO_AUDIO, "No file is stored, because the event is in quarantine."
    return None
