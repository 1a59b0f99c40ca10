"""Converts PostgreSQL's errors to ours, which say what happened, where and what to do, without a password."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import URL, exc

from receiver.errors import StoreFull, StoreLocked, StoreMalformed, StoreUnavailable
from receiver.store.backend import is_failure_of_store
from receiver.store.postgresql.address import location_of

MAX_TEXT = 300

# https://www.postgresql.org/docs/current/errcodes-appendix.html
SERIALIZATION_FAILURE, DEADLOCK = "40001", "40P01"
LOCK_NOT_AVAILABLE = "55P03"
DISK_FULL = "53100"
DATA_CORRUPTED, INDEX_CORRUPTED = "XX001", "XX002"
READ_ONLY = "25006"
STATEMENT_TIMEOUT = "57014"
TOO_MANY_CONNECTIONS = "53300"
NO_PRIVILEGE, UNDEFINED_TABLE, UNDEFINED_COLUMN, NO_SCHEMA = "42501", "42P01", "42703", "3F000"
IDLE_SESSION, IDLE_TRANSACTION, TRANSACTION_TIMEOUT = "57P05", "25P03", "25P04"
UNKNOWN_STATEMENT, STATEMENT_EXISTS = "26000", "42P05"

_RETRIED = {SERIALIZATION_FAILURE, DEADLOCK}
_SETUP = {NO_PRIVILEGE, UNDEFINED_TABLE, UNDEFINED_COLUMN, NO_SCHEMA, UNKNOWN_STATEMENT, STATEMENT_EXISTS}
"""Every write fails with these, whatever it is. The driver counts them as mistakes in a statement."""
_POOLER = "a pooler gives each transaction another session: set store.pooled = true for every process on this store"
_ADVICE = {
    READ_ONLY: "it is a standby, or read-only: let store.url name the primary",
    STATEMENT_TIMEOUT: "a statement took too long: look for slow disks, for long transactions in pg_stat_activity, and "
    "for a statement_timeout of the role or the database",
    TOO_MANY_CONNECTIONS: "raise max_connections, or end other clients",
    NO_PRIVILEGE: "make the role of store.url the owner of the receiver's tables; to create them it needs "
    "GRANT CREATE, USAGE ON SCHEMA public",
    UNKNOWN_STATEMENT: _POOLER,
    STATEMENT_EXISTS: _POOLER,
    NO_SCHEMA: "no schema in the role's search_path exists: correct it by ALTER ROLE, or create the schema",
    IDLE_SESSION: "set idle_session_timeout = 0 for the role and the database",
    IDLE_TRANSACTION: "the receiver's process was stopped, or its machine is overloaded",
    TRANSACTION_TIMEOUT: "set transaction_timeout = 0 for the role and the database, or look for slow disks",
    UNDEFINED_TABLE: "run `tts-receiver db upgrade`, and check the role's search_path",
    UNDEFINED_COLUMN: "run `tts-receiver db upgrade`, and check the role's search_path",
}
_TLS = "correct sslmode and sslrootcert of the address, or the server's certificate"
_UNTRUSTED = {
    "root certificate file": "let sslrootcert of the address name a readable file with the certificate of the "
    "authority that issued the server's",
    "certificate verify failed": "the server's certificate is of no authority in the file of sslrootcert, or has "
    "expired: let sslrootcert name the authority's certificate, or renew the server's",
    "does not match host name": "name the host in the address as the server's certificate does, or issue one with this "
    "name",
}
"""The same where TLS was begun and the server is not trusted."""
_UNREACHABLE = "check that the server runs, and that the host and the port of the address are right"
_REFUSALS = {
    "authentication failed": "correct the user and the password of the address, or the server's",
    "no password supplied": "the address has no password, and neither do PGPASSWORD and the file ~/.pgpass",
    "pg_hba.conf": "allow it in the server's pg_hba.conf, or correct user, database and sslmode of the address",
    "does not exist": "create it, or correct the address",
    "connection slots": _ADVICE[TOO_MANY_CONNECTIONS],
    "too many clients": _ADVICE[TOO_MANY_CONNECTIONS],
    "too many connections for role": "raise its CONNECTION LIMIT by ALTER ROLE, or end its other clients",
    "too many connections for database": "raise its CONNECTION LIMIT by ALTER DATABASE, or end its other clients",
    "too many connections": _ADVICE[TOO_MANY_CONNECTIONS],
    "session is read-only": _ADVICE[READ_ONLY],
}
"""What to do, by a part of the server's message: the driver has no code of a connection that was never made."""
_CONNECTING = {
    "does not support SSL": "turn TLS on in the server, or correct sslmode of the address",
    "certificate": _TLS,
    "SSL error": _TLS,
    "invalid connection option": "correct the options of the address, which follow the ?",
    "invalid sslmode value": "correct the options of the address, which follow the ?",
    "unsupported startup parameter": "the pooler refuses this option of the address: leave it out, or name it in the "
    "pooler's ignore_startup_parameters",
    "the database system is": "it is starting, stopping or recovering, and its log says why: wait, or repair it",
    "timeout expired": "check the host and the port of the address, whether the server hangs, and whether a firewall "
    "drops packets to it",
    "has not answered": "the server hangs, is overloaded, waits for a synchronous standby that is gone "
    "(pg_stat_replication), or the network to it passes nothing on",
}
"""The same where no login was refused."""


def code_of(error: exc.DBAPIError) -> str | None:
    """The SQLSTATE; None if the server sent none, as when it cannot be reached."""
    found: str | None = getattr(error.orig, "sqlstate", None)
    return found


def is_retried(error: exc.DBAPIError) -> bool:
    """Whether the transaction was rolled back only because of another one, and succeeds when it is repeated."""
    return code_of(error) in _RETRIED


def is_locked(error: exc.DBAPIError) -> bool:
    """Whether a statement waited for a lock for as long as it may."""
    return code_of(error) == LOCK_NOT_AVAILABLE


def is_outage(error: exc.DBAPIError) -> bool:
    """Whether the store has failed, rather than this one write."""
    return code_of(error) in _SETUP or is_failure_of_store(error)


def unavailable(error: exc.DBAPIError, url: URL) -> StoreUnavailable:
    """Convert an error of the driver."""
    location, code, text = location_of(url), code_of(error), text_of(error.orig, url)
    if is_locked(error):
        return locked(url)
    if code in (DATA_CORRUPTED, INDEX_CORRUPTED):
        return malformed(url, text)
    if code == DISK_FULL:
        return StoreFull(f"The store {location} cannot be written ({text}): free space on the server's disk.")
    if code in _ADVICE:
        return StoreUnavailable(f"The store {location} cannot be used ({text}): {_ADVICE[code]}.")
    if code is None and (untrusted := _advice(text, _UNTRUSTED)):
        return StoreUnavailable(f"The store {location} cannot be trusted ({text}): {untrusted}.")
    if code is None and (refused := _advice(text, _REFUSALS)):
        return StoreUnavailable(f"The store {location} refuses the login ({text}): {refused}.")
    if code is None and (advice := _advice(text, _CONNECTING)):
        return StoreUnavailable(f"The store {location} cannot be reached ({text}): {advice}.")
    if code is None and not isinstance(error, exc.OperationalError | exc.InterfaceError):
        return StoreUnavailable(f"The store {location} failed: {text}.")  # the driver refused a value
    if code is None or code.startswith(("08", "57P")):
        return StoreUnavailable(f"The store {location} cannot be reached ({text}): {_UNREACHABLE}.")
    return StoreUnavailable(f"The store {location} failed ({code}): {text}.")


def _advice(text: str, known: Mapping[str, str]) -> str | None:
    return next((advice for words, advice in known.items() if words in text), None)


def locked(url: URL) -> StoreLocked:
    """The error for a transaction of another session that does not end."""
    return StoreLocked(
        f"The store {location_of(url)} is locked: a transaction of another session does not end. Wait until it "
        "ends, or end it: pg_stat_activity shows transactions, and pg_blocking_pids who waits for whom. With "
        "wait_event SyncRep it waits for a synchronous standby that is gone (pg_stat_replication)."
    )


def malformed(url: URL, text: str) -> StoreMalformed:
    """The error for damaged data; `text` is the server's description."""
    return StoreMalformed(
        f"The store {location_of(url)} is damaged ({text}). Stop the receiver and restore the backup."
    )


def secrets_of(url: URL) -> list[str]:
    """What an address has that nobody may see, the longest first."""
    options = [_first(value) for name, value in url.query.items() if "password" in name]
    found = {text for text in (url.password, *options) if text}
    return sorted(found, key=len, reverse=True)


def _first(value: str | tuple[str, ...] | None) -> str | None:
    return value[0] if isinstance(value, tuple) else value


def text_of(error: Any, url: URL) -> str:
    """The first line of the server's message, without secrets: the others may contain values of rows."""
    primary = getattr(getattr(error, "diag", None), "message_primary", None)
    text = " ".join(str(primary or error).split())
    for secret in secrets_of(url):
        text = text.replace(secret, "***")
    return text[:MAX_TEXT].rstrip(".")
