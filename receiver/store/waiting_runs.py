"""Pending runs that wait until the audio storage is usable again, rather than for a time.

They are marked when they are postponed. The first process that can use the storage again makes them due. They have a
partial index of their own. A claim removes the mark.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from receiver.store import runs
from receiver.store.runs import RunResult

AUDIO_STORAGE = "audio_storage"

_WAITING = "runs INDEXED BY ix_runs_waiting WHERE waits_for IS NOT NULL"


def finish(connection: Connection, results: Sequence[RunResult]) -> list[bool]:
    """`runs.finish`, which also marks runs that wait for something."""
    held = runs.finish(connection, results)
    for item, ours in zip(results, held, strict=True):
        if ours and item.waits_for:
            connection.exec_driver_sql(
                "UPDATE runs SET waits_for = ? WHERE event_id = ? AND handler = ?",
                (item.waits_for, item.claim.event_id, item.claim.handler),
            )
    return held


def release(connection: Connection, limit: int, now: float) -> int:
    """Make up to `limit` runs that wait for the audio storage due, the first postponed first; return how many."""
    chosen = f"SELECT event_id, handler FROM {_WAITING} ORDER BY due_at LIMIT ?"  # noqa: S608 - constants only
    return connection.exec_driver_sql(
        f"UPDATE runs SET due_at = ?, wait_seconds = 0, waits_for = NULL WHERE (event_id, handler) IN ({chosen})",  # noqa: S608
        (now, max(0, limit)),
    ).rowcount


def count(connection: Connection) -> int:
    """How many runs wait."""
    found: int = connection.exec_driver_sql(f"SELECT count(*) FROM {_WAITING}").scalar_one()  # noqa: S608
    return found
