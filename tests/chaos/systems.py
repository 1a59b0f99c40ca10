"""The two kinds of store that replicas share, and what can be done to each."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

from receiver.store.backend import Backend
from receiver.store.backends import backend_of
from tests.chaos.faults import OF_REPLICAS, Fault, Step
from tests.chaos.logs import OF_FREEZES, OF_KILLS, OF_OUTAGES
from tests.chaos.proxy import Proxy
from tests.postgresql_server import PostgresqlServer


class SqliteSystem:
    """A file: several processes on one machine."""

    name = "SQLite"
    faults = OF_REPLICAS
    explained = OF_KILLS | OF_FREEZES
    """Warnings and errors that the faults explain."""

    def __init__(self, folder: Path) -> None:
        self.url = "sqlite:///data/receiver.db"
        self._folder = folder

    def backend(self) -> Backend:
        """To read the store."""
        return backend_of(self.url, self._folder)

    def explains(self, text: str) -> bool:
        """Whether the faults explain that a replica wrote this and did not start."""
        return False

    def apply(self, step: Step, rng: random.Random) -> None:
        """Nothing can be done to it."""
        raise ValueError(step.fault)

    def poll(self) -> None:
        """Nothing to undo."""

    def restore(self) -> None:
        """Nothing to undo."""

    def close(self) -> None:
        """Nothing was started."""


class PostgresqlSystem:
    """A database behind a proxy; we read it beside the proxy."""

    name = "PostgreSQL"
    faults = tuple(Fault)
    explained = OF_KILLS | OF_FREEZES | OF_OUTAGES

    def __init__(self, server: PostgresqlServer) -> None:
        self._server = server
        self._name = server.create()
        self.proxy = Proxy(server.socket)
        self._resume_at: float | None = None
        self.direct_url = server.url(self._name)
        self.url = self.proxy.address_of(self.direct_url)

    def backend(self) -> Backend:
        """To read the store, not through the proxy."""
        return backend_of(self.direct_url, Path("/"))

    def explains(self, text: str) -> bool:
        """Whether the faults explain that a replica wrote this and did not start."""
        return "Traceback" not in text and "cannot be reached" in text

    def apply(self, step: Step, rng: random.Random) -> None:
        """Do this to the server or the connections."""
        actions: dict[Fault, Callable[[], object]] = {
            Fault.SERVER_KILL: lambda: self._kill(step.seconds),
            Fault.SERVER_RESTART: self._server.restart,
            Fault.CUT: lambda: self.proxy.cut(rng, rng.choice([1.0, 0.5, 0.2])),
            Fault.STALL: lambda: self._stall(step.seconds),
        }
        actions[step.fault]()

    def poll(self) -> None:
        """End a stall whose time is over."""
        if self._resume_at is not None and self._resume_at <= time.monotonic():
            self.restore()

    def restore(self) -> None:
        """Let connections work again."""
        self.proxy.resume()
        self._resume_at = None

    def close(self) -> None:
        """Remove the database and the proxy."""
        self.proxy.close()
        self._server.drop(self._name)

    def _kill(self, seconds: float) -> None:
        self._server.kill()
        time.sleep(seconds)
        self._server.start()

    def _stall(self, seconds: float) -> None:
        self.proxy.stall()
        self._resume_at = time.monotonic() + seconds


System = SqliteSystem | PostgresqlSystem
