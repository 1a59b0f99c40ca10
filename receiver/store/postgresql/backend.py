"""A store in a PostgreSQL database."""

from __future__ import annotations

import contextlib
import random
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, event, exc

from receiver.clock import Clock
from receiver.errors import StoreLocked, StoreMalformed, StoreUnavailable
from receiver.store.backend import Processes
from receiver.store.changes import MADE_DUE
from receiver.store.postgresql import engine, faults, positions, tables
from receiver.store.postgresql.address import location_of
from receiver.store.postgresql.engine import run_statement
from receiver.store.postgresql.heartbeats import RECENT, Heartbeats
from receiver.store.postgresql.listener import notify_in_transaction
from receiver.store.postgresql.processes import LIVING, SessionLocks

CANCEL_SECONDS = 1.0
"""How long a request to cancel a statement may take."""


class _Durable:
    """A server keeps what it committed, and there are no files to look after."""

    def opened(self) -> None:
        """Nothing to remember."""

    def require_store(self) -> None:
        """Nothing to check."""

    def require_unchanged(self) -> None:
        """Nothing to check."""

    def committed(self, connection: Connection) -> None:
        """Nothing to do: the server makes checkpoints."""

    def closed(self) -> None:
        """Nothing works for the writer."""

    def is_connected(self, connection: Connection) -> bool:
        """Whether the connection still has its server. Only outside a transaction."""
        return not connection.invalidated and engine.is_connected(connection.connection.driver_connection)


class PostgresqlBackend:
    """The PostgreSQL database at `url` (`postgresql_url`); see `store.backend`.

    Args:
        pooled: a pooler may give each transaction another session. Nothing is kept in a session: no prepared
            statement, no setting, no lock, and no LISTEN.
    """

    def __init__(self, url: URL, *, pooled: bool = False) -> None:
        self._url = url
        self._pooled = pooled
        self.location = location_of(url)
        self.folder: Path | None = None
        self.durability = _Durable()

    def exists(self) -> bool:
        """Always: an operator creates the database. Whether it can be reached is seen when it is used."""
        return True

    def create(self) -> None:
        """Nothing: see `exists`."""

    def create_tables(self, connection: Connection) -> bool:
        """Create the newest schema: no earlier release had PostgreSQL."""
        tables.create(connection)
        return True

    def hold_schema(self, connection: Connection) -> None:
        """By an advisory lock."""
        tables.lock_schema(connection)

    def writer_engine(self, lock_seconds: float) -> Engine:
        """Connections whose transactions are READ COMMITTED."""
        found = engine.postgresql_engine(self._url, lock_seconds, writes=True, prepares=not self._pooled)
        positions.follow_cluster(found, lock_seconds)
        return found

    def reader_engine(self, lock_seconds: float) -> Engine:
        """Connections that cannot write, whose transactions are snapshots."""
        return engine.postgresql_engine(self._url, lock_seconds, writes=False, prepares=not self._pooled)

    def set_lock_seconds(self, connection: Connection, seconds: float) -> None:
        """Change how long the connection's statements wait for another transaction. Only outside a transaction."""
        engine.set_lock_seconds(connection, seconds)

    def limit_answers(self, connection: Connection, seconds: float) -> None:
        """Set how long an answer may take. Only outside a transaction."""
        engine.limit_answers(connection, seconds)

    def interrupt(self, driver_connection: Any) -> None:
        """Request that the server cancel the statement. Takes up to `CANCEL_SECONDS`; a failure changes nothing."""
        import psycopg

        with contextlib.suppress(psycopg.Error):  # it is repeated while the statement runs
            driver_connection.cancel_safe(timeout=CANCEL_SECONDS)

    def is_outage(self, error: exc.DBAPIError) -> bool:
        """Whether the store has failed, rather than this one write."""
        return faults.is_outage(error)

    def is_retried(self, error: exc.DBAPIError) -> bool:
        """After a deadlock or a serialization failure."""
        return faults.is_retried(error)

    def is_locked_row(self, error: exc.DBAPIError) -> bool:
        """After `lock_timeout`."""
        return faults.is_locked(error)

    def unavailable(self, error: exc.DBAPIError) -> StoreUnavailable:
        """Convert an error of the driver."""
        return faults.unavailable(error, self._url)

    def locked(self) -> StoreLocked:
        """The error for a transaction of another session that does not end."""
        return faults.locked(self._url)

    def malformed(self, text: str) -> StoreMalformed:
        """The error for damaged data; `text` is the server's description."""
        return faults.malformed(self._url, text)

    def probe(self, connection: Connection) -> None:
        """Write a record to the server's log, which every commit waits for."""
        engine.run_statement(connection, "SELECT pg_logical_emit_message(true, 'receiver', '')")

    def has_written(self, connection: Connection) -> bool:
        """Whether the transaction has a number: only then its commit waits for the disk and for a standby."""
        return bool(engine.run_statement(connection, "SELECT pg_current_xact_id_if_assigned() IS NOT NULL")[0][0])

    def checkpoint(self, connection: Connection) -> None:
        """Nothing: the server does it."""

    def find_damage(self, connection: Connection) -> str | None:
        """None: the server checks pages when it reads them, and its operator has pg_amcheck."""
        return None

    def durability_risks(self, connection: Connection) -> list[str]:
        """Of settings that an operator has turned off, and that the receiver does not turn on."""
        names = ("fsync", "full_page_writes", "synchronous_commit", "synchronous_standby_names")
        statement = "SELECT " + ", ".join(f"current_setting('{name}')" for name in names)
        fsync, full_page_writes, synchronous_commit, standbys = engine.run_statement(connection, statement)[0]
        risks = []
        if fsync == "off":
            risks.append(
                "fsync = off of the database server: a crash of its machine or a power cut loses acknowledged "
                "deliveries, or the whole database; set it on, and reload"
            )
        if full_page_writes == "off":
            risks.append(
                "full_page_writes = off of the database server: a power cut can damage the database, unless its file "
                "system writes whole pages; set it on, and reload"
            )
        if synchronous_commit == "local" and standbys:
            risks.append(
                "synchronous_commit = local of the database server, database or role, so that no commit waits for the "
                "standbys in synchronous_standby_names: a failover loses acknowledged deliveries; set it on"
            )
        return risks

    def announce_commits(self, engine: Engine) -> None:
        """By a NOTIFY in the transaction, so that none is missing; behind a pooler the processes poll."""
        if self._pooled:
            return

        @event.listens_for(engine, "commit")
        def announce(connection: Connection) -> None:
            notify_in_transaction(partial(run_statement, connection), MADE_DUE)

    def processes(self, owner: str, clock: Clock, rng: random.Random) -> Processes:
        """Seen by the lock of a connection of their own, or by heartbeats if a pooler has the connections."""
        if self._pooled:
            return Heartbeats(self._url, owner, clock)
        return SessionLocks(self._url, owner, clock, rng)

    def find_living(self) -> list[str]:
        """By their locks; behind a pooler by heartbeats of the last minute."""
        found = self.reader_engine(CANCEL_SECONDS)
        try:
            with found.connect() as connection, connection.begin():
                rows = engine.run_statement(connection, RECENT if self._pooled else LIVING)
                return [owner for (owner,) in rows]
        except exc.DBAPIError as error:
            raise OSError(faults.text_of(error.orig, self._url)) from None
        finally:
            found.dispose()
