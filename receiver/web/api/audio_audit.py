"""Whether every completed job has its audio: stored rows compared with the storage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from receiver.engine.audio_audit import AuditCounts, Finding, FindingKind, audit_page
from receiver.errors import StorageFailed
from receiver.model.redact import Redactor
from receiver.web.api.context import ApiContext
from receiver.web.api.fields import (
    DIGITS,
    MAX_ITEMS,
    Paging,
    ResponseModel,
    Time,
    cursor_after,
    optional_seconds,
)
from receiver.web.api.operations import ApiResponse
from receiver.web.api.problems import ProblemError

DAY_SECONDS = 86_400.0


class AudioAuditQuery(Paging):
    """Which jobs."""

    since: Annotated[
        Time | None, Field(description="Completed, or created, at this time or later; by default 24 hours ago.")
    ] = None
    limit: Annotated[
        int, Field(ge=1, le=MAX_ITEMS, description="Completed and unknown jobs to examine, the newest first."), DIGITS
    ] = MAX_ITEMS


class AudioFinding(ResponseModel):
    """A job whose audio is not there, or that is unknown."""

    kind: Annotated[
        FindingKind,
        Field(
            description="`no_audio`: it has no file, and a run has failed for good or the event is in quarantine. "
            "`missing`: the storage does not have a file. `other_size`: the file has another size than when it was "
            "stored. `unknown_job`: it is unknown whether the service accepted it."
        ),
    ]
    source: str
    id: Annotated[str, Field(description="Of the event; of an unknown job, the receiver's id.")]
    job_id: Annotated[str | None, Field(description="The provider's id of the job.")]
    detail: str


class AudioAuditCounts(ResponseModel):
    """What was examined."""

    events: Annotated[int, Field(description="Completed jobs.")]
    files: Annotated[int, Field(description="Their files.")]
    open: Annotated[int, Field(description="Completed jobs without a file so far, whose runs have not ended.")]
    without_audio: Annotated[int, Field(description="Completed jobs that no handler wants the audio of.")]


class AudioAudit(ResponseModel):
    """What is missing."""

    items: Annotated[list[AudioFinding], Field(description="Of these jobs; may be empty before the last page.")]
    examined: Annotated[AudioAuditCounts, Field(description="On this page.")]
    next: Annotated[str | None, Field(description="The `cursor` of older jobs; null if all were examined.")]


async def audit_audio(context: ApiContext, query: AudioAuditQuery) -> ApiResponse:
    """Compare completed jobs with the audio storage, page by page until `next` is null.

    The storage is asked for sizes; no audio is read.
    """
    since = optional_seconds(query.since)
    if since is None:
        since = context.clock.now() - DAY_SECONDS
    try:
        page = await audit_page(context.database, context.storage, since, query.last_id(""), query.limit)
    except StorageFailed as error:
        raise ProblemError(502, str(error), reason=error.reason) from None
    following = None if page.last is None else cursor_after(page.last)
    return ApiResponse(200, audio_audit_of(page.counts, page.findings, following, context.redact))


def audio_audit_of(
    counts: AuditCounts, findings: Sequence[Finding], following: str | None, redact: Redactor
) -> AudioAudit:  # fmt: skip
    """What `engine.audio_audit` found."""
    items = [
        AudioFinding(
            kind=found.kind, source=found.source, id=found.id, job_id=found.job_id, detail=redact(found.detail)
        )
        for found in findings
    ]
    examined = AudioAuditCounts(
        events=counts.events, files=counts.files, open=counts.open, without_audio=counts.without_audio
    )
    return AudioAudit(items=items, examined=examined, next=following)
