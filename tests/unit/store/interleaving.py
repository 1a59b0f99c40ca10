"""Transactions of two connections that overlap: the second begins while the first is still open."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from sqlalchemy import text

from receiver.store.database import Database
from tests.patience import PATIENCE

_WAITS = text("SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' LIMIT 1")


class Transaction:
    """A write transaction in a thread of its own, which is kept open until `commit`."""

    def __init__(self, database: Database, function: Callable[..., Any], *arguments: Any) -> None:
        self._done, self._go_on = threading.Event(), threading.Event()

        def work(connection: Any) -> Any:
            found = function(connection, *arguments)
            self._done.set()
            assert self._go_on.wait(PATIENCE)
            return found

        self._pool = ThreadPoolExecutor(1)
        self._ended = self._pool.submit(database.transact, work)
        while not self._done.wait(0.01):
            if self._ended.done():
                self._ended.result()
                break

    def commit(self) -> Any:
        self._go_on.set()
        found = self._ended.result(PATIENCE)
        self._pool.shutdown()
        return found


def interleave(database: Database, first: Callable[..., Any], second: Callable[..., Any]) -> tuple[Any, Any]:
    """Call both with a connection of their own: `second` begins when `first` has done everything but its commit, which
    follows when `second` waits for it, or has ended. What they return.
    """
    opened = Transaction(database, first)
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(database.transact, second)
        try:
            _wait_until_blocked(database, other)
        finally:
            found = opened.commit()
        return found, other.result(PATIENCE)


def _wait_until_blocked(database: Database, other: Future[Any]) -> None:
    """In SQLite the second waits from its beginning, and there is nothing to see."""
    if database.folder is None:
        while not other.done() and not database.query(lambda connection: connection.execute(_WAITS).all()):
            pass
