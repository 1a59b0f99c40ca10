"""Migrate a store to the newest schema. The migration library is imported only if there is something to do."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from sqlalchemy import Connection, delete, insert, inspect, select, text

from receiver.errors import ReceiverError
from receiver.store.database import Database
from receiver.store.schema import HEAD, schema_compatibility

SCRIPTS = Path(__file__).parent / "migrations"
MAX_NAMED = 5


UNFINISHED_COPY = "copying"
"""The revision of a store that `db copy` has not completed: nothing else uses it."""


class CopyUnfinished(ReceiverError):
    """The store is the target of a copy that is not complete."""

    reason = "copy_unfinished"


class SchemaTooNew(ReceiverError):
    """A newer release wrote the store, in a way that this one cannot use."""

    reason = "schema_too_new"


class StoreInUse(ReceiverError):
    """Processes of an older release use the store, and could not any more after the migration."""

    reason = "store_in_use"


def revision(connection: Connection) -> str | None:
    """The store's schema revision; None for an empty store."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return found


def migrate(database: Database) -> tuple[str | None, str]:
    """Upgrade if needed, in one transaction. Another process that starts at the same time waits, and finds it done.

    A newer schema stays as it is, if this release can use it.

    Returns:
        The revisions before and after.

    Raises:
        SchemaTooNew: a newer release wrote the store, and this one cannot use it.
        CopyUnfinished: `db copy` has not completed the store.
        StoreInUse: a migration does more than add, and processes of an older release use the store.
        StoreUnavailable: the store cannot be opened.
    """
    if not database.exists():
        database.create()
    before, usable = database.query(_examine)
    if before is not None and usable:
        return before, before
    return database.transact(_upgrade, database)


def rehearse(database: Database) -> None:
    """Create the tables of a store that has none, and undo it: whether `migrate` could.

    Raises:
        StoreUnavailable: it could not.
    """

    def create(connection: Connection) -> None:
        database.hold_schema(connection)
        database.create_tables(connection)
        raise _UndoneError

    with suppress(_UndoneError):
        database.transact(create)


class _UndoneError(Exception):
    """Ends a transaction that is to leave nothing."""


def _upgrade(connection: Connection, database: Database) -> tuple[str | None, str]:
    database.hold_schema(connection)
    before, usable = _examine(connection)  # again, because another process may have upgraded before this one's lock
    if before is not None and usable:
        return before, before
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    scripts = ScriptDirectory.from_config(config)
    # A migration that says nothing needs code that knows it.
    oldest = max(getattr(script.module, "compatible_from", script.revision) for script in scripts.walk_revisions())
    if before is None and database.create_tables(connection):
        command.stamp(config, "head")
    else:
        if before is not None:
            try:
                scripts.get_revision(before)
            except CommandError:
                raise _too_new(before, database.location) from None
            if before < oldest:
                _require_unused(database, before, oldest)
        command.upgrade(config, "head")
    connection.execute(delete(schema_compatibility))
    connection.execute(insert(schema_compatibility).values(compatible_from=oldest))
    return before, HEAD


def _require_unused(database: Database, before: str, oldest: str) -> None:
    """Refuse to migrate under processes that live: code that knows the new schema would have migrated at its start."""
    try:
        living = database.find_living()
    except OSError as error:
        living = [f"unknown, because they cannot be found ({error})"]
    if living:
        names = ", ".join(living[:MAX_NAMED]) + (f" and {len(living) - MAX_NAMED} more" * (len(living) > MAX_NAMED))
        raise StoreInUse(
            f"The store has schema {before}, and only code that knows schema {oldest} can use it after the migration. "
            f"Stop the processes of the older release first: {names}. Nothing was changed."
        )


def _examine(connection: Connection) -> tuple[str | None, bool]:
    """The store's revision, and whether this release can use it as it is: its own schema, or one that adds to it."""
    found = revision(connection)
    if found is None or found == UNFINISHED_COPY or found <= HEAD:
        return found, found == HEAD
    if not inspect(connection).has_table(schema_compatibility.name):
        return found, False
    oldest = connection.execute(select(schema_compatibility.c.compatible_from)).scalar()
    return found, oldest is not None and oldest <= HEAD


def is_usable(connection: Connection) -> bool:
    """Whether the store has this release's schema, or a newer one that only adds to it."""
    return _examine(connection)[1]


class SchemaTooOld(ReceiverError):
    """An older release wrote the store, and it has not been migrated."""

    reason = "schema_too_old"


def require_usable(connection: Connection, location: str | None = None) -> None:
    """Check that this release can use the store, without changing it.

    Args:
        location: names the store in the message.

    Raises:
        SchemaTooOld: it must be migrated first.
        SchemaTooNew: a newer release wrote it, and this one cannot use it.
        CopyUnfinished: `db copy` has not completed it.
    """
    if not is_usable(connection):
        require_current(connection, location)


def require_current(connection: Connection, location: str | None = None) -> None:
    """Check that the store has exactly this release's schema: everything in it is known.

    Args:
        location: as for `require_usable`.

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
            f"{_name(location)} has schema {found or 'none'}, and this release needs {HEAD}: "
            "run `tts-receiver db upgrade`, or start the receiver."
        )
    raise _too_new(found, location)


def _name(location: str | None) -> str:
    return "The store" if location is None else f"The store {location}"


def _too_new(found: str, location: str | None) -> SchemaTooNew | CopyUnfinished:
    if found == UNFINISHED_COPY:
        return CopyUnfinished(
            f"{_name(location)} is the target of a copy that is not complete. Run the same `tts-receiver db copy` "
            "again to complete it."
        )
    return SchemaTooNew(
        f"{_name(location)} has schema {found}, which this release, whose schema is {HEAD}, does not know. "
        "Run the release that wrote it, or a newer one."
    )
