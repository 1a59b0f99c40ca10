"""Migrate a store to the newest schema. The migration library is imported only if there is something to do."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, inspect, text

from receiver.errors import ReceiverError
from receiver.store.database import Database
from receiver.store.schema import HEAD

SCRIPTS = Path(__file__).parent / "migrations"


UNFINISHED_COPY = "copying"
"""The revision of a store that `db copy` has not completed: nothing else uses it."""


class CopyUnfinished(ReceiverError):
    """The store is the target of a copy that is not complete."""

    reason = "copy_unfinished"


class SchemaTooNew(ReceiverError):
    """A newer release wrote the store."""

    reason = "schema_too_new"


def revision(connection: Connection) -> str | None:
    """The store's schema revision; None for an empty store."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return found


def migrate(database: Database) -> tuple[str | None, str]:
    """Upgrade if needed, in one transaction. Another process that starts at the same time waits, and finds it done.

    Returns:
        The revisions before and after.

    Raises:
        SchemaTooNew: this release does not know the store's revision.
        CopyUnfinished: `db copy` has not completed the store.
        StoreUnavailable: the store cannot be opened.
    """
    if not database.exists():
        database.create()
    before = database.query(revision)
    if before == HEAD:
        return before, HEAD
    return database.transact(_upgrade, database), HEAD


def _upgrade(connection: Connection, database: Database) -> str | None:
    database.hold_schema(connection)
    before = revision(connection)  # again, because another process may have upgraded before this one got the lock
    if before == HEAD:
        return before
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    if before is None and database.create_tables(connection):
        command.stamp(config, "head")
        return None
    if before is not None:
        try:
            ScriptDirectory.from_config(config).get_revision(before)
        except CommandError:
            raise _too_new(before) from None
    command.upgrade(config, "head")
    return before


class SchemaTooOld(ReceiverError):
    """An older release wrote the store, and it has not been migrated."""

    reason = "schema_too_old"


def require_current(connection: Connection) -> None:
    """Check that the store has this release's schema, without changing it.

    Raises:
        SchemaTooOld: it must be migrated first.
        SchemaTooNew: a newer release wrote it.
        CopyUnfinished: `db copy` has not completed it.
    """
    found = revision(connection)
    if found == HEAD:
        return
    if found is None or found < HEAD:
        raise SchemaTooOld(
            f"The store has schema {found or 'none'}, and this release needs {HEAD}: "
            "run `tts-receiver db upgrade`, or start the receiver."
        )
    raise _too_new(found)


def _too_new(found: str) -> SchemaTooNew | CopyUnfinished:
    if found == UNFINISHED_COPY:
        return CopyUnfinished(
            "The store is the target of a copy that is not complete. Run the same `tts-receiver db copy` again to "
            "complete it."
        )
    return SchemaTooNew(
        f"The store has schema {found}, which this release does not know. "
        "Run the release that wrote it, or a newer one."
    )
