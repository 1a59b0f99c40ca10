"""Opens the store and the audio storage that the settings name. Many commands need nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from receiver.errors import ConfigError, ConfigProblem
from receiver.outbound.beneath import make_folders
from receiver.settings import Settings
from receiver.store.backends import backend_of
from receiver.store.database import Database

if TYPE_CHECKING:
    from receiver.outbound.storage_types import Storage


def open_database(settings: Settings) -> Database:
    """Return the store that the settings name, and create its folder.

    Raises:
        ConfigError: the address cannot be used, or the folder cannot be created.
    """
    try:
        return open_address(settings.store.url, settings.base, pooled=settings.store.pooled)
    except ValueError as error:
        raise ConfigError([ConfigProblem("store.url", str(error))]) from None


def open_address(url: str, base: Path, *, pooled: bool = False) -> Database:
    """Return the store at an address (`backend_of`), and create its folder.

    Raises:
        ValueError: the address cannot be used, or the folder cannot be created.
    """
    backend = backend_of(url, base, pooled=pooled)
    if backend.folder is not None:
        try:
            make_folders(backend.folder)
        except OSError as error:
            raise ValueError(f"{backend.folder} cannot be made: {error.strerror}") from None
    return Database(backend)


def open_audio(settings: Settings) -> Storage:
    """Return the audio storage that the settings name.

    Raises:
        ConfigError: the address cannot be used.
    """
    # Not at the top: commands that only read the store need no network libraries.
    from receiver.outbound.storage import open_storage

    try:
        return open_storage(settings.audio.url, settings.base)
    except ValueError as error:
        raise ConfigError([ConfigProblem("audio.url", str(error))]) from None


def spool_folder(settings: Settings, storage: Storage) -> Path:
    """The folder of unfinished files: in a local audio folder, so that a rename publishes them, or beside the store."""
    folder = storage.folder
    if folder is None:
        folder = backend_of(settings.store.url, settings.base).folder or settings.base
    return folder / ".spool"
