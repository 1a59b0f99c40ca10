"""Converts SQLite's errors, which name neither path nor cause, to ours, which say both and what to do.

No function here opens the store's own files: closing one would release SQLite's locks on it in this process.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
import tempfile
from pathlib import Path

from sqlalchemy import exc

from receiver.errors import StoreFull, StoreLocked, StoreMalformed, StoreUnavailable
from receiver.os_errors import cause_and_advice

_PRIMARY = 0xFF
"""The bits of SQLite's result code with the primary code."""
_EFFECTIVE = os.access in os.supports_effective_ids
_VERBS = {
    sqlite3.SQLITE_CANTOPEN: "opened",
    sqlite3.SQLITE_PERM: "opened",
    sqlite3.SQLITE_AUTH: "opened",
    sqlite3.SQLITE_READONLY: "written",
    sqlite3.SQLITE_IOERR: "read or written",
}


def unavailable(error: exc.DBAPIError, path: Path) -> StoreUnavailable:
    """Convert an error of SQLite."""
    text = str(error.orig)
    kind = getattr(error.orig, "sqlite_errorcode", 0) & _PRIMARY
    if kind in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return locked(path)
    if kind == sqlite3.SQLITE_CORRUPT:
        return malformed(path, text)
    if kind == sqlite3.SQLITE_NOTADB:
        return StoreMalformed(
            f"{path} is not a store ({text}). Restore it from the backup, or let store.url name another file."
        )
    cause = _cause(path)
    if kind == sqlite3.SQLITE_FULL or (cause is not None and cause.errno in (errno.ENOSPC, errno.EDQUOT)):
        why = cause_and_advice(cause or OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
        return StoreFull(f"The store {path} cannot be written ({text}): {why}")
    if kind in _VERBS:
        why = "check its disk and folder." if cause is None else cause_and_advice(cause)
        return StoreUnavailable(f"The store {path} cannot be {_VERBS[kind]} ({text}): {why}")
    return StoreUnavailable(f"The store {path} failed: {text}.")


def unreachable(error: OSError, path: Path) -> StoreUnavailable:
    """Convert an error of the operating system."""
    return StoreUnavailable(f"The store {path} cannot be opened: {cause_and_advice(error)}")


def locked(path: Path) -> StoreLocked:
    """The error for a write transaction of another process that does not end."""
    return StoreLocked(
        f"The store {path} is locked (database is locked): another process holds a write transaction. Wait until it "
        f"ends, or end it: `fuser {path}` names the processes that have the file open."
    )


def malformed(path: Path, text: str) -> StoreMalformed:
    """The error for a damaged store; `text` is SQLite's description."""
    return StoreMalformed(f"The store {path} is damaged ({text}). Stop the receiver and restore the backup.")


def _cause(path: Path) -> OSError | None:
    """The operating system's error with the store's files or folder; None if there is none."""
    try:
        try:
            if stat.S_ISDIR(path.stat().st_mode):
                return _system_error(errno.EISDIR, path)
        except FileNotFoundError:
            path.parent.stat()  # raises if the folder is missing
        files = [path, Path(f"{path}-wal"), Path(f"{path}-shm")]
        for file in files:
            if file.exists() and not os.access(file, os.R_OK | os.W_OK, effective_ids=_EFFECTIVE):
                read_only = os.statvfs(file).f_flag & os.ST_RDONLY
                return _system_error(errno.EROFS if read_only else errno.EACCES, file)
        with tempfile.TemporaryFile(dir=path.parent, buffering=0) as trial:
            trial.write(bytes(4096))
    except OSError as error:
        return _system_error(error.errno, path.parent)
    return None


def _system_error(number: int | None, path: Path) -> OSError:
    if number is None:
        return OSError(errno.EIO, f"{path}: it cannot be used")
    return OSError(number, f"{path}: {os.strerror(number)}")
