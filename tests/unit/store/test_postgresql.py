"""A store in PostgreSQL: what its errors mean, a server that goes away, the schema, and where passwords are not."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, exc, text

from receiver.errors import StoreFull, StoreLocked, StoreMalformed, StoreUnavailable
from receiver.settings.tables import Store
from receiver.store import claims, inbox
from receiver.store import database as database_module
from receiver.store.backends import backend_of
from receiver.store.database import Database
from receiver.store.migrate import migrate, require_current, revision
from receiver.store.schema import HEAD, metadata
from tests.patience import PATIENCE
from tests.postgresql_server import PostgresqlServer
from tests.stores import postgresql_address
from tests.unit.store.conftest import NOW, MakeDelivery

pytestmark = [pytest.mark.anyio, pytest.mark.postgresql]

ADDRESS = "postgresql://tts:pa%24%24word@db.example:5433/speech?sslpassword=other-one"


def count(database: Database, table: str = "events") -> int:
    return int(
        database.query(lambda connection: connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())
    )


@pytest.fixture
def empty(postgresql: PostgresqlServer) -> Iterator[Callable[[], Database]]:
    """Opens one empty database, any number of times."""
    name, opened = postgresql.create(), []

    def open_it() -> Database:
        opened.append(Database(backend_of(postgresql.url(name), Path("/"))))
        return opened[-1]

    yield open_it
    for database in opened:
        database.close()
    postgresql.drop(name)


# errors


def refuse(code: str) -> Callable[[Connection], None]:
    """Fails as the server does with this SQLSTATE."""

    def run(connection: Connection) -> None:
        connection.execute(text(f"DO $$ BEGIN RAISE EXCEPTION 'so it is' USING ERRCODE = '{code}'; END $$"))

    return run


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("55P03", StoreLocked), ("53100", StoreFull), ("XX001", StoreMalformed), ("XX002", StoreMalformed),
        ("57P01", StoreUnavailable), ("53300", StoreUnavailable), ("25006", StoreUnavailable),
        ("57014", StoreUnavailable), ("42501", StoreUnavailable), ("42P01", StoreUnavailable),
        ("26000", StoreUnavailable), ("42P05", StoreUnavailable),
        ("23505", exc.IntegrityError), ("22003", exc.DataError), ("42601", exc.ProgrammingError),
    ],
)  # fmt: skip
def test_an_error_of_the_server_is_the_stores_or_the_writes(
    database: Database, code: str, error: type[Exception]
) -> None:
    with pytest.raises(error) as raised:
        database.transact(refuse(code))
    assert type(raised.value) is error
    assert count(database) == 0, "the connection is as before"


async def test_a_write_that_fails_for_another_transaction_is_repeated(
    database: Database, delivery: MakeDelivery
) -> None:
    failures = iter(["40001", "40P01"])

    def write(connection: Connection) -> str:
        code = next(failures, None)
        inbox.accept(connection, [delivery("again")])
        if code is not None:
            refuse(code)(connection)
        return "stored"

    assert await database.write(write) == "stored"
    assert count(database) == 1
    assert database.health.outage() is None


async def test_a_write_that_fails_each_time_is_given_up(database: Database) -> None:
    with pytest.raises(StoreUnavailable, match="40001"):
        await database.write(refuse("40001"))
    with pytest.raises(StoreUnavailable, match="40P01"):
        database.transact(refuse("40P01"))


def test_of_two_that_wait_for_each_other_both_are_done(database: Database, delivery: MakeDelivery) -> None:
    database.transact(inbox.accept, [delivery("one"), delivery("two")])
    meeting = threading.Barrier(2)

    def change(keys: tuple[str, str]) -> None:
        tries: list[int] = []

        def run(connection: Connection) -> None:
            for key in keys:
                changed = "UPDATE events SET duplicates = duplicates + 1 WHERE key = :key"
                connection.execute(text(changed), {"key": key})
                if not tries:
                    tries.append(1)
                    meeting.wait(PATIENCE)

        database.transact(run)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(change, [("one", "two"), ("two", "one")]))
    assert database.query(lambda c: c.execute(text("SELECT duplicates FROM events")).scalars().all()) == [2, 2]


@pytest.fixture
def impatient(postgresql: PostgresqlServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Database, str]]:
    """A store that waits for nobody's lock for long, and its address."""
    monkeypatch.setattr(database_module, "BUSY_SECONDS", 0.05)
    with postgresql_address(postgresql) as url:
        database = Database(backend_of(url, Path("/")))
        database.start()
        yield database, url
        database.close()


async def test_a_lock_of_somebody_else_is_waited_for_only_so_long(
    impatient: tuple[Database, str], delivery: MakeDelivery
) -> None:
    database, url = impatient
    with psycopg.connect(url) as other:
        other.execute("LOCK TABLE events IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(StoreLocked, match=r"pg_stat_activity .* SyncRep"):
            await database.batch(inbox.accept, delivery())
        other.rollback()
    await database.batch(inbox.accept, delivery())


async def test_a_row_that_somebody_else_locks_keeps_no_delivery_from_being_stored(
    impatient: tuple[Database, str], delivery: MakeDelivery
) -> None:
    database, url = impatient
    stored = await database.batch(inbox.accept, delivery())
    change = text("UPDATE events SET duplicates = 7 WHERE id = :id")
    go = threading.Event()
    with psycopg.connect(url) as other:
        other.execute("SELECT 1 FROM events WHERE id = %s FOR UPDATE", (stored.event_id,))
        before = asyncio.ensure_future(database.write(lambda _: go.wait(PATIENCE)))
        changed = asyncio.ensure_future(database.write(lambda c: c.execute(change, {"id": stored.event_id}).rowcount))
        accepted = [database.batch(inbox.accept, delivery(job)) for job in ("one", "two")]
        while database.waiting < 4:
            await asyncio.sleep(0)
        go.set()
        assert await before
        assert [receipt.duplicate for receipt in await asyncio.gather(*accepted)] == [False, False]
        with pytest.raises(StoreLocked):
            await changed
        other.rollback()


# a server that goes away


@contextmanager
def stopped(postgresql: PostgresqlServer) -> Iterator[None]:
    postgresql.stop()
    try:
        yield
    finally:
        postgresql.start()


@pytest.mark.direct
async def test_a_server_that_goes_away_is_an_outage_until_it_is_back(
    database: Database, postgresql: PostgresqlServer, delivery: MakeDelivery
) -> None:
    available: list[None] = []
    database.health.on_available = lambda: available.append(None)
    await database.batch(inbox.accept, delivery("before"))
    assert await database.read(claims.next_due, ["save_audio"], NOW) == NOW
    with stopped(postgresql):
        with pytest.raises(StoreUnavailable, match="cannot be reached"):
            await database.batch(inbox.accept, delivery("during"))
        with pytest.raises(StoreUnavailable, match="cannot be reached"):
            await database.read(claims.next_due, ["save_audio"], NOW)
        with pytest.raises(StoreUnavailable, match="cannot be reached"):
            database.test_write()
        assert isinstance(database.health.outage(), StoreUnavailable)
    assert available == []
    for name in ("after", "and later"):
        await database.batch(inbox.accept, delivery(name))
    assert len(available) == 1
    assert await database.read(claims.next_due, ["save_audio"], NOW) == NOW
    assert database.health.outage() is None
    assert count(database) == 3


async def test_nobody_notices_a_restart_while_nothing_is_asked(
    database: Database, postgresql: PostgresqlServer, delivery: MakeDelivery
) -> None:
    await database.batch(inbox.accept, delivery("before"))
    await database.read(claims.next_due, ["save_audio"], NOW)
    with stopped(postgresql):
        pass
    await database.batch(inbox.accept, delivery("after"))
    await database.read(claims.next_due, ["save_audio"], NOW)
    database.test_write()
    assert count(database) == 2


async def test_a_connection_that_is_ended_in_a_transaction_stores_nothing(
    database: Database, delivery: MakeDelivery
) -> None:
    def end_myself(connection: Connection) -> None:
        inbox.accept(connection, [delivery("lost")])
        connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))

    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        await database.write(end_myself)
    await database.batch(inbox.accept, delivery("after"))
    assert count(database) == 1


# transactions


def test_every_transaction_has_time_outs_and_leaves_none_in_the_session(database: Database) -> None:
    names = ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout", "transaction_isolation")

    def read(connection: Connection) -> list[str]:
        return [connection.execute(text(f"SHOW {name}")).scalar_one() for name in names]

    assert database.transact(read) == ["5s", "30s", "10s", "read committed"]
    assert database.query(read) == ["5s", "30s", "1min", "repeatable read"]
    with database._writer_engine.connect() as connection:
        session: Any = connection.connection.driver_connection
        assert [session.execute(f"SHOW {name}").fetchone()[0] for name in names[:3]] == ["0", "0", "0"]


async def test_a_process_keeps_a_connection_for_each_thread_that_uses_the_store(
    database: Database, delivery: MakeDelivery
) -> None:
    opened = text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")

    def ask(connection: Connection) -> int:
        return int(connection.execute(opened).scalar_one())

    for n in range(8):
        work = [database.read(ask), database.read(ask), database.read_list(ask), database.read_list(ask)]
        await asyncio.gather(database.batch(inbox.accept, delivery(f"j{n}")), *work)
    assert await database.read(ask) == 5


def test_a_reader_cannot_write(database: Database) -> None:
    with pytest.raises(StoreUnavailable, match="read-only"):
        database.query(lambda connection: connection.execute(text("DELETE FROM events")))


# the schema


def test_an_empty_database_gets_the_newest_schema(empty: Callable[[], Database]) -> None:
    database = empty()
    assert database.query(revision) is None
    assert migrate(database) == (None, HEAD)
    assert migrate(database) == (HEAD, HEAD)
    database.query(require_current)

    def differences(connection: Connection) -> list[Any]:
        return list(compare_metadata(MigrationContext.configure(connection), metadata))

    found = {(kind, getattr(what, "name", None)) for kind, *_, what in database.query(differences)}
    # What only PostgreSQL has, and the foreign key that only SQLite has (docs/adr/0106).
    assert found == {("remove_column", "xid"), ("remove_index", "ix_events_commits"), ("add_fk", "fk_attempts_runs")}


def test_two_processes_that_start_at_once_create_the_schema_once(empty: Callable[[], Database]) -> None:
    with ThreadPoolExecutor(2) as pool:
        assert [after for _, after in pool.map(migrate, [empty(), empty()])] == [HEAD, HEAD]


def test_partial_indexes_are_partial_and_runs_have_room(database: Database) -> None:
    partial = {
        str(index.name): index.dialect_options["postgresql"]["where"] is not None
        for table in metadata.tables.values()
        for index in table.indexes
    }
    found = "SELECT indexname, indexdef LIKE '% WHERE %' FROM pg_indexes WHERE indexname LIKE 'ix\\_%'"
    indexes = database.query(lambda connection: {row[0]: row[1] for row in connection.execute(text(found))})
    assert indexes == partial | {"ix_events_commits": False}
    settings = "SELECT reloptions FROM pg_class WHERE relname = 'runs'"
    options = database.query(lambda connection: connection.execute(text(settings)).scalar_one())
    assert {"fillfactor=70", "autovacuum_vacuum_scale_factor=0", "autovacuum_vacuum_threshold=5000"} <= set(options)


# addresses


def test_a_password_is_shown_nowhere() -> None:
    backend = backend_of(ADDRESS, Path("/"))
    assert backend.location == "postgresql://tts@db.example:5433/speech"
    failed = exc.OperationalError(None, None, psycopg.OperationalError("pa$$word other-one pa%24%24word"))
    for message in (str(backend.unavailable(failed)), str(backend.locked()), str(backend.malformed("x"))):
        assert "word@" not in message
        assert "pa$$" not in message
        assert "other-one" not in message
    assert "pa%24" not in repr(Store(url=ADDRESS))


@pytest.mark.parametrize(
    "url", ["postgresql://", "postgresql://host", "postgresql:secret", "postgresql://u:secret@h:port/d", "mysql://h/d"]
)
def test_an_address_that_cannot_be_used_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(ValueError, match=r"address|names no|only") as raised:
        backend_of(url, Path("/"))
    assert "secret" not in str(raised.value)


def test_texts_are_compared_by_their_bytes_whatever_the_locale_of_the_database(database: Database) -> None:
    """The server of the tests may have no other locale, so the columns are asked."""
    columns = text(
        "SELECT DISTINCT collation_name FROM information_schema.columns"
        " WHERE table_schema = 'public' AND table_name != 'alembic_version' AND data_type = 'text'"
    )
    assert database.query(lambda connection: connection.execute(columns).scalars().all()) == ["C"]
