"""`handlers`: list the active handlers, and show which of them match an event."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from receiver.cli.options import Config, Csv, Json
from receiver.cli.text_output import echo, echo_error
from receiver.errors import NotFound

if TYPE_CHECKING:
    from receiver.cli.lists import Listing
    from receiver.engine.handler import Handler
    from receiver.engine.plugins import ActiveHandler
    from receiver.model.redact import Redactor
    from receiver.model.routing import Mismatch

handlers = typer.Typer(no_args_is_help=True, help="The active handlers.")


@handlers.callback()
def _handlers() -> None:
    """The active handlers."""


@handlers.command("list")
def list_handlers(config: Config = None, json: Json = False, csv: Csv = False) -> None:
    """Show the active handlers: what they subscribe to, their conditions, targets and bounds."""
    from receiver.cli.lists import list_format, print_rows
    from receiver.engine.plugins import load_registry
    from receiver.settings import load

    format = list_format(json, csv)
    active = load_registry(load(config)).active
    print_rows(_listing(), list(active.items()), format)


def _listing() -> Listing:
    """Of pairs of a handler's name and the handler."""
    from receiver.cli.lists import Listing
    from receiver.cli.table_layout import Column
    from receiver.engine.handler_options import target_of
    from receiver.web.api import setup_models as models

    def item(pair: tuple[str, ActiveHandler]) -> models.Handler:
        name, active = pair
        handler = active.handler
        return models.Handler(
            name=name,
            on=_classes(active),
            where=[models.Condition(key=one.key, values=list(one.values)) for one in handler.where],
            target=target_of(active.options),
            kind=_kind(handler.is_async),
            attempts=handler.attempts,
            timeout_seconds=handler.timeout,
            concurrency=handler.concurrency,
            across=handler.across,
            loaded_from=active.loaded_from,
        )

    columns = (
        Column("name", lambda pair: pair[0], 0, 10),
        Column("on", lambda pair: ", ".join(_classes(pair[1])), 1, 10),
        Column("where", lambda pair: "; ".join(map(str, pair[1].handler.where)), 2, 12),
        Column("target", lambda pair: target_of(pair[1].options), 2, 12),
        Column("kind", lambda pair: _kind(pair[1].handler.is_async), 4),
        Column("attempts", lambda pair: pair[1].handler.attempts, 3, right=True),
        Column("timeout s", lambda pair: pair[1].handler.timeout, 4, right=True),
        Column("concurrency", lambda pair: _concurrency(pair[1].handler), 4),
        Column("from", lambda pair: pair[1].loaded_from, 3, 12),
    )
    return Listing("Active handlers", columns, models.Handler, item)


def _classes(active: ActiveHandler) -> list[str]:
    return [cls.__name__ for cls in active.handler.on]


def _concurrency(handler: Handler) -> str | None:
    if handler.concurrency is None:
        return None
    return f"{handler.concurrency} in all processes" if handler.across == "cluster" else str(handler.concurrency)


@handlers.command("match")
def match_event(
    event: Annotated[str, typer.Option("--event", help="The event's id, or a unique prefix.")],
    config: Config = None,
    json: Json = False,
) -> None:
    """Show which active handlers a stored event matches, and why not the others. Changes nothing."""
    from receiver.cli.ids import find_event_id
    from receiver.cli.lists import Format, print_rows
    from receiver.cli.session import open_session
    from receiver.engine.plugins import load_registry
    from receiver.model.redact import Redactor
    from receiver.store import views

    with open_session(config) as (settings, database):
        active = load_registry(settings).active
        found = database.query(views.get_event, find_event_id(database, event))
    if found is None:  # pruned since it was looked up
        raise NotFound(f"There is no event {event}.")
    mismatches = [
        (name, item.handler.mismatch(found["type"], found["source"], found["payload"])) for name, item in active.items()
    ]
    format = Format.JSON if json else Format.TABLE
    print_rows(_matches_listing(found["id"], Redactor(settings.secrets())), mismatches, format)
    if not json:
        matching = sum(mismatch is None for _, mismatch in mismatches)
        say = echo if format.is_for_people else echo_error
        say(f"Handlers that match {found['id']}: {matching} of {len(mismatches)}")


def _matches_listing(event_id: str, redact: Redactor) -> Listing:
    """Of pairs of a handler's name and why it does not get the event; None if it does."""
    from receiver.cli.lists import Listing
    from receiver.cli.table_layout import Column
    from receiver.model.redact_json import redact_json
    from receiver.web.api import setup_models as models

    def item(pair: tuple[str, Mismatch | None]) -> models.HandlerMatch:
        name, mismatch = pair
        why = None
        if mismatch is not None:
            value = redact_json(mismatch.value, redact)
            why = models.Mismatch(key=mismatch.key, values=list(mismatch.allowed), value=value)
        return models.HandlerMatch(handler=name, matches=mismatch is None, mismatch=why)

    columns = (
        Column("handler", lambda pair: pair[0], 0, 10),
        Column("matches", lambda pair: "yes" if pair[1] is None else "no"),
        Column("why not", lambda pair: pair[1], 1, 20),
    )
    return Listing("", columns, models.HandlerMatch, item, extra=lambda: {"event_id": event_id})


def _kind(is_async: bool) -> Literal["async", "thread"]:
    return "async" if is_async else "thread"
