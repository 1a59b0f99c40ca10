"""`events tail`: print new events as they are committed, by the feed that the API's stream has."""

from __future__ import annotations

import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any

import typer

from receiver.cli import output
from receiver.cli.options import Config, Json, Metadata, Source, Type, parse_metadata
from receiver.cli.text_output import echo, echo_error, print_model_line

if TYPE_CHECKING:
    from receiver.store.database import Database
    from receiver.web.api.feed import FeedFilter, FeedItem

AGAIN_SECONDS = 1.0
"""Before the store is read again after it could not be."""


def tail(
    config: Config = None,
    source: Source = None,
    type_: Type = None,
    metadata: Metadata = None,
    after: Annotated[
        str | None,
        typer.Option("--after", help="Begin with what was committed after this event: its id, or a unique beginning."),
    ] = None,
    json: Json = False,
) -> None:
    """Print new events as they are committed, each once, until Ctrl-C. With --json one event a line."""
    import asyncio

    from receiver.cli.ids import find_position
    from receiver.cli.session import check_names, open_session
    from receiver.store.metadata_index import MetadataNotIndexed
    from receiver.web.api.feed import FeedFilter

    filter = FeedFilter(source, type_, parse_metadata(metadata))
    with open_session(config) as (settings, database):
        check_names(settings, database, source, type_, filter.metadata)
        begin = find_position(database, after)
        printer = _Printer(database, json=json)
        try:
            asyncio.run(_follow(database, printer, filter, begin))
        except MetadataNotIndexed:
            echo_error(printer.summary())
            raise
    echo_error(printer.summary())


class _Printer:
    """Prints events.

    Attributes:
        count: events so far.
        position: the last event, also if it was left out.
    """

    def __init__(self, database: Database, *, json: bool) -> None:
        self._database = database
        self._json = json
        self.count = 0
        self.position: str | None = None

    def summary(self) -> str:
        """How many there were, and how to continue."""
        position = "" if self.position is None else f" To continue: --after {self.position}"
        return f"Stopped. Events: {self.count:,}.{position}"

    async def add(self, item: FeedItem) -> None:
        """Print the event, if it is wanted."""
        if item.wanted:
            self.count += 1
            await self._print(item.row)
        self.position = item.row["id"]

    async def _print(self, row: dict[str, Any]) -> None:
        from receiver.cli.event_lines import fit, time_of_day
        from receiver.store import short_ids
        from receiver.web.api.models import event_of

        if self._json:
            print_model_line(event_of(row))
            return
        id_ = row["id"]
        if output.terminal() is not None:
            id_ = (await self._database.read_list(short_ids.shorten_events, [id_]))[id_]
        words = [time_of_day(row["received_at"]), id_, f"{row['state']:<11}", row["source"], row["type"]]
        line = "  ".join([*words, row["job_id"] or "–"])
        echo(line if output.terminal() is None else fit(line))


async def _follow(database: Database, printer: _Printer, filter: FeedFilter, after: str | None) -> None:
    import asyncio

    from receiver.cli.stop_signals import stop_signals

    printer.position = after
    following = asyncio.ensure_future(_print_new(database, printer, filter))

    def stop(number: signal.Signals) -> None:
        following.cancel()

    with stop_signals(stop), suppress(asyncio.CancelledError):
        await following


async def _print_new(database: Database, printer: _Printer, filter: FeedFilter) -> None:
    """Follow the feed; begin again after the last event where it ends, as for a store that fails.

    Raises:
        MetadataNotIndexed: the filter's metadata is not indexed any more.
    """
    import asyncio

    from receiver.assembly.feed import build_feed
    from receiver.errors import ListingTimeout, StoreUnavailable

    feed = build_feed(database)
    failed = False
    try:
        while True:
            try:
                stream = await feed.subscribe(printer.position, filter)
                if printer.position is None:
                    printer.position = stream.cursor.event_id
                try:
                    async for item in feed.follow(stream, lambda: 60.0):
                        failed = False
                        if item is not None:
                            await printer.add(item)
                finally:
                    feed.unsubscribe(stream)
            except (ListingTimeout, StoreUnavailable) as error:
                if not failed:
                    echo_error(f"{error} It is read again until it works.")
                failed = True
            await asyncio.sleep(AGAIN_SECONDS)
    finally:
        feed.close()
