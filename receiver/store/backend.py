"""What `Database` needs from a kind of database: connections, errors, and how processes detect each other.

There is one implementation for each kind, in a package of its own. The statements are in `store.dialect`.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import Connection, Engine, exc

from receiver.clock import Clock
from receiver.errors import StoreLocked, StoreMalformed, StoreUnavailable
from receiver.store.changes import Change

ANSWER_SECONDS = 10.0
"""How long a server may take to answer a statement or a commit of the running receiver. Beyond this it hangs, and
deliveries get 503. Longer than a statement waits for a lock."""


def is_failure_of_store(error: exc.DBAPIError) -> bool:
    """Whether the class of an error is that of a failed store, rather than of a write that cannot be done."""
    return not isinstance(error, exc.IntegrityError | exc.DataError | exc.ProgrammingError | exc.NotSupportedError)


class CommitsAtRisk(StoreUnavailable):
    """Commits are lost when this process ends, unless `Backend.checkpoint` saves them."""


class DurabilityCheck(Protocol):
    """Detects that the database was lost, or commits would not be durable. Called around each transaction."""

    def opened(self) -> None:
        """Remember the store as it is now, before it is used."""

    def require_store(self) -> None:
        """Check the store before connecting to it.

        Raises:
            StoreUnavailable: it is not the store that was opened.
        """

    def require_unchanged(self) -> None:
        """Check the store before and after a transaction.

        Raises:
            CommitsAtRisk: as `require_store`, and earlier commits are at risk.
            StoreUnavailable: as `require_store`.
        """

    def committed(self, connection: Connection) -> None:
        """A transaction was committed, in the writer's thread. Returns at once."""

    def closed(self) -> None:
        """The writer has ended: end what works for it. May block."""

    def is_connected(self, connection: Connection) -> bool:
        """Whether the connection still has its database, as far as is known without asking it. Only outside a
        transaction."""


class Processes(Protocol):
    """Detects which owners of leases are dead, and tells processes what others changed.

    Every method blocks, and may raise OSError, unless it says that it returns at once.

    Attributes:
        owner: this process's name in leases.
        heartbeat_seconds: how often this process must write its row (`store.processes`).
        rejoin_seconds: how long to wait after `join` failed.
    """

    owner: str
    heartbeat_seconds: float
    rejoin_seconds: float

    @property
    def confirm_seconds(self) -> float:
        """In how many seconds `find_dead` can confirm a death that it suspects; infinite if it suspects none. Returns
        at once."""

    @property
    def is_visible(self) -> bool:
        """Whether other processes can detect that this process is alive. Returns at once."""

    @property
    def hears(self) -> bool:
        """Whether what others announce reaches the subscriber."""

    @property
    def quiet(self) -> bool:
        """Whether what others announce reaches the subscriber, and no process holds leases, as far as is known.

        Returns at once.
        """

    def join(self) -> None:
        """Show the other processes that this process is alive.

        Until it has succeeded once, `find_dead` finds no process.
        """

    def find_dead(self) -> list[str]:
        """Return owners that are dead; no other process finds them until `remove`."""

    def remove(self, owner: str) -> None:
        """Record that a dead owner holds no leases: it is not found again."""

    def leave(self) -> None:
        """Record that this process holds no leases."""

    def close(self) -> None:
        """Let other processes find this one dead: it still holds leases but has stopped working."""

    def announce(self, change: Change) -> None:
        """Notify the other processes of what this one committed. Returns at once; a burst is one notification."""

    def subscribe(self, subscriber: Callable[[Change | None], None]) -> None:
        """Call this, in any thread, with what other processes announce; with None if something may have been missed.

        Returns at once.
        """


class Backend(Protocol):
    """One store of one kind of database."""

    @property
    def location(self) -> str:
        """Names the store in messages and log lines; without secrets."""

    @property
    def folder(self) -> Path | None:
        """The folder on whose disk the store is; None if a server has it."""

    @property
    def durability(self) -> DurabilityCheck:
        """What the writer asks around each transaction."""

    def exists(self) -> bool:
        """Whether the store exists.

        Raises:
            StoreUnavailable: that cannot be determined.
        """

    def create(self) -> None:
        """Create an empty store that only the receiver's user can read.

        Raises:
            StoreUnavailable: it cannot be created.
        """

    def hold_schema(self, connection: Connection) -> None:
        """Let no other process change the schema until the end of this transaction, which may take long."""

    def create_tables(self, connection: Connection) -> bool:
        """Create the newest schema in an empty store; False if its migrations have to create it."""

    def writer_engine(self, lock_seconds: float) -> Engine:
        """Connections whose transactions may write. A statement waits `lock_seconds` for another process."""

    def reader_engine(self, lock_seconds: float) -> Engine:
        """Connections whose transactions are read-only snapshots; as `writer_engine`."""

    def set_lock_seconds(self, connection: Connection, seconds: float) -> None:
        """Change how long the connection's statements wait for another process. Only outside a transaction.

        Raises:
            sqlalchemy.exc.DBAPIError: the connection is broken.
        """

    def limit_answers(self, connection: Connection, seconds: float) -> None:
        """Let a statement or commit fail, and break the connection, if a server does not answer it for so long.

        Whether the server did it is then unknown. Only outside a transaction.
        """

    def interrupt(self, driver_connection: Any) -> None:
        """Interrupt the statement that a connection of the driver executes, if any, from another thread. May block."""

    def is_outage(self, error: exc.DBAPIError) -> bool:
        """Whether the store itself has failed (full, locked, unreadable), rather than this one write."""

    def is_retried(self, error: exc.DBAPIError) -> bool:
        """Whether the transaction was rolled back only because of another one, and should be repeated."""

    def is_locked_row(self, error: exc.DBAPIError) -> bool:
        """Whether one write waited too long for another process, and others of its transaction need not wait."""

    def unavailable(self, error: exc.DBAPIError) -> StoreUnavailable:
        """Convert an error of the driver to one that names the store, the cause and what to do."""

    def locked(self) -> StoreLocked:
        """The error for a transaction of another process that does not end."""

    def malformed(self, text: str) -> StoreMalformed:
        """The error for a damaged store; `text` is the database's description."""

    def probe(self, connection: Connection) -> None:
        """Write something without changing anything, to test whether a delivery could be stored."""

    def has_written(self, connection: Connection) -> bool:
        """Whether the commit of the current transaction will show that the store can be written."""

    def checkpoint(self, connection: Connection) -> None:
        """Do the work that a commit may leave for later. Only outside a transaction.

        Raises:
            sqlalchemy.exc.DBAPIError: the store cannot be written.
        """

    def find_damage(self, connection: Connection) -> str | None:
        """Read the whole store; return a description of the first damage found, None if there is none."""

    def durability_risks(self, connection: Connection) -> list[str]:
        """Which settings let a power cut lose what was acknowledged: each with what it risks and what to do."""

    def announce_commits(self, engine: Engine) -> None:
        """Let each transaction of a writer engine tell the processes that runs and jobs may be due.

        For a process that has not joined them.
        """

    def processes(self, owner: str, clock: Clock, rng: random.Random) -> Processes:
        """The processes that share the store, of which this one is `owner`.

        Args:
            rng: for jitter, which needs no secrecy.
        """

    def find_living(self) -> list[str]:
        """The owners of the running processes that share the store; this one has not joined. Blocks.

        Raises:
            OSError: that cannot be determined.
        """
