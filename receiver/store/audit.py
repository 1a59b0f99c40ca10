"""The audit log: who changed what, written in the transactions that make the change.

The first transaction of a change inserts its entry, and each further one adds to the count. So an entry never says more
or less than was committed, also if the process is killed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, delete, select, update

from receiver.model.audit import AuditEntry, AuditOperation, AuditState
from receiver.model.ids import CHANGE_PREFIX, first_id_at
from receiver.store.dialect import DIALECTS
from receiver.store.distinct import distinct
from receiver.store.prune import Page, Prunable
from receiver.store.schema import audit_entries
from receiver.store.searches import IndexSearch, Order

Row = dict[str, Any]

MAX_OPERATIONS = 100
"""Operations of one actor whose entries are merged in one list; this release has a tenth of that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFilter:
    """A filter of entries. None matches any value.

    Attributes:
        since: begun at or after, unix seconds.
        until: begun before, unix seconds.
        older_than: an entry's id; only entries whose id sorts before it match.
        newer_than: an entry's id; only entries whose id sorts after it match.
    """

    actor: str | None = None
    operation: AuditOperation | None = None
    since: float | None = None
    until: float | None = None
    older_than: str | None = None
    newer_than: str | None = None


# write


def add(connection: Connection, entry: AuditEntry, changed: int, now: float, detail: str | None = None) -> None:
    """Count what this transaction has changed; the first one inserts the entry. Without a change nothing is written.

    Args:
        changed: events, runs or jobs.
        now: unix seconds.
        detail: of an entry that is new.
    """
    if not changed:
        return
    values = {
        "id": entry.id,
        "at": entry.at,
        "actor": entry.actor,
        "via": entry.via,
        "operation": entry.operation,
        "changed": changed,
        "state": entry.state,
        "updated_at": now,
        "detail": detail,
        "filter": dict(entry.filter),
    }
    statement = DIALECTS[connection.dialect.name].insert(audit_entries)
    new = statement.excluded
    more = {"changed": audit_entries.c.changed + new.changed, "updated_at": new.updated_at}
    connection.execute(statement.on_conflict_do_update(index_elements=["id"], set_=more), values)


def finish(connection: Connection, id: str, state: AuditState, detail: str | None, now: float) -> None:
    """Set how a change of several transactions ended; one that has changed nothing has no entry."""
    ended = update(audit_entries).where(audit_entries.c.id == id)
    connection.execute(ended.values(state=state, detail=detail, updated_at=now))


# read


def list_entries(
    connection: Connection, filters: AuditFilter, limit: int, order: Order = Order.NEWEST_FIRST
) -> list[Row]:
    """The entries that match."""
    searches = _searches(connection, filters)
    if not searches:
        return []
    page = DIALECTS[connection.dialect.name].searches.page(searches, order, limit)
    by_id = audit_entries.c.id.desc() if order is Order.NEWEST_FIRST else audit_entries.c.id
    rows = connection.execute(select(audit_entries).where(audit_entries.c.id.in_(page)).order_by(by_id))
    return [dict(row._mapping) for row in rows]


def _searches(connection: Connection, filters: AuditFilter) -> list[IndexSearch]:
    c = audit_entries.c
    before = [] if filters.older_than is None else [filters.older_than]
    if filters.until is not None:
        before.append(_first_id(filters.until))
    after = max(filters.newer_than or "", "" if filters.since is None else _first_id(filters.since))
    every = IndexSearch(c.id, after=after, before=min(before, default=None))
    if filters.actor is None and filters.operation is None:
        return [every]
    if filters.actor is None:
        return [replace(every, same=((c.operation, str(filters.operation)),))]
    if filters.operation is not None:
        operations = [str(filters.operation)]
    else:
        operations = distinct(connection, c.operation, c.actor == filters.actor, max_values=MAX_OPERATIONS)
    return [replace(every, same=((c.actor, filters.actor), (c.operation, operation))) for operation in operations]


def _first_id(seconds: float) -> str:
    """A text that sorts before the ids of all entries that began at this time or later, and after all others.

    Entries begin at whole milliseconds. So no condition on the time itself is needed, whose estimate would mislead
    PostgreSQL.
    """
    milliseconds = math.ceil(round(seconds * 1000, 3))  # a time is not exact in binary
    return first_id_at((milliseconds + 0.5) / 1000, CHANGE_PREFIX)


# delete


def find_old(connection: Connection, before: float, after: str | None, limit: int) -> Page:
    """Entries that began before `before`, the oldest first, as `Prunable.find`."""
    c = audit_entries.c
    old = select(c.id).where(c.id > (after or ""), c.id < first_id_at(before, CHANGE_PREFIX)).order_by(c.id)
    ids = list(connection.execute(old.limit(limit)).scalars())
    return Page(ids, ids[-1] if len(ids) == limit else None)


def delete_old(connection: Connection, before: float, ids: Sequence[str]) -> int:
    """Delete those of these entries that began before `before`; return how many."""
    old = delete(audit_entries).where(audit_entries.c.id.in_(ids), audit_entries.c.at < before)
    return connection.execute(old).rowcount


AUDIT_ENTRIES = Prunable("changes", find_old, delete_old)
