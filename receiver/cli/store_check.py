"""The checks of the store and the disks for `check`: whether a delivery and its audio could be stored now."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

from receiver.errors import ConfigError, ConfigProblem, ReceiverError

if TYPE_CHECKING:
    from receiver.settings import Settings
    from receiver.store.database import Database


def check_audio(settings: Settings) -> list[ConfigProblem]:
    """Test writing to the audio storage."""
    from receiver.assembly.resources import open_audio

    try:
        wrong = open_audio(settings).writable()
    except ConfigError as error:
        return list(error.problems)
    return [ConfigProblem("audio.url", wrong)] if wrong else []


def check_sharing(settings: Settings, database: Database) -> list[ConfigProblem]:
    """Look for processes that work on the store and store audio where this machine does not find it."""
    from receiver.assembly.resources import open_audio, spool_folder
    from receiver.cli.session import clock_difference
    from receiver.engine.shared_audio import apart_message, find_apart
    from receiver.store import replicas
    from receiver.store.migrate import is_usable

    try:
        if database.folder is not None or not database.exists() or not database.query(is_usable):
            return []
        storage = open_audio(settings)
        others = database.query(replicas.working, time.time() - clock_difference(database))
        apart = find_apart(storage, spool_folder(settings, storage), others)
    except ConfigError as error:
        return list(error.problems)
    except ReceiverError as error:
        return [ConfigProblem("store.url", str(error))]
    except OSError as error:
        return [ConfigProblem("audio.url", f"{error.filename} cannot be read: {error.strerror}")]
    return [ConfigProblem("audio.url", apart_message(storage, other)) for other in apart]


def check_store(database: Database) -> list[ConfigProblem]:
    """Test writing to the store, if it exists."""
    from receiver.store.migrate import UNFINISHED_COPY, is_usable, rehearse, revision
    from receiver.store.schema import HEAD

    folder = database.folder
    try:
        if not database.exists():
            if folder is None or os.access(folder, os.W_OK):
                return []
            return [ConfigProblem("store.url", f"{folder} is not writable")]
        found = database.query(revision)
        if found == UNFINISHED_COPY:
            return [ConfigProblem("store.url", f"{database.location} is the target of a copy that is not complete")]
        if found is not None and found > HEAD and not database.query(is_usable):
            what = f"{database.location} is at schema {found}, which this release, whose schema is {HEAD}, cannot use"
            return [ConfigProblem("store.url", what)]
        if found is None:
            rehearse(database)
        database.test_write()
    except ReceiverError as error:
        return [ConfigProblem("store.url", str(error))]
    return []


def check_deeply(database: Database) -> list[ConfigProblem]:
    """Read the whole store and look for damage; takes about a second for each gigabyte, and more on a slow disk."""
    try:
        damage = database.find_damage() if database.exists() else None
    except ReceiverError as error:
        return [ConfigProblem("store.url", str(error))]
    return [ConfigProblem("store.url", str(damage))] if damage else []


def store_note(found: str | None) -> str:
    """A note on what `serve` does to the store at startup.

    Args:
        found: the store's schema revision; None if there is no store yet.
    """
    from receiver.store.schema import HEAD

    if found is None:
        return " (will be created)"
    if found > HEAD:
        return f" (schema {found} of a newer release, which this one can use)"
    return "" if found == HEAD else f" (schema {found}, which serve upgrades to {HEAD})"


def count_waiting(database: Database) -> int:
    """The number of runs that wait for the audio storage; 0 in a store of an earlier release."""
    from receiver.store import waiting_runs
    from receiver.store.migrate import is_usable

    if not database.exists() or not database.query(is_usable):
        return 0
    return database.query(waiting_runs.count)


def audio_notes(settings: Settings) -> list[str]:
    """Lines on the audio storage and the space it has."""
    from receiver.assembly.resources import open_audio

    storage = open_audio(settings)
    space = [] if storage.folder is None else [f"           {space_note(storage.folder)}"]
    return [f"  audio    {storage.url}", *space]


def space_note(folder: Path) -> str:
    """A note on the free space on the folder's disk."""
    from receiver.engine.disks import LOW_SPACE_BYTES

    free = shutil.disk_usage(folder).free
    if free >= LOW_SPACE_BYTES:
        return f"{free / 1e9:.1f} GB free"
    return f"! only {free / 1e6:.0f} MB are free on the disk of {folder}"
