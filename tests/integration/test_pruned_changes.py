"""The audit log is deleted by its own bound, in small batches as everything else; sessions when they have expired."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection

from receiver.model.audit import AuditEntry, AuditOperation, AuditState, Via
from receiver.model.ids import new_change_id
from receiver.store import audit, sessions
from receiver.store.database import Database
from receiver.store.sessions import SessionRow
from tests.integration.engine_support import NOW
from tests.integration.intake_support import Lines
from tests.integration.test_pruning import (  # noqa: F401 - fixtures
    DAY,
    MAX_BATCH,
    Clock,
    Transactions,
    add,
    database,
    left,
    lines,
    prune,
    transactions,
)

pytestmark = [pytest.mark.anyio, pytest.mark.every_database]


def add_entries(connection: Connection, first: int, count: int, at: float) -> None:
    for number in range(first, first + count):
        moment = at + number
        entry = AuditEntry(
            new_change_id(moment, number), moment, "app", Via.API, AuditOperation.SPEAK, {}, AuditState.COMPLETED
        )
        audit.add(connection, entry, 1, moment)


async def test_old_entries_go_in_batches_and_recent_ones_stay_longer_than_their_events(
    database: Database,  # noqa: F811
    lines: Lines,  # noqa: F811
    transactions: Transactions,  # noqa: F811
) -> None:
    add(database, 10)  # older than the retention period of events
    database.transact(add_entries, 0, 250, NOW - 401 * DAY)
    database.transact(add_entries, 250, 3, NOW - 40 * DAY)
    await prune(database, Clock())
    assert left(database) == 0
    assert left(database, "audit_entries") == 3
    assert [line["changes"] for line in lines.of("changes.pruned")] == [250]
    assert max(transactions.deleted) <= MAX_BATCH


async def test_expired_sessions_go_and_valid_ones_stay(database: Database) -> None:  # noqa: F811
    def add_sessions(connection: Connection) -> None:
        for number in range(250):
            expires_at = NOW - 1 if number else NOW + 60
            times = {"created_at": NOW - DAY, "seen_at": NOW - DAY, "expires_at": expires_at}
            row = SessionRow(id=f"{number:064x}", actor=f"user_{number}", kind="user", credential="mac", **times)
            sessions.create(connection, row)

    database.transact(add_sessions)
    await prune(database, Clock())
    assert left(database, "console_sessions") == 1
