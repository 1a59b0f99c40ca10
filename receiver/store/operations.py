"""Operators' changes of all that matches a filter: accepted as a row, and done in the background by one process.

Each batch moves the row's position and adds to its counts in its own transaction, which holds the row. So after a kill
another process continues with what was not committed, and a process that lost the operation changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, delete, insert, or_, select, text, update

from receiver.model.audit import AuditOperation, AuditState
from receiver.model.ids import CHANGE_PREFIX, first_id_at
from receiver.store import audit
from receiver.store.prune import Page, Prunable
from receiver.store.schema import operations
from receiver.store.searches import Order

Row = dict[str, Any]

UNFINISHED = text("operations.state = 'unfinished'")
"""Word for word the condition of the partial index: otherwise SQLite does not use the index."""
_FREE = {"lease_owner": None, "lease_until": None}


def accept(
    connection: Connection,
    id: str,
    operation: AuditOperation,
    matching: int,
    entry: Mapping[str, Any],
    criteria: Mapping[str, Any],
    now: float,
) -> None:
    """Store a new operation, to be done after those before it; arguments as the columns."""
    connection.execute(
        insert(operations).values(
            id=id,
            at=now,
            operation=str(operation),
            state=str(AuditState.UNFINISHED),
            matching=matching,
            updated_at=now,
            entry=dict(entry),
            criteria=dict(criteria),
        )
    )


def get(connection: Connection, id: str) -> Row | None:
    """The operation; None if it does not exist."""
    found = connection.execute(select(operations).where(operations.c.id == id)).first()
    return None if found is None else dict(found._mapping)


def page(connection: Connection, beyond: str | None, limit: int, order: Order = Order.NEWEST_FIRST) -> list[Row]:
    """The first operations; those that follow this id, if it is not None."""
    c = operations.c
    if order is Order.NEWEST_FIRST:
        listed = select(operations).where(c.id < (beyond or "~")).order_by(c.id.desc())
    else:
        listed = select(operations).where(c.id > (beyond or "")).order_by(c.id)
    rows = connection.execute(listed.limit(limit))
    return [dict(row._mapping) for row in rows]


def first_unfinished(connection: Connection) -> Row | None:
    """The operation that is done now, or next."""
    first = select(operations.c.id).where(UNFINISHED).order_by(operations.c.id).limit(1)
    id = connection.execute(first).scalar()
    return None if id is None else get(connection, id)


def failed_since(connection: Connection, since: float, limit: int) -> list[Row]:
    """The newest operations that were accepted since then, unix seconds, and have failed."""
    c = operations.c
    recent = select(operations).where(c.id >= first_id_at(since, CHANGE_PREFIX), c.state == str(AuditState.FAILED))
    rows = connection.execute(recent.order_by(c.id.desc()).limit(limit))
    return [dict(row._mapping) for row in rows]


def claim(connection: Connection, id: str, owner: str, now: float, until: float) -> Row | None:
    """Take the operation for this process; None if it has ended, or another process does it."""
    c = operations.c
    free = or_(c.lease_owner.is_(None), c.lease_owner == owner, c.lease_until <= now)
    taken = update(operations).where(c.id == id, UNFINISHED, free).values(lease_owner=owner, lease_until=until)
    return get(connection, id) if connection.execute(taken).rowcount else None


def advance(connection: Connection, id: str, owner: str, reached: str, now: float, until: float) -> bool:
    """Move the position, and hold the row until the commit; False if it was stopped, or another process has it."""
    c = operations.c
    held = update(operations).where(c.id == id, UNFINISHED, c.lease_owner == owner)
    values = {"reached": reached, "updated_at": now, "lease_until": until, "detail": None}
    return bool(connection.execute(held.values(values)).rowcount)


def add(connection: Connection, id: str, changed: int, refused: int) -> None:
    """Count what this transaction has changed, after `advance`."""
    c = operations.c
    counts = {"changed": c.changed + changed, "refused": c.refused + refused}
    connection.execute(update(operations).where(c.id == id).values(counts))


def note(connection: Connection, id: str, owner: str, detail: str, now: float) -> None:
    """Say why the operation does not go on now, until `advance`."""
    c = operations.c
    held = update(operations).where(c.id == id, UNFINISHED, c.lease_owner == owner)
    connection.execute(held.values(detail=detail, updated_at=now))


def finish(connection: Connection, id: str, owner: str, state: AuditState, detail: str | None, now: float) -> bool:
    """End the operation and its entry in the audit log; False if it was stopped, or another process has it."""
    c = operations.c
    held = update(operations).where(c.id == id, UNFINISHED, c.lease_owner == owner)
    values = {"state": str(state), "detail": detail, "updated_at": now, **_FREE}
    ended = bool(connection.execute(held.values(values)).rowcount)
    if ended:
        audit.finish(connection, id, state, detail, now)
    return ended


def stop(connection: Connection, id: str, now: float) -> bool:
    """Stop the operation after the batch in progress, or for good if it has failed.

    False if it has ended otherwise, or does not exist.
    """
    c = operations.c
    stopped = update(operations).where(c.id == id, c.state.in_([str(AuditState.UNFINISHED), str(AuditState.FAILED)]))
    values = {"state": str(AuditState.STOPPED), "updated_at": now, **_FREE}
    found = bool(connection.execute(stopped.values(values)).rowcount)
    if found:
        detail = connection.execute(select(c.detail).where(c.id == id)).scalar()
        audit.finish(connection, id, AuditState.STOPPED, detail, now)
    return found


def resume(connection: Connection, id: str, now: float) -> bool:
    """Let the operation continue where it was; False if it neither has failed nor was stopped, or does not exist."""
    c = operations.c
    ended = update(operations).where(c.id == id, c.state.in_([str(AuditState.FAILED), str(AuditState.STOPPED)]))
    values = {"state": str(AuditState.UNFINISHED), "updated_at": now, "detail": None, **_FREE}
    found = bool(connection.execute(ended.values(values)).rowcount)
    if found:
        audit.finish(connection, id, AuditState.UNFINISHED, None, now)
    return found


def release(connection: Connection, owner: str) -> None:
    """Let another process continue what this one does."""
    c = operations.c
    connection.execute(update(operations).where(UNFINISHED, c.lease_owner == owner).values(_FREE))


# delete


def find_old(connection: Connection, before: float, after: str | None, limit: int) -> Page:
    """Operations that were accepted before `before` and have ended, the oldest first, as `Prunable.find`."""
    c = operations.c
    old = select(c.id).where(c.id > (after or ""), c.id < first_id_at(before, CHANGE_PREFIX)).order_by(c.id)
    ids = list(connection.execute(old.limit(limit)).scalars())
    return Page(ids, ids[-1] if len(ids) == limit else None)


def delete_old(connection: Connection, before: float, ids: Sequence[str]) -> int:
    """Delete those of these operations that have ended and were accepted before `before`; return how many."""
    c = operations.c
    old = delete(operations).where(c.id.in_(ids), c.at < before, c.state != str(AuditState.UNFINISHED))
    return connection.execute(old).rowcount


OPERATIONS = Prunable("operations", find_old, delete_old)
