"""The statements that differ between kinds of databases: what each must do, and where each kind has its own.

The modules of the store contain what is the same: the order of the work, receipts, fencing. Where one of them reads and
then writes, it is right only if nothing else writes in between. In SQLite a transaction that writes has the whole
store. Another database must lock what a statement below says that it holds, until the end of the transaction: keys
before rows, and the rows of a batch in one order.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy import CompoundSelect, Connection, Select, Table

from receiver.store.sqlite import claims as sqlite_claims
from receiver.store.sqlite import copying as sqlite_copying
from receiver.store.sqlite import events as sqlite_events
from receiver.store.sqlite import expressions as sqlite_expressions
from receiver.store.sqlite import feed as sqlite_feed
from receiver.store.sqlite import gauges as sqlite_gauges
from receiver.store.sqlite import runs as sqlite_runs
from receiver.store.sqlite import searches as sqlite_searches

if TYPE_CHECKING:
    from receiver.model.delivery import Delivery
    from receiver.store.artifacts import ArtifactRow
    from receiver.store.claims import RunKey
    from receiver.store.runs import RunResult
    from receiver.store.searches import IndexSearch, Order

MAX_ROWS = 256
"""Runs that one statement gets, at the most."""


class EventStatements(Protocol):
    """Statements of events, duplicates, uses of keys, and rows of audio."""

    def hold_keys(self, connection: Connection, keys: Collection[str]) -> None:
        """Let no other transaction store, release or watch anything with these keys until the end of this one.

        A key is that of an event, or the provider's id of a job.
        """

    def hold_quarantines(self, connection: Connection, sources: Collection[str]) -> None:
        """Let no other transaction put events of these sources into quarantine until the end of this one."""

    def hold_events(self, connection: Connection, ids: Collection[str]) -> None:
        """Let no other transaction delete these events, or make their runs due again, until the end of this one."""

    def find_by_keys(self, connection: Connection, keys: Sequence[str]) -> list[Any]:
        """`hold_keys`, then the stored events with these keys and the watched jobs with these ids.

        The events are not deleted until the end of the transaction.

        Returns:
            For an event: "events", key, source, type, id, payload as text, status. For a job: "jobs", the provider's
            id, source, None, our id, None, None.
        """

    def insert_events(self, connection: Connection, deliveries: Collection[Delivery]) -> None:
        """Insert the events of deliveries, whose keys are held and none of which is stored."""

    def insert_runs(self, connection: Connection, deliveries: Collection[Delivery]) -> None:
        """Insert a run for each handler of the deliveries, due at once."""

    def insert_metadata(self, connection: Connection, table: str, rows: Sequence[tuple[str, str, str]]) -> None:
        """Insert those rows (id, key, value) of `event_metadata` or `job_metadata` whose id and key have none."""

    def count_duplicate(self, connection: Connection, event_id: str, origin: str, body: bytes) -> bytes | None:
        """Count a duplicate of an event; the event's body, if it is from the same origin and differs from this one."""

    def set_conflict(self, connection: Connection, event_id: str, conflict: str) -> None:
        """Set why an operator should look at an event, unless that is set."""

    def record_key_use(self, connection: Connection, source: str, key_id: str, at: float) -> None:
        """Record the use of a signing key; a later use that is recorded stays. Of several transactions that record uses
        of one key at the same time, one may do it for all."""

    def put_artifacts(self, connection: Connection, rows: Sequence[ArtifactRow]) -> None:
        """Write rows, no two of one file. They replace those of the same files."""


class ClaimStatements(Protocol):
    """Statements of claims. A claimed run is event_id, handler, attempt, forgiven, due_at, crashes."""

    def claim_due(
        self,
        connection: Connection,
        handler: str,
        limit: int,
        now: float,
        owner: str,
        until: float,
        started: float | None,
    ) -> list[Any]:
        """Claim up to `limit` due runs of a handler that are no suspects, those that have been due longest.

        They are not those that another transaction is claiming.

        Returns:
            Claimed runs; if they start at once, each may be followed by its event, as `event_facts`.
        """

    def next_due(self, connection: Connection, handler: str, now: float) -> float | None:
        """When the handler's next pending run that is no suspect is due, or is to be looked for again; None for none.

        Reads nothing again that was claimed, even if its entries are still in the index.
        """

    def count_started(self, connection: Connection, handler: str) -> int | None:
        """How many runs of a handler have started, in any process, and have not ended.

        Until the end of this transaction no other one gets a number for this handler. None if another transaction has
        got one and has not ended.
        """

    def claim_suspect(
        self, connection: Connection, handlers: Sequence[str], now: float, owner: str, until: float
    ) -> list[Any]:
        """Claim the suspect of these handlers that has been due longest, unless a suspect is running in any process.

        Of two transactions that do this at once, one claims none. No run or one.
        """

    def next_suspect_due(self, connection: Connection, handlers: Sequence[str]) -> float | None:
        """When the next suspect of these handlers is due; None if one is running, or there is none."""

    def start_held(self, connection: Connection, keys: Sequence[RunKey], owner: str, at: float) -> list[Any]:
        """Set `started_at` of those among up to `MAX_ROWS` runs that this attempt and owner holds; their keys."""

    def extend_held(self, connection: Connection, keys: Sequence[RunKey], owner: str, until: float) -> list[Any]:
        """Set `lease_until`, as `start_held`."""

    def release_held(self, connection: Connection, keys: Sequence[RunKey], owner: str) -> list[Any]:
        """Make the runs pending again, at no cost of an attempt, as `start_held`."""

    def event_facts(self, connection: Connection, ids: Collection[str]) -> list[Any]:
        """Events as id, source, type, job_id, origin, received_at, payload as text, body; in no order."""

    def has_expired(self, connection: Connection, now: float) -> bool:
        """Whether any lease has expired."""

    def release_expired(self, connection: Connection, now: float) -> int:
        """Make the runs pending whose lease expired before they started, at no cost of an attempt; how many."""

    def expired(self, connection: Connection, now: float) -> list[Any]:
        """Runs that started and whose lease expired: as a claimed run, then started_at, lease_owner."""


class RunStatements(Protocol):
    """Statements of results and of an operator's changes, each for up to `MAX_ROWS` runs."""

    def finish_held(self, connection: Connection, results: Sequence[RunResult]) -> list[Any]:
        """Write results, no two of one attempt, of the runs that their attempt and owner holds; the runs' keys.

        Each of these attempts gets a row, unless it was postponed: it has done no work, and there may be many.
        """

    def put_tracebacks(self, connection: Connection, results: Sequence[RunResult]) -> None:
        """Write the tracebacks of results, no two of one run. They replace those of earlier attempts."""

    def replay_ended(self, connection: Connection, keys: Sequence[tuple[str, str]], now: float) -> list[Any]:
        """Make those of the runs (event id, handler) due that have ended, with all attempts; which ones."""

    def insert_missing(self, connection: Connection, keys: Sequence[tuple[str, str]], now: float) -> list[Any]:
        """Create those of the runs (event id, handler) that do not exist and whose event does; which ones."""

    def cancel_open(self, connection: Connection, keys: Sequence[tuple[str, str]], now: float) -> list[Any]:
        """Cancel those of the runs (event id, handler) that are open; which ones. A claim that has not started costs
        no attempt."""

    def retry_now(self, connection: Connection, keys: Sequence[tuple[str, str]], now: float) -> list[Any]:
        """Make those of the runs (event id, handler) due that wait for their next attempt; which ones."""

    def mark_waiting(self, connection: Connection, event_id: str, handler: str, waits_for: str) -> None:
        """Set what a run waits for."""

    def release_waiting(self, connection: Connection, limit: int, now: float) -> int:
        """Make up to `limit` runs that wait for something due, the first postponed first; how many."""

    def count_waiting(self, connection: Connection) -> int:
        """How many runs wait for something."""


class FeedStatements(Protocol):
    """Statements of events in the order of their commits, as `store.feed`.

    A position is a number that only grows, and the id of the event before it, None before the first event.
    """

    def newest(self, connection: Connection) -> tuple[int, str | None]:
        """The position after the newest event: every event that is committed later is after it."""

    def position_of(self, connection: Connection, event_id: str) -> tuple[int, str | None]:
        """The position after this event; if it does not exist, one before all events with a later id."""

    def events_after(
        self, connection: Connection, position: tuple[int, str | None], limit: int, columns: Sequence[Any]
    ) -> list[tuple[tuple[int, str | None], dict[str, Any]]]:
        """Up to `limit` events after the position, in the order of their commits: each one's position and columns."""

    def hidden_since(self, connection: Connection) -> float | None:
        """When the first of the stored events was received that `events_after` does not return yet, because an earlier
        transaction has not ended; None if there is none."""


class GaugeStatements(Protocol):
    """Statements of gauges, which read only rows that are open, dead or unknown."""

    def count_runs(self, connection: Connection) -> list[Any]:
        """The number of pending, running and dead runs: handler, state, count."""

    def oldest_due(self, connection: Connection) -> float | None:
        """When the first of all pending runs is due; None for none."""

    def count_jobs(self, connection: Connection) -> list[Any]:
        """The number of open and of unknown jobs: source, state, count."""

    def oldest_job(self, connection: Connection, source: str, state: str) -> float | None:
        """When the oldest of a source's jobs in a state was created; None for none."""


class SearchStatements(Protocol):
    """Queries of one or more searches, each of which reads its index, and no more of that than it needs."""

    def page(self, searches: Sequence[IndexSearch], order: Order, limit: int) -> Select[Any] | CompoundSelect[Any]:
        """The first ids of all that the searches find, as `id`, each once, in the order."""

    def some(self, searches: Sequence[IndexSearch], limit: int) -> Select[Any] | CompoundSelect[Any]:
        """Up to `limit` of the ids that the searches find, in no order; one that two of them find may be twice."""


class CopyStatements(Protocol):
    """Statements of a copy from or to another store (`store.copying`)."""

    def event_order(self) -> tuple[Any, ...]:
        """Expressions whose order is that of the feed."""

    def is_in_use(self, connection: Connection) -> bool:
        """Whether another process is connected, as far as the database knows."""

    def prepare_reading(self, connection: Connection) -> None:
        """Allow the transaction, which only reads, to last."""

    def insert_rows(
        self, connection: Connection, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], first: int
    ) -> None:
        """Insert rows, JSON as text; `first` is the number of the first among all rows of the table. Events keep
        their order in the feed."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """The statements of one kind of database. Times are unix seconds.

    Attributes:
        insert: makes SQLAlchemy's INSERT that has `on_conflict_do_nothing` and `on_conflict_do_update`.
    """

    insert: Callable[[Table], Any]
    searches: SearchStatements
    events: EventStatements
    claims: ClaimStatements
    runs: RunStatements
    feed: FeedStatements
    gauges: GaugeStatements
    copying: CopyStatements


class _Dialects(dict[str, Dialect]):
    """PostgreSQL is imported when it is used first: few stores need it, and every command would wait for it."""

    def __missing__(self, name: str) -> Dialect:
        if name != "postgresql":
            raise KeyError(name)
        from receiver.store.postgresql import claims, copying, events, expressions, feed, gauges, runs, searches

        found = self[name] = Dialect(expressions.insert, searches, events, claims, runs, feed, gauges, copying)
        return found


DIALECTS: Mapping[str, Dialect] = _Dialects(
    sqlite=Dialect(
        sqlite_expressions.insert,
        sqlite_searches,
        sqlite_events,
        sqlite_claims,
        sqlite_runs,
        sqlite_feed,
        sqlite_gauges,
        sqlite_copying,
    )
)
"""By the name of a connection's dialect."""
