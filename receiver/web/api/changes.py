"""The audit log: who changed what."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from sqlalchemy import Connection

from receiver.model.audit import AuditOperation
from receiver.model.ids import CHANGE_PREFIX
from receiver.store import audit
from receiver.store.audit import AuditFilter
from receiver.web.api.context import ApiContext
from receiver.web.api.fields import OrderedPaging, ShortText, Time, optional_seconds
from receiver.web.api.models import ChangePage, change_of, next_page
from receiver.web.api.operations import ApiResponse


class ChangesQuery(OrderedPaging):
    """Which changes."""

    actor: Annotated[ShortText | None, Field(description="Only by this token, or `user@host`.")] = None
    operation: Annotated[AuditOperation | None, Field(description="Only of this operation.")] = None
    since: Annotated[Time | None, Field(description="Begun at this time or later.")] = None
    until: Annotated[Time | None, Field(description="Begun before this time.")] = None


async def list_changes(context: ApiContext, query: ChangesQuery) -> ApiResponse:
    """The audit log, the newest first, or the oldest: changes by operators, with the API and with commands. Kept for
    `store.audit_days`.

    What the receiver does by itself (retries, polls, deletes what is old) is not in it.
    """
    filters = AuditFilter(
        actor=query.actor,
        operation=query.operation,
        since=optional_seconds(query.since),
        until=optional_seconds(query.until),
        **query.from_cursor(CHANGE_PREFIX),
    )

    def read(connection: Connection) -> ApiResponse:
        rows = audit.list_entries(connection, filters, query.limit + 1, query.of_store)
        page, following = next_page(rows, query.limit)
        return ApiResponse(200, ChangePage(items=[change_of(row) for row in page], next=following))

    return await context.database.read_list(read)
