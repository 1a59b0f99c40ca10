"""Pending runs that wait until the audio storage is usable again, rather than for a time.

They are marked when they are postponed. The first process that can use the storage again makes them due. They have a
partial index of their own. A claim removes the mark.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from receiver.store import runs
from receiver.store.dialect import DIALECTS
from receiver.store.runs import RunResult

AUDIO_STORAGE = "audio_storage"


def finish(connection: Connection, results: Sequence[RunResult]) -> list[bool]:
    """`runs.finish`, which also marks runs that wait for something."""
    statements = DIALECTS[connection.dialect.name].runs
    held = runs.finish(connection, results)
    for item, still_held in zip(results, held, strict=True):
        if still_held and item.waits_for:
            statements.mark_waiting(connection, item.claim.event_id, item.claim.handler, item.waits_for)
    return held


def release(connection: Connection, limit: int, now: float) -> int:
    """Make up to `limit` runs that wait for the audio storage due, the first postponed first; return how many."""
    return DIALECTS[connection.dialect.name].runs.release_waiting(connection, max(0, limit), now)


def count(connection: Connection) -> int:
    """How many runs wait."""
    return DIALECTS[connection.dialect.name].runs.count_waiting(connection)
