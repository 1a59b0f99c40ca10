"""The tables of an empty PostgreSQL database: those of all databases, and what only PostgreSQL's have."""

from __future__ import annotations

from sqlalchemy import Connection, text

from receiver.store.postgresql.engine import allow_long_statements
from receiver.store.schema import metadata

# Positions of the feed (`postgresql.feed`). `postgresql.positions` replaces the function in another cluster.
_FEED = (
    "CREATE FUNCTION receiver_feed_offset() RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS 'SELECT 0::bigint'",
    "ALTER TABLE events ADD xid bigint NOT NULL DEFAULT pg_current_xact_id()::text::bigint + receiver_feed_offset()",
    "CREATE INDEX ix_events_commits ON events (xid, id)",
)
# What a foreign key would do, without its search of the run for each attempt (docs/adr/0106).
_ATTEMPTS = (
    """
    CREATE FUNCTION receiver_delete_attempts() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        DELETE FROM attempts USING deleted
        WHERE attempts.event_id = deleted.event_id AND attempts.handler = deleted.handler;
        RETURN NULL;
    END $$
    """,
    """
    CREATE TRIGGER delete_attempts AFTER DELETE ON runs REFERENCING OLD TABLE AS deleted
    FOR EACH STATEMENT EXECUTE FUNCTION receiver_delete_attempts()
    """,
)
# A process of a release that does not say by which keys it indexes metadata may index nothing (docs/adr/0102).
_METADATA_KEYS = (
    """
    CREATE FUNCTION receiver_forget_metadata_keys() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        UPDATE metadata_keys SET completed_at = NULL, event_id = '', job_id = '';
        RETURN NULL;
    END $$
    """,
    """
    CREATE TRIGGER forget_metadata_keys AFTER INSERT ON processes FOR EACH ROW WHEN (NEW.metadata_keys IS NULL)
    EXECUTE FUNCTION receiver_forget_metadata_keys()
    """,
)
# A run is updated about three times in its life: room in its page keeps the new versions near the old ones. Each claim
# passes over the dead entries of the index of pending runs, so that they must go soon: after a fixed number of changes,
# whatever the size of the table.
_STORAGE = {
    "runs": "fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, "
    "autovacuum_analyze_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0",
    "jobs": "fillfactor = 80, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000",
    "source_state": "fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500",
    "signing_keys": "fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500",
}


def create(connection: Connection) -> None:
    """Create everything; the database has none of it."""
    metadata.create_all(connection, checkfirst=False)
    for statement in (*_FEED, *_ATTEMPTS, *_METADATA_KEYS):
        connection.execute(text(statement))
    for table, parameters in _STORAGE.items():
        connection.execute(text(f"ALTER TABLE {table} SET ({parameters})"))


def lock_schema(connection: Connection) -> None:
    """Wait until no other process changes the schema, and hold that until the end of the transaction.

    From then on statements may take as long as they need, and still wait for locks only as long as all others: a lock
    on a table that is waited for makes every other transaction wait, too.
    """
    before = connection.execute(text("SELECT current_setting('lock_timeout')")).scalar_one()
    allow_long_statements(connection)
    connection.execute(text("SET LOCAL lock_timeout = 0"))
    connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = '5min'"))  # the scripts are loaded
    connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended('receiver: schema', 2))"))
    connection.execute(text("SELECT set_config('lock_timeout', :before, true)"), {"before": before})
