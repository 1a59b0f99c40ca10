"""Connections to PostgreSQL, their transactions, and statements that pass SQLAlchemy."""

from __future__ import annotations

import select
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, exc

from receiver.errors import StoreUnavailable
from receiver.store.backend import ANSWER_SECONDS
from receiver.store.postgresql.address import location_of

if TYPE_CHECKING:
    import psycopg

    from receiver.store.postgresql.timed_connection import TimedConnection

CONNECT_SECONDS = 5
"""How long connecting may take."""
STATEMENT_SECONDS = 30.0
"""How long a statement may take: beyond this, the server does not do its work. Lists have a shorter limit."""
WRITE_ANSWER_SECONDS, READ_ANSWER_SECONDS = STATEMENT_SECONDS + 5.0, ANSWER_SECONDS
"""How long an answer may take, whatever the server does: beyond this, it hangs. Queries are short, or are interrupted
before; a command may change much at once."""
WRITE_IDLE_SECONDS, READ_IDLE_SECONDS = 10.0, 60.0
"""How long a transaction may wait for its process between two statements: a stopped process must not keep its locks,
nor keep the server from removing what was deleted."""
OLDEST_VERSION = 13
"""The oldest PostgreSQL that has `pg_current_xact_id` and `pg_snapshot_xmin`."""
ENCODING = "UTF8"
"""The only encoding of a database that can store what providers send."""
PREPARE_AFTER = 2
"""How often a session executes a statement before it keeps it prepared."""
WRITERS, READERS = 2, 2
"""Connections that an engine keeps: one for each thread that uses it in the running receiver (docs/adr/0090)."""
MAX_CONNECTIONS = 4
"""Connections of one engine at the most, for threads of tests and of embedding code. Further ones are not kept."""

_LOCK_SECONDS = "receiver_lock_seconds"
_ANSWER_SECONDS = "receiver_answer_seconds"
_WRITES = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
# Every statement is written for an index, and for few rows. Without this, the server scans tables, and joins all their
# rows, where it guesses that this is cheaper, as in a table that was not analysed yet.
_OFF = ("enable_seqscan", "enable_hashjoin", "enable_mergejoin", "jit")
_PLANS = "; ".join(f"SET LOCAL {name} = off" for name in _OFF)
_VALUES = "SET LOCAL extra_float_digits = 1; SET LOCAL array_nulls = on"
"""Values are read as they were written, whatever the role has: all digits of times, and NULL in arrays of a batch."""
_DURABLE = "SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'"
"""A commit waits for the disk, whatever the role has: a delivery is acknowledged after it. Another value stays:
`local`, `remote_write` and `remote_apply` say what else it waits for."""
_NO_LIMIT = "; SET LOCAL transaction_timeout = 0"
"""A limit of the role is for other clients: batches and copies have their own limits."""
_HAS_LIMIT = 170_000
"""The first version with `transaction_timeout`."""
_READS = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
# A connection whose peer has vanished is found within half a minute.
_CONNECT: dict[str, Any] = {
    "connect_timeout": CONNECT_SECONDS,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 4,
    "tcp_user_timeout": 30_000,
    "application_name": "tts-receiver",
    "client_encoding": ENCODING,
    # Of several hosts the primary; a standby, or a database that its operator has made read-only, is refused.
    "target_session_attrs": "read-write",
}


def postgresql_engine(url: URL, lock_seconds: float, *, writes: bool, prepares: bool) -> Engine:
    """Connections whose transactions are READ COMMITTED and may write, or are read-only snapshots.

    Args:
        lock_seconds: how long a statement waits for another transaction.
        prepares: the session keeps the statements that are executed often. It must be this connection's own.
    """
    kept = WRITERS if writes else READERS
    mode, idle_seconds = (f"{_WRITES}; {_DURABLE}", WRITE_IDLE_SECONDS) if writes else (_READS, READ_IDLE_SECONDS)
    answer_seconds = WRITE_ANSWER_SECONDS if writes else READ_ANSWER_SECONDS
    # The driver begins no transactions: BEGIN and the time-outs are one round trip.
    engine = create_engine(
        url,
        pool_size=kept,
        max_overflow=MAX_CONNECTIONS - kept,
        use_native_hstore=False,  # otherwise each engine looks for the type
        connect_args={**connect_options(url), "prepare_threshold": PREPARE_AFTER if prepares else None},
    )

    @event.listens_for(engine, "do_connect")
    def open_connection(dialect: Any, record: Any, arguments: Any, options: Any) -> Any:
        return _open(*arguments, **options)

    @event.listens_for(engine, "connect")
    def connected(driver_connection: Any, record: Any) -> None:
        _require_usable(driver_connection, url)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        driver: Any = connection.connection.driver_connection
        driver.answer_seconds = connection.info.get(_ANSWER_SECONDS, answer_seconds)
        seconds = connection.info.get(_LOCK_SECONDS, lock_seconds)
        # SET LOCAL, because what a session sets leaks to other clients of a pooler.
        _execute(
            connection,
            f"{mode}; SET LOCAL lock_timeout = {_milliseconds(seconds)}; "
            f"SET LOCAL statement_timeout = {_milliseconds(STATEMENT_SECONDS)}; "
            f"SET LOCAL idle_in_transaction_session_timeout = {_milliseconds(idle_seconds)}; {_PLANS}; {_VALUES}"
            f"{_NO_LIMIT if driver.info.server_version >= _HAS_LIMIT else ''}",
        )

    @event.listens_for(engine, "checkout")
    def check(driver_connection: Any, record: Any, proxy: Any) -> None:
        if not is_connected(driver_connection):
            raise exc.InvalidatePoolError  # the pool connects again

    return engine


def connect_options(url: URL) -> dict[str, Any]:
    """The options of every connection, for the driver; what the address says prevails."""
    return {name: value for name, value in _CONNECT.items() if name not in url.query} | {"autocommit": True}


def connect(url: URL, *, prepares: bool, answer_seconds: float) -> psycopg.Connection[Any]:
    """A connection of its own, outside any pool.

    Args:
        prepares: as for `postgresql_engine`.
        answer_seconds: how long an answer may take.

    Raises:
        psycopg.Error: the server cannot be reached.
    """
    _, parts = url.get_dialect()().create_connect_args(url)
    threshold = PREPARE_AFTER if prepares else None
    connection = _open(**{**parts, **connect_options(url), "prepare_threshold": threshold})
    connection.answer_seconds = answer_seconds
    return connection


def _open(*arguments: Any, **options: Any) -> TimedConnection:
    from receiver.store.postgresql.timed_connection import TimedConnection

    connection = TimedConnection.connect(*arguments, **options)
    connection.answer_seconds = ANSWER_SECONDS
    return connection


def _require_usable(driver_connection: Any, url: URL) -> None:
    """Refuse a database that cannot store every event; what it is was sent with the connection.

    Raises:
        StoreUnavailable: it has another encoding, or is too old.
    """
    version = driver_connection.info.server_version // 10_000
    encoding = driver_connection.info.parameter_status("server_encoding")
    wrong = None
    if version < OLDEST_VERSION:
        wrong = f"it is PostgreSQL {version}: {OLDEST_VERSION} or later is needed"
    elif encoding not in (None, ENCODING):
        wrong = (
            f"its encoding is {encoding}, which cannot store every text that providers send: create it with "
            f"ENCODING '{ENCODING}' TEMPLATE template0, and copy the store into it by `tts-receiver db copy`"
        )
    if wrong is not None:
        driver_connection.close()
        raise StoreUnavailable(f"The store {location_of(url)} cannot be used: {wrong}.")


def is_connected(driver_connection: Any) -> bool:
    """Whether an idle connection still has its server. Asks the kernel, not the server: no round trip."""
    if driver_connection.closed:
        return False
    poll = select.poll()
    poll.register(driver_connection.fileno(), select.POLLIN)
    return not poll.poll(0)  # an idle server sends nothing but its farewell


def set_lock_seconds(connection: Connection, seconds: float) -> None:
    """Set how long the statements of the connection's next transactions wait for another one."""
    connection.info[_LOCK_SECONDS] = seconds


def limit_answers(connection: Connection, seconds: float) -> None:
    """Set how long an answer may take in the connection's next transactions."""
    connection.info[_ANSWER_SECONDS] = seconds


def allow_long_statements(connection: Connection) -> None:
    """Let statements take as long as they need, until the end of the transaction."""
    run_statement(connection, "SET LOCAL statement_timeout = 0")
    driver: Any = connection.connection.driver_connection
    driver.answer_seconds = None


def run_statement(
    connection: Connection, statement: str, parameters: Sequence[Any] = (), *, binary: bool = False
) -> list[Any]:
    """Execute a statement with the driver itself, in the connection's transaction; return all rows.

    Args:
        binary: the server sends numbers and bytes as they are, not as text. For many rows.

    Raises:
        DBAPIError: as from SQLAlchemy.
    """
    cursor = _execute(connection, statement, parameters, binary=binary)
    return cursor.fetchall() if cursor.description is not None else []


def copy_rows(connection: Connection, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Insert rows by COPY.

    Raises:
        DBAPIError: as from SQLAlchemy.
    """
    statement = f"COPY {table} ({', '.join(columns)}) FROM STDIN"
    driver: Any = connection.connection.driver_connection
    try:
        with driver.cursor() as cursor, cursor.copy(statement) as copy:
            for row in rows:
                copy.write_row(row)
    except connection.dialect.loaded_dbapi.Error as error:
        raise _converted(connection, statement, error) from error


def _execute(
    connection: Connection, statement: str, parameters: Sequence[Any] | None = None, *, binary: bool = False
) -> Any:
    """Without parameters it may be several statements, and is not prepared."""
    driver: Any = connection.connection.driver_connection
    try:
        prepare = None if parameters is not None else False
        return driver.execute(statement, parameters, prepare=prepare, binary=binary)
    except connection.dialect.loaded_dbapi.Error as error:
        raise _converted(connection, statement, error) from error


def _converted(connection: Connection, statement: str, error: Any) -> Exception:
    """The driver's error as SQLAlchemy's."""
    driver: Any = connection.connection.driver_connection
    base = connection.dialect.loaded_dbapi.Error
    found: Exception = exc.DBAPIError.instance(
        statement, None, error, base, dialect=connection.dialect, connection_invalidated=bool(driver.closed)
    )
    if driver.closed:
        connection.invalidate(error)
    return found


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))  # 0 would be no limit
