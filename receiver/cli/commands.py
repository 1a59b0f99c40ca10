"""Every command, from one file for each group; only the one that is asked for is loaded."""

from __future__ import annotations

from importlib import import_module

import typer

HOMES = {
    "init": "setup:init",
    "check": "setup:check",
    "serve": "serve:serve",
    "demo": "demo:demo",
    "simulate": "simulate:simulate",
    "speech": "speech.command:speech",
    "send": "signing:send",
    "sign": "signing:sign",
    "verify": "signing:verify",
    "voices": "voices:voices",
    "prune": "store:prune",
    "events": "events:app",
    "runs": "runs:app",
    "jobs": "jobs:app",
    "handlers": "inspect:handlers",
    "sources": "sources:app",
    "webhook": "webhook:app",
    "db": "store:db",
}
"""Where each command, or group of commands, is: a module below this package, and its name there."""


def build(word: str | None = None) -> typer.Typer:
    """The command line.

    Args:
        word: the command that is asked for; all of them are loaded if it is none of ours: for the help, and for what to
            say of a wrong one.
    """
    app = typer.Typer(
        name="tts-receiver",
        help="Receive, verify, store and handle the webhooks of text-to-speech services.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=False,
    )
    app.callback()(_commands)  # one command alone would not be a group
    for name in [word] if word in HOMES else HOMES:
        module, _, attribute = HOMES[name].partition(":")
        found = getattr(import_module(f"receiver.cli.{module}"), attribute)
        if isinstance(found, typer.Typer):
            app.add_typer(found, name=name)
        else:
            app.command(name)(found)
    return app


def _commands() -> None:
    """Receive, verify, store and handle the webhooks of text-to-speech services."""
