"""The list of fetched audio files."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from pydantic import Field
from sqlalchemy import Connection

from receiver.store import artifacts, views
from receiver.store.event_pages import Filter, id_bounds
from receiver.store.searches import Order
from receiver.web.api.context import ApiContext
from receiver.web.api.fields import OrderedPaging, Time, cursor_after, optional_seconds
from receiver.web.api.models import StoredAudioPage
from receiver.web.api.operations import ApiResponse
from receiver.web.api.rows import stored_audio_of


class ArtifactsQuery(OrderedPaging):
    """Which files; `limit` counts events."""

    since: Annotated[Time | None, Field(description="Only of events received at or after this time.")] = None
    until: Annotated[Time | None, Field(description="Only of events received before this time.")] = None


async def list_artifacts(context: ApiContext, query: ArtifactsQuery) -> ApiResponse:
    """The audio that was fetched and verified, that of the newest event first, or of the oldest.

    An event is not split between pages.
    """
    after, before = id_bounds(
        Filter(
            after=optional_seconds(query.since),
            before=optional_seconds(query.until),
            **query.from_cursor("evt_"),
        )
    )

    def read(connection: Connection) -> ApiResponse:
        ids = artifacts.page_of_events(connection, before, after, query.limit + 1, query.of_store)
        page = ids[: query.limit]
        events = {row["id"]: row for row in views.summaries(connection, page)}
        rows = sorted(artifacts.of_events(connection, page), key=lambda row: row.n)
        rows.sort(key=lambda row: row.event_id, reverse=query.of_store is Order.NEWEST_FIRST)
        items = [stored_audio_of(asdict(row), events[row.event_id], context.settings) for row in rows]
        following = cursor_after(page[-1]) if len(ids) > query.limit else None
        return ApiResponse(200, StoredAudioPage(items=items, next=following))

    return await context.database.read_list(read)
