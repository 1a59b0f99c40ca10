"""New events in the order of their commits, for a reader that must not miss any.

Ids do not have this order: they are created before the commit (docs/adr/0005), so that an event may be committed after
one with a later id. Each kind of database knows the order of commits in its own way (`store.dialect`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from receiver.model.metadata import Pair
from receiver.store.dialect import DIALECTS
from receiver.store.metadata_index import require_indexed
from receiver.store.schema import event_metadata, events
from receiver.store.search_plans import has_pairs
from receiver.store.views import SUMMARY


@dataclass(frozen=True, slots=True)
class Cursor:
    """A position in the order of commits: after this row. `event_id` is None before the first row."""

    row: int = 0
    event_id: str | None = None

    def is_after(self, other: Cursor) -> bool:
        """Whether it is behind another position. Events of one transaction may have the same row."""
        return (self.row, self.event_id or "") > (other.row, other.event_id or "")


def newest(connection: Connection) -> Cursor:
    """The position after the newest event."""
    return Cursor(*DIALECTS[connection.dialect.name].feed.newest(connection))


def cursor_of(connection: Connection, event_id: str) -> Cursor:
    """The position after this event.

    If the event does not exist, the position before all events with a later id: no newer event is left out, and a few
    older ones may follow.
    """
    return Cursor(*DIALECTS[connection.dialect.name].feed.position_of(connection, event_id))


def events_after(connection: Connection, cursor: Cursor, limit: int) -> list[tuple[Cursor, dict[str, Any]]]:
    """Up to `limit` events that were committed after the cursor, in that order, each with its own cursor."""
    statements = DIALECTS[connection.dialect.name].feed
    found = statements.events_after(connection, (cursor.row, cursor.event_id), limit, SUMMARY)
    return [(Cursor(*position), summary) for position, summary in found]


def with_metadata(connection: Connection, event_ids: Collection[str], pairs: Sequence[Pair]) -> set[str]:
    """Those of these events whose metadata has all of the pairs.

    Raises:
        MetadataNotIndexed: not all that is stored is indexed by a key any more, so that an event may be missing.
    """
    # First: what is committed after this is indexed, too, as long as it holds.
    require_indexed(connection, [key for key, _ in pairs])
    matching = select(events.c.id).where(events.c.id.in_(event_ids), *has_pairs(events.c.id, event_metadata, pairs))
    return set(connection.execute(matching).scalars())


def has_hidden(connection: Connection) -> bool:
    """Whether an event is stored that readers do not get yet."""
    return DIALECTS[connection.dialect.name].feed.hidden_since(connection) is not None


def delay(connection: Connection, now: float) -> float:
    """For how many seconds the first event has been stored that readers do not get yet; 0 if there is none.

    A transaction that is open for long, of any client of the same server, holds up the events that are stored after it.
    """
    since = DIALECTS[connection.dialect.name].feed.hidden_since(connection)
    return 0.0 if since is None else max(0.0, now - since)
