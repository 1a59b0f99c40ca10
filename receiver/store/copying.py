"""Copy everything from one store to another, and compare the two.

A batch is one transaction of the target, together with how far the copy is: after a stop at any moment it continues
there. Until the comparison has found no difference, the target has a revision that nothing else opens.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Connection,
    MetaData,
    Table,
    Text,
    cast,
    exc,
    func,
    select,
    text,
    tuple_,
)

from receiver.errors import ReceiverError
from receiver.store.database import Database
from receiver.store.dialect import DIALECTS
from receiver.store.migrate import UNFINISHED_COPY, migrate, require_current, revision
from receiver.store.schema import HEAD, events, metadata

BATCH_ROWS = 1000
BATCH_BYTES = 4 << 20
BUFFERED_ROWS = 100
"""Rows that are read ahead: some have bodies of a megabyte."""

_OF_THE_STORE_ITSELF = {"processes", "schema_compatibility"}
"""Tables about running processes and about the schema, which do not move."""
TABLES = [table for table in metadata.sorted_tables if table.name not in _OF_THE_STORE_ITSELF]
_state = Table(
    "copy_state",
    MetaData(),
    Column("name", Text, primary_key=True),
    Column("origin", Text, nullable=False),
    Column("head", Text, nullable=False),
    Column("copied", BigInteger, nullable=False),
    Column("after", Text, nullable=False),
)

Row = tuple[Any, ...]


class CopyRefused(ReceiverError):
    """The stores cannot be copied as they are; nothing was changed."""

    reason = "copy_refused"


class CopyFailed(ReceiverError):
    """A row cannot be stored in the target, or the two stores differ."""

    reason = "copy_failed"


class CopyStopped(Exception):
    """The caller has stopped the copy."""


@dataclass(frozen=True, slots=True)
class CopiedTable:
    """A table that is the same in both stores: its rows, and the SHA-256 of all of them, in hex."""

    name: str
    rows: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Copy:
    """One copy.

    Attributes:
        report: called with what is being done, a table's name, and its rows done and in all.
        stopped: whether to stop.
    """

    source: Database
    target: Database
    report: Callable[[str, str, int, int], None]
    stopped: Callable[[], bool]

    def run(self) -> list[CopiedTable]:
        """Copy, or continue the same copy, and compare.

        Raises:
            CopyRefused: a store is in use, or the target has something else.
            CopyFailed: a row cannot be stored, or the stores differ.
            CopyStopped: `stopped` was true.
            SchemaTooNew, SchemaTooOld: one of the stores has another release's schema.
            StoreUnavailable: one of the stores is unavailable.
        """
        self.source.query(require_current, self.source.location)
        if not self.target.exists() or self.target.query(revision) != UNFINISHED_COPY:
            migrate(self.target)
            self.target.query(require_current, self.target.location)  # of a newer schema, columns would stay empty
        done = self.target.transact(_begin, self.source.location)
        self.source.query(self._copy, done)
        # On a later snapshot of the source: what a receiver has stored since the copy began is a difference.
        same = self.source.query(self._compare)
        self._require_unused(same)
        self.target.transact(_finish)
        return same

    def _copy(self, connection: Connection, done: dict[str, tuple[int, Any]]) -> None:
        """On one snapshot of the source."""
        totals = _prepare(connection)
        for table in TABLES:
            copied, after = done[table.name]
            for batch in _batches(_read(connection, table, after)):
                self._go_on("Copying", table, copied, totals)
                try:
                    self.target.transact(_write, table, copied, batch)
                except exc.DBAPIError as error:
                    cause = str(error.orig).partition("\n")[0]
                    raise CopyFailed(
                        f"A row of {table.name} after the first {copied:,} cannot be stored in "
                        f"{self.target.location}: {cause}"
                    ) from error
                copied += len(batch)

    def _compare(self, source: Connection) -> list[CopiedTable]:
        return self.target.query(self._compare_with, source, _prepare(source))

    def _compare_with(self, target: Connection, source: Connection, totals: dict[str, int]) -> list[CopiedTable]:
        DIALECTS[target.dialect.name].copying.prepare_reading(target)
        found = []
        for table in TABLES:
            digest, count = hashlib.sha256(), 0
            pairs = zip_longest(_read(source, table), _read(target, table), fillvalue=None)
            for ours, theirs in pairs:
                if ours is None or theirs is None or ours[1] != theirs[1]:
                    raise self._difference(table, ours or theirs, count, target, totals)
                digest.update(repr(ours[1]).encode())
                count += 1
                if count % BATCH_ROWS == 0:
                    self._go_on("Comparing", table, count, totals)
            found.append(CopiedTable(table.name, count, digest.hexdigest()))
        return found

    def _difference(
        self, table: Table, row: tuple[Row, Row] | None, count: int, target: Connection, totals: dict[str, int]
    ) -> CopyFailed:
        assert row is not None  # noqa: S101 - one of the two has a row
        names = [column.name for column in table.columns]
        key = ", ".join(str(row[1][names.index(column.name)]) for column in table.primary_key.columns)
        rows = target.scalar(select(func.count()).select_from(table)) or 0
        return CopyFailed(
            f"The stores differ in row {count + 1:,} of {table.name} ({key}); {self.source.location} has "
            f"{totals[table.name]:,} rows, {self.target.location} has {rows:,}. If the source was used since the copy "
            "began, remove the target and copy again."
        )

    def _require_unused(self, same: list[CopiedTable]) -> None:
        """Refuse if a receiver is running on the source, or has stored something since the comparison began."""
        location = self.source.location
        if is_in_use(self.source):
            raise CopyFailed(
                f"A receiver was started on {location} after the copy had begun: stop it, then run the same command "
                "again."
            )
        totals = self.source.query(_prepare)  # after it, so that a receiver that has ended meanwhile is seen here
        for table in same:
            if totals[table.name] != table.rows:
                raise CopyFailed(
                    f"The source was used during the comparison: {table.name} in {location} had {table.rows:,} rows, "
                    f"and has {totals[table.name]:,}. Remove the target and copy again."
                )

    def _go_on(self, what: str, table: Table, rows: int, totals: dict[str, int]) -> None:
        if self.stopped():
            raise CopyStopped
        self.report(what, table.name, rows, totals[table.name])


def _prepare(connection: Connection) -> dict[str, int]:
    """Begin to read a snapshot; the rows of each table."""
    DIALECTS[connection.dialect.name].copying.prepare_reading(connection)
    return {table.name: connection.scalar(select(func.count()).select_from(table)) or 0 for table in TABLES}


def is_in_use(database: Database) -> bool:
    """Whether another process uses the store. Call it before anything else connects. Blocks."""
    if database.folder is not None:
        return database.exists() and database.any_process_lives()
    return database.query(lambda connection: DIALECTS[connection.dialect.name].copying.is_in_use(connection))


def _begin(connection: Connection, origin: str) -> dict[str, tuple[int, Any]]:
    """Mark the target; the rows that it has of each table, and the position of the last one in the source."""
    if revision(connection) == UNFINISHED_COPY:
        found = connection.execute(select(_state)).all()
        if any((row.origin, row.head) != (origin, HEAD) for row in found):
            raise CopyRefused(
                f"The target has an unfinished copy of {found[0].origin} at schema {found[0].head}: complete that one, "
                "or remove the target."
            )
        return {row.name: (row.copied, json.loads(row.after)) for row in found}
    for table in TABLES:
        if connection.execute(select(table.primary_key.columns[0]).limit(1)).first() is not None:
            raise CopyRefused(f"The target is not empty: it has rows in {table.name}. Copy into an empty store.")
    _state.create(connection)
    state = {"origin": origin, "head": HEAD, "copied": 0, "after": "null"}
    connection.execute(_state.insert(), [{"name": table.name, **state} for table in TABLES])
    connection.execute(text("UPDATE alembic_version SET version_num = :to"), {"to": UNFINISHED_COPY})
    return {table.name: (0, None) for table in TABLES}


def _finish(connection: Connection) -> None:
    _state.drop(connection)
    connection.execute(text("UPDATE alembic_version SET version_num = :to"), {"to": HEAD})


def _write(connection: Connection, table: Table, copied: int, batch: list[tuple[Row, Row]]) -> None:
    changed = _state.update().where(_state.c.name == table.name, _state.c.copied == copied)
    values = {"copied": copied + len(batch), "after": json.dumps(list(batch[-1][0]))}
    if connection.execute(changed.values(values)).rowcount != 1:
        raise CopyRefused("Another process copies into the target.")
    columns = [column.name for column in table.columns]
    rows = [row for _, row in batch]
    DIALECTS[connection.dialect.name].copying.insert_rows(connection, table.name, columns, rows, copied + 1)


def _read(connection: Connection, table: Table, after: list[Any] | None = None) -> Iterator[tuple[Row, Row]]:
    """The position and the values of each row, in order; JSON as the text that is stored."""
    order: tuple[Any, ...] = tuple(table.primary_key.columns)
    if table is events:
        order = DIALECTS[connection.dialect.name].copying.event_order()
    columns = [cast(column, Text) if isinstance(column.type, JSON) else column for column in table.columns]
    names = [f"position_{number}" for number in range(len(order))]
    statement = select(
        *(expression.label(name) for expression, name in zip(order, names, strict=True)),
        *(column.label(f"value_{number}") for number, column in enumerate(columns)),
    ).order_by(*order)
    if after is not None:
        statement = statement.where(tuple_(*order) > tuple_(*after) if len(order) > 1 else order[0] > after[0])
    reading = connection.execution_options(stream_results=True, max_row_buffer=BUFFERED_ROWS)
    with reading.execute(statement) as found:
        for row in found:
            yield tuple(row[: len(order)]), tuple(map(_plain, row[len(order) :]))


def _plain(value: Any) -> Any:
    """The value as every database can have it: a store of an earlier release may have NUL in a text."""
    if isinstance(value, str) and "\0" in value:
        return value.replace("\0", "\ufffd")
    return bytes(value) if isinstance(value, memoryview) else value


def _batches(rows: Iterable[tuple[Row, Row]]) -> Iterator[list[tuple[Row, Row]]]:
    batch: list[tuple[Row, Row]] = []
    size = 0
    for row in rows:
        batch.append(row)
        size += sum(len(value) for value in row[1] if isinstance(value, str | bytes))
        if len(batch) >= BATCH_ROWS or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
