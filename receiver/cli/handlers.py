"""`handlers list`: the active handlers."""

from __future__ import annotations

from typing import Any

import typer

from receiver.cli.options import Config, Json
from receiver.cli.output import print_table
from receiver.cli.text_output import print_json

handlers = typer.Typer(no_args_is_help=True, help="The active handlers.")


@handlers.callback()
def _handlers() -> None:
    """The active handlers."""


@handlers.command("list")
def list_handlers(config: Config = None, json: Json = False) -> None:
    """Show the active handlers, what they subscribe to and their bounds."""
    from receiver.engine.plugins import load_registry
    from receiver.settings import load

    rows: list[dict[str, Any]] = [
        {
            "name": name,
            "on": [cls.__name__ for cls in active.handler.on],
            "kind": "async" if active.handler.is_async else "thread",
            "attempts": active.handler.attempts,
            "timeout": active.handler.timeout,
            "concurrency": active.handler.concurrency,
            "from": active.loaded_from,
        }
        for name, active in load_registry(load(config)).active.items()
    ]
    if json:
        print_json(rows)
        return
    print_table(
        f"Active handlers: {len(rows)}",
        ["name", "on", "kind", "attempts", "timeout s", "concurrency", "from"],
        [
            (r["name"], ", ".join(r["on"]), r["kind"], r["attempts"], r["timeout"], r["concurrency"], r["from"])
            for r in rows
        ],
    )
