"""The bodies of responses about operations on all that matches a filter."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import Field, JsonValue

from receiver.engine.matching import MAX_COUNTED_AT_ONCE
from receiver.model.audit import AuditState
from receiver.model.ids import time_of_id
from receiver.model.timestamps import utc
from receiver.web.api.fields import ChangeId, EventId, ResponseModel, optional_utc


class Match(ResponseModel):
    """An event or a run that matches."""

    event_id: EventId
    handler: Annotated[str | None, Field(description="Of the run; null for an event.")]


class DryRun(ResponseModel):
    """What an operation would change."""

    count: Annotated[int, Field(description="How many match: exact up to `count_up_to`.")]
    more: Annotated[bool, Field(description="More than `count` match.")]
    examples: Annotated[list[Match], Field(description="Up to five, the oldest.")]


class BulkOperation(ResponseModel):
    """An operation on all that matches a filter, done in the background."""

    id: Annotated[ChangeId, Field(description="Also that of its entry in the audit log, once it has changed anything.")]
    operation: Annotated[str, Field(description="Its name in the audit log.")]
    state: Annotated[AuditState, Field(description="`unfinished`: waits for those before it, or is in progress.")]
    accepted_at: datetime
    updated_at: Annotated[datetime, Field(description="When it last examined something, or ended.")]
    actor: Annotated[str, Field(description="Who asked: a token's id; `local` without tokens.")]
    filter: Annotated[dict[str, JsonValue], Field(description="What it changes.")]
    matching: Annotated[int, Field(description="How many matched when it was accepted: exact up to 1,000.")]
    more: Annotated[bool, Field(description="More than `matching` did.")]
    changed: Annotated[int, Field(description="Runs, or released events, so far: exactly those that are committed.")]
    refused: Annotated[int, Field(description="Events that were refused.")]
    reached_at: Annotated[
        datetime | None, Field(description="The events that were received until then are done, the oldest first.")
    ]
    detail: Annotated[str | None, Field(description="Why it has failed, or why the last attempt did.")]


class BulkOperationPage(ResponseModel):
    """Operations, the newest first."""

    items: list[BulkOperation]
    next: Annotated[str | None, Field(description="The `cursor` of the next page; null on the last.")]


def operation_of(row: Any) -> BulkOperation:
    """A row of `store.operations`."""
    return BulkOperation(
        **{name: row[name] for name in ("id", "operation", "state", "changed", "refused", "detail")},
        accepted_at=utc(row["at"]),
        updated_at=utc(row["updated_at"]),
        actor=row["entry"]["actor"],
        filter=row["entry"]["filter"],
        matching=min(row["matching"], MAX_COUNTED_AT_ONCE),
        more=row["matching"] > MAX_COUNTED_AT_ONCE,
        reached_at=None if row["reached"] is None else optional_utc(time_of_id(row["reached"])),
    )
