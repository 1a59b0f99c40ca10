"""What `top` shows, read from the store by the operations of `GET /v1/status` and `GET /v1/series`.

The store may go away and come back, also as another file: it is opened again then.
"""

from __future__ import annotations

import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection

from receiver.cli.session import clock_difference, open_session
from receiver.cli.status import read_now
from receiver.engine.series import By, Step, window
from receiver.errors import NotFound
from receiver.store.rollups import Kind
from receiver.web.api.series import MAX_SERIES, SeriesList, read_series

if TYPE_CHECKING:
    from receiver.settings import Settings
    from receiver.store.database import Database
    from receiver.web.api.status import Status


@dataclass(frozen=True, slots=True)
class Overview:
    """What is shown: the status, and the last hour of deliveries and of attempts of runs, each by outcome."""

    status: Status
    deliveries: SeriesList
    runs: SeriesList


@dataclass(frozen=True, slots=True)
class _Store:
    settings: Settings
    database: Database
    clock_ahead: float
    file: tuple[int, int] | None


class Reader:
    """Reads the store, by one thread at a time."""

    def __init__(self, config: Path | None) -> None:
        self._config = config
        self._opened = ExitStack()
        self._store: _Store | None = None
        self._folder: Path | None = None

    def read(self) -> Overview:
        """Read everything once.

        Raises:
            ReceiverError: the configuration cannot be used, or the store cannot be read. The next call opens it again.
        """
        try:
            store = self._store or self._open()
            if store.file != _file_of(store.database):
                self.close()
                store = self._open()
            now = time.time() - store.clock_ahead
            status = read_now(store.settings, store.database, now)
            deliveries, runs = store.database.query_list(_read_series, now)
            return Overview(status, deliveries, runs)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the store, if it is open."""
        self._store = None
        self._opened.close()

    def _open(self) -> _Store:
        if self._folder is not None and not self._folder.is_dir():  # which opening it would make
            raise NotFound(f"There is no folder {self._folder}.")
        settings, database = self._opened.enter_context(open_session(self._config))
        self._folder = database.folder
        self._store = _Store(settings, database, clock_difference(database), _file_of(database))
        return self._store


def _file_of(database: Database) -> tuple[int, int] | None:
    """Which file the store is; None if it is gone, or a server has it."""
    if database.folder is not None:
        with suppress(OSError):
            found = Path(database.location).stat()
            return found.st_dev, found.st_ino
    return None


def _read_series(connection: Connection, now: float) -> tuple[SeriesList, SeriesList]:
    hour = window(Step.MINUTE, None, None, now)
    deliveries, runs = (
        read_series(connection, kind, hour, By.LABEL, MAX_SERIES) for kind in (Kind.DELIVERIES, Kind.RUNS)
    )
    return deliveries, runs
