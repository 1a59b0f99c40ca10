"""Addresses and databases of PostgreSQL that cannot be used are refused at once, and say what to do."""

from __future__ import annotations

import random
import select
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Connection, text

from receiver.cli.store_check import check_store
from receiver.clock import SystemClock
from receiver.errors import StoreUnavailable
from receiver.store import inbox, views
from receiver.store.backends import backend_of
from receiver.store.database import Database
from receiver.store.migrate import migrate, revision
from receiver.store.postgresql.address import location_of, postgresql_url
from tests.patience import PATIENCE
from tests.postgresql_server import PostgresqlServer
from tests.unit.store.conftest import MakeDelivery

pytestmark = pytest.mark.postgresql


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://tts:se@cret/w:rd#1%&?@127.0.0.1:5440/receiver",
        "postgresql://tts:se@127.0.0.1:5440/cretrest@host/receiver",
        "postgresql://tts:12?secret@host/receiver",
        "postgresql://tts:12/secret@host/receiver",
        "postgresql://tts:12#secret@host/receiver",
        "postgresql://tts:secret%zz@host/receiver",
        "postgresql://tts:a secret@host/receiver",
    ],
)
def test_a_password_that_is_not_encoded_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(ValueError, match="write @ as %40") as refused:
        backend_of(url, Path("/"))
    assert "cret" not in str(refused.value)


@pytest.mark.parametrize("port", ["0", "65536", "99999", "x", "-1", "5432:1"])
def test_a_port_that_is_none_is_refused(port: str) -> None:
    with pytest.raises(ValueError, match="1 to 65535"):
        backend_of(f"postgresql://tts@host:{port}/receiver", Path("/"))


def test_the_other_name_of_the_scheme_is_corrected() -> None:
    with pytest.raises(ValueError, match="write postgresql://"):
        backend_of("postgres://tts@host/receiver", Path("/"))


def test_several_hosts_are_tried_in_their_order() -> None:
    url = postgresql_url("postgresql://tts:se%40cret@one:5442,[::1]:5443,three/receiver?sslmode=require")
    _, options = url.get_dialect()().create_connect_args(url)
    assert (options["host"], options["port"], options["password"]) == ("one,::1,three", "5442,5443,", "se@cret")
    assert options["sslmode"] == "require"
    assert location_of(url) == "postgresql://tts@one:5442,[::1]:5443,three/receiver"


def test_every_connection_finds_the_host_that_responds(postgresql: PostgresqlServer) -> None:
    name = postgresql.copy()
    url = postgresql.url(name).replace("?host=", "?host=/nowhere&host=")
    assert url.count("host=") == 2
    backend = backend_of(url, Path("/"))
    with closing(Database(backend)) as database:
        assert migrate(database)[0] is not None
        processes = backend.processes("me", SystemClock(), random.Random(0))
        processes.join()
        assert processes.is_visible
        processes.leave()
    postgresql.drop(name)


@contextmanager
def empty_database(server: PostgresqlServer, options: str = "") -> Iterator[tuple[str, Database]]:
    name = server.create(options=options)
    with closing(Database(backend_of(server.url(name), Path("/")))) as database:
        yield name, database
    server.drop(name)


@pytest.mark.direct
@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_database_that_cannot_store_every_text_is_refused(postgresql: PostgresqlServer, encoding: str) -> None:
    with empty_database(postgresql, f"ENCODING '{encoding}' LOCALE 'C'") as (_, database):
        with pytest.raises(StoreUnavailable, match=f"its encoding is {encoding}.*ENCODING 'UTF8'"):
            migrate(database)
        [problem] = check_store(database)
        assert f"its encoding is {encoding}" in problem.what


@pytest.mark.direct
def test_a_database_that_is_read_only_is_refused(postgresql: PostgresqlServer) -> None:
    with empty_database(postgresql) as (name, database):
        postgresql.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        with pytest.raises(StoreUnavailable, match=r"session is read-only\): it is a standby, or read-only"):
            migrate(database)


@pytest.mark.direct
def test_a_role_that_may_not_create_tables_is_told_by_check(postgresql: PostgresqlServer) -> None:
    with empty_database(postgresql) as (name, owners):
        postgresql.execute("CREATE ROLE without_rights LOGIN")
        url = postgresql.url(name).replace("postgres:@", "without_rights:@")
        with closing(Database(backend_of(url, Path("/")))) as database:
            [problem] = check_store(database)
            assert "permission denied for schema public" in problem.what
            assert "GRANT CREATE, USAGE ON SCHEMA public" in problem.what
        assert check_store(owners) == []
        assert owners.query(revision) is None, "nothing was created"
    postgresql.execute("DROP ROLE without_rights")


@contextmanager
def role_with(server: PostgresqlServer, *settings: str, options: str = "") -> Iterator[Database]:
    """An empty database of a role with these settings."""
    role = f"set_{server.create()}"
    name = role.removeprefix("set_")
    server.execute(f"CREATE ROLE {role} LOGIN")
    server.execute(f"ALTER DATABASE {name} OWNER TO {role}")
    for setting in settings:
        server.execute(f"ALTER ROLE {role} SET {setting}")
    url = server.url(name).replace("postgres:@", f"{role}:@") + options
    with closing(Database(backend_of(url, Path("/")))) as database:
        yield database
    server.drop(name)
    server.execute(f"DROP ROLE {role}")


@pytest.mark.direct
@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("search_path = nowhere", "no schema in the role's search_path exists"),
        ("default_transaction_read_only = on", "it is a standby, or read-only"),
    ],
)
def test_a_setting_of_the_role_that_lets_nothing_work_is_named(
    postgresql: PostgresqlServer, setting: str, said: str
) -> None:
    with role_with(postgresql, setting) as database:
        [problem] = check_store(database)
        assert said in problem.what
        with pytest.raises(StoreUnavailable, match=said):
            migrate(database)


@pytest.mark.direct
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("&sslmode=nonsense", "correct the options of the address"),
        ("&nonsense=1", "correct the options of the address"),
    ],
)
def test_an_option_of_the_address_that_is_wrong_is_named(postgresql: PostgresqlServer, options: str, said: str) -> None:
    with role_with(postgresql, options=options) as database:
        [problem] = check_store(database)
        assert said in problem.what


@pytest.mark.direct
@pytest.mark.parametrize(
    "setting",
    [
        "array_nulls = off",
        "bytea_output = 'escape'",
        "datestyle = 'SQL, DMY'",
        "default_transaction_deferrable = on",
        "default_transaction_isolation = 'serializable'",
        "extra_float_digits = -15",
        "idle_in_transaction_session_timeout = '100ms'",
        "intervalstyle = 'iso_8601'",
        "lock_timeout = '100ms'",
        "standard_conforming_strings = off",
        "statement_timeout = '100ms'",
        "timezone = 'Asia/Kathmandu'",
        "transaction_timeout = '100ms'",
    ],
)
def test_a_setting_of_the_role_changes_nothing(
    postgresql: PostgresqlServer, delivery: MakeDelivery, setting: str
) -> None:
    made = delivery("job_ä\\'", key_id=None)
    with role_with(postgresql, setting) as database:
        migrate(database)

        def accept(connection: Connection) -> None:
            connection.execute(text("SELECT pg_sleep(0.3)"))
            inbox.accept(connection, [made])

        database.transact(accept)
        found = database.query(views.get_event, made.event_id)
        assert found is not None
        for column in ("received_at", "body", "key", "key_id"):
            assert found[column] == getattr(made, column)
        assert check_store(database) == []


@pytest.mark.direct
@pytest.mark.parametrize(("given", "used"), [("off", "on"), ("local", "local"), ("remote_apply", "remote_apply")])
def test_a_commit_waits_for_the_disk_whatever_the_role_has(postgresql: PostgresqlServer, given: str, used: str) -> None:
    def setting(connection: Connection) -> str:
        return str(connection.execute(text("SHOW synchronous_commit")).scalar_one())

    with role_with(postgresql, f"synchronous_commit = {given}") as database:
        migrate(database)
        assert database.query(setting) == given
        assert database.transact(setting) == used


@pytest.mark.direct
def test_a_limit_of_idle_sessions_does_not_end_the_session_of_a_process(postgresql: PostgresqlServer) -> None:
    with role_with(postgresql, "idle_session_timeout = '50ms'") as database:
        migrate(database)
        processes = database.processes("me", SystemClock(), random.Random(0))
        processes.join()
        with psycopg.connect(postgresql.url("postgres"), autocommit=True) as other:
            other.execute("SET idle_session_timeout = '50ms'")
            until_ended = select.poll()
            until_ended.register(other.fileno(), select.POLLIN)
            assert until_ended.poll(PATIENCE * 1000), "the limit has passed, and this session is ended"
        assert processes.is_visible
        processes.leave()


@pytest.mark.direct
def test_a_limit_of_the_roles_connections_is_named(postgresql: PostgresqlServer) -> None:
    with role_with(postgresql) as database:
        [role] = database.query(lambda connection: connection.execute(text("SELECT current_user")).scalars().all())
        postgresql.execute(f"ALTER ROLE {role} CONNECTION LIMIT 1")
        with pytest.raises(StoreUnavailable, match="raise its CONNECTION LIMIT by ALTER ROLE"):
            database.transact(revision)


@pytest.mark.direct
def test_a_server_that_accepts_connections_and_says_nothing_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://receiver@127.0.0.1:{silent.getsockname()[1]}/receiver?connect_timeout=2"
        with closing(Database(backend_of(url, Path("/")))) as database:
            [problem] = check_store(database)
    assert "cannot be reached (connection timeout expired): check the host and the port" in problem.what
    assert "whether the server hangs" in problem.what
