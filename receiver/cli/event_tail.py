"""`events tail`: print new events as they are committed, by the feed that the API's stream has."""

from __future__ import annotations

import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any

import typer

from receiver.cli import output
from receiver.cli.options import Config, Json, Source, Type
from receiver.cli.text_output import echo, echo_error, print_model_line

if TYPE_CHECKING:
    from receiver.store.database import Database

AGAIN_SECONDS = 1.0
"""Before the store is read again after it could not be."""


def tail(
    config: Config = None,
    source: Source = None,
    type_: Type = None,
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

    with open_session(config) as (settings, database):
        check_names(settings, database, source, type_)
        begin = find_position(database, after)
        printer = _Printer(database, source, type_, json=json)
        asyncio.run(_follow(database, printer, begin))
    position = "" if printer.position is None else f" To continue: --after {printer.position}"
    echo_error(f"Stopped. Events: {printer.count:,}.{position}")


class _Printer:
    """Prints events.

    Attributes:
        count: events so far.
        position: the last event, also if it was left out.
    """

    def __init__(self, database: Database, source: str | None, type_: str | None, *, json: bool) -> None:
        self._database = database
        self._source = source
        self._type = type_
        self._json = json
        self.count = 0
        self.position: str | None = None

    async def add(self, row: dict[str, Any]) -> None:
        """Print the event, if it is wanted."""
        if self._source in (None, row["source"]) and self._type in (None, row["type"]):
            self.count += 1
            await self._print(row)
        self.position = row["id"]

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


async def _follow(database: Database, printer: _Printer, after: str | None) -> None:
    import asyncio

    from receiver.cli.stop_signals import stop_signals

    printer.position = after
    following = asyncio.ensure_future(_print_new(database, printer))

    def stop(number: signal.Signals) -> None:
        following.cancel()

    with stop_signals(stop), suppress(asyncio.CancelledError):
        await following


async def _print_new(database: Database, printer: _Printer) -> None:
    """Follow the feed; begin again after the last event where it ends, as for a store that fails."""
    import asyncio

    from receiver.assembly.feed import build_feed
    from receiver.errors import ListingTimeout, StoreUnavailable

    feed = build_feed(database)
    failed = False
    try:
        while True:
            try:
                stream = await feed.subscribe(printer.position)
                if printer.position is None:
                    printer.position = stream.cursor.event_id
                try:
                    async for row in feed.follow(stream, lambda: 60.0):
                        failed = False
                        if row is not None:
                            await printer.add(row)
                finally:
                    feed.unsubscribe(stream)
            except (ListingTimeout, StoreUnavailable) as error:
                if not failed:
                    echo_error(f"{error} It is read again until it works.")
                failed = True
            await asyncio.sleep(AGAIN_SECONDS)
    finally:
        feed.close()
