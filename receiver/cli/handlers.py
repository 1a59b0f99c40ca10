"""`handlers`: list the active handlers, and show which of them match an event."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from receiver.cli.options import Config, Json
from receiver.cli.output import print_table
from receiver.cli.text_output import print_json
from receiver.errors import NotFound

if TYPE_CHECKING:
    from receiver.engine.handler import Handler
    from receiver.model.routing import Mismatch

handlers = typer.Typer(no_args_is_help=True, help="The active handlers.")


@handlers.callback()
def _handlers() -> None:
    """The active handlers."""


@handlers.command("list")
def list_handlers(config: Config = None, json: Json = False) -> None:
    """Show the active handlers: what they subscribe to, their conditions, targets and bounds."""
    from receiver.engine.handler_options import target_of
    from receiver.engine.plugins import load_registry
    from receiver.settings import load

    active = load_registry(load(config)).active
    if json:
        print_json(
            [
                {
                    "name": name,
                    "on": [cls.__name__ for cls in item.handler.on],
                    "where": [{"key": one.key, "values": list(one.values)} for one in item.handler.where],
                    "target": target_of(item.options),
                    "kind": _kind(item.handler.is_async),
                    "attempts": item.handler.attempts,
                    "timeout": item.handler.timeout,
                    "concurrency": item.handler.concurrency,
                    "across": item.handler.across,
                    "from": item.loaded_from,
                }
                for name, item in active.items()
            ]
        )
        return
    print_table(
        f"Active handlers: {len(active)}",
        ["name", "on", "where", "target", "kind", "attempts", "timeout s", "concurrency", "from"],
        [
            (
                name, ", ".join(cls.__name__ for cls in item.handler.on),
                "; ".join(map(str, item.handler.where)) or None, target_of(item.options),
                _kind(item.handler.is_async), item.handler.attempts, item.handler.timeout,
                _concurrency(item.handler), item.loaded_from,
            )
            for name, item in active.items()
        ],
    )  # fmt: skip


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
    from receiver.cli.session import find_event_id, open_session
    from receiver.engine.plugins import load_registry
    from receiver.store import views

    with open_session(config) as (settings, database):
        active = load_registry(settings).active
        found = database.query(views.get_event, find_event_id(database, event))
    if found is None:  # pruned since it was looked up
        raise NotFound(f"There is no event {event}.")
    mismatches = {
        name: item.handler.mismatch(found["type"], found["source"], found["payload"]) for name, item in active.items()
    }
    if json:
        print_json([_match_to_dict(name, mismatch) for name, mismatch in mismatches.items()])
        return
    print_table(
        f"Handlers that match {found['id']}: {list(mismatches.values()).count(None)} of {len(mismatches)}",
        ["handler", "matches", "why not"],
        [(name, "no" if mismatch else "yes", mismatch) for name, mismatch in mismatches.items()],
    )


def _kind(is_async: bool) -> str:
    return "async" if is_async else "thread"


def _match_to_dict(name: str, mismatch: Mismatch | None) -> dict[str, Any]:
    if mismatch is None:
        return {"handler": name, "matches": True, "mismatch": None}
    condition = {"key": mismatch.key, "values": list(mismatch.allowed), "value": mismatch.value}
    return {"handler": name, "matches": False, "mismatch": condition}
