"""Positions of the feed in another cluster, where the numbers of transactions start again.

A store that was dumped and restored, replicated or copied may have positions that are ahead of its cluster: its events
would be hidden, and new ones would be before them. Then the function `receiver_feed_offset`, which is part of the
store, gets a value that puts every transaction from now on after them (docs/adr/0079). The server replaces the function
by its value when it plans a statement, so that it costs nothing.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine, event

# One round trip, and one transaction. A database without tables has no function; the statements in between are parsed
# only if they are executed. A transaction that is not below `pg_snapshot_xmin` may store events after this one, so
# that the offset begins there. Those that wait for the lock of the table then plan again, with the new value.
_FOLLOW = """
SELECT set_config('lock_timeout', '{milliseconds}', true);
DO $follow$
DECLARE
    behind CONSTANT text := 'SELECT max(xid) + 1 - pg_snapshot_xmin(pg_current_snapshot())::text::bigint FROM events'
        ' HAVING max(xid) >= pg_snapshot_xmax(pg_current_snapshot())::text::bigint + receiver_feed_offset()';
    wanted bigint;
BEGIN
    IF to_regprocedure('receiver_feed_offset()') IS NULL OR to_regclass('events') IS NULL THEN
        RETURN;
    END IF;
    EXECUTE behind INTO wanted;
    IF wanted IS NULL THEN
        RETURN;
    END IF;
    LOCK TABLE events IN SHARE ROW EXCLUSIVE MODE;
    EXECUTE behind INTO wanted;
    IF wanted IS NOT NULL THEN
        EXECUTE format('CREATE OR REPLACE FUNCTION receiver_feed_offset() RETURNS bigint'
            ' LANGUAGE sql IMMUTABLE PARALLEL SAFE AS %L', 'SELECT ' || wanted || '::bigint');
    END IF;
END
$follow$
"""


def follow_cluster(engine: Engine, lock_seconds: float) -> None:
    """Let each new connection of the engine compare the store's positions with the cluster, before it writes.

    So they are right after a restore, and after a switch to a replica while the receiver runs.

    Args:
        lock_seconds: how long to wait until no transaction stores events.
    """
    statements = _FOLLOW.format(milliseconds=max(1, round(lock_seconds * 1000)))

    @event.listens_for(engine, "connect")
    def compare(driver_connection: Any, record: Any) -> None:
        driver_connection.execute(statements, prepare=False)
