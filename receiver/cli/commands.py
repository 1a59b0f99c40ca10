"""The table of commands. The module of a command is imported only when the command is run."""

from __future__ import annotations

from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from receiver import __version__
from receiver.cli.text_output import echo

COMMANDS = {
    "init": ("setup:init", "Write a commented configuration to start from."),
    "check": ("setup:check", "Read the configuration and print every problem at once."),
    "serve": ("serve_command:serve", "Receive deliveries and run handlers until SIGTERM or Ctrl-C."),
    "status": ("status:status", "Show whether all is well, and if not what to do first."),
    "top": ("top.command:top", "Show the overview live in this terminal until Ctrl-C or q."),
    "audit": ("audit:audit", "Compare completed jobs with the stored audio."),
    "demo": ("demo:demo", "Run jobs of four providers end to end on loopback."),
    "simulate": ("simulate:simulate", "Run simulators of all four providers until Ctrl-C."),
    "speech": ("speech.command:speech", "Synthesize speech: submit a text, wait, save the audio."),
    "task": ("task:app", "Tasks: requests of any kind to a service, in its own words."),
    "send": ("signing:send", "Sign and send one delivery, as the provider would."),
    "sign": ("signing:sign", "Print the signature headers for a body on standard input."),
    "verify": ("signing:verify", "Explain why a signature is valid or not."),
    "forward-test": ("forward_test.command:forward_test", "Verify and print forwarded events until Ctrl-C."),
    "listen": ("listen.command:listen", "Hand a receiver's events to a local address until Ctrl-C."),
    "mcp": ("mcp.command:mcp", "Give an assistant tools for speech (MCP)."),
    "voices": ("voices:voices", "List the provider's voices, or the documented ones."),
    "prune": ("prune:prune", "Delete events older than the retention period."),
    "events": ("events:app", "Events: what providers reported."),
    "runs": ("runs:app", "Runs: one handler's work on one event."),
    "usage": ("usage:usage", "What was charged: characters and credits by source and day."),
    "jobs": ("jobs:app", "Jobs: speech requests that the receiver watches."),
    "audio": ("audio:app", "Audio: save the files that events are about."),
    "changes": ("changes:app", "Changes: who changed what, the audit log."),
    "operations": ("operations:app", "Changes of all that matches, in the background."),
    "processes": ("processes:app", "Processes: which receivers use the store."),
    "handlers": ("handlers:handlers", "The active handlers."),
    "sources": ("sources:app", "The configured sources."),
    "users": ("users:app", "Users: who may log in to the console."),
    "webhook": ("webhook:app", "A provider's webhook: register it, rotate its secret, test it."),
    "db": ("store:db", "The store."),
}
"""Each command or group: its module in this package, its name in the module, and its help line."""


def _show_version(requested: bool) -> None:
    if requested:
        echo(f"tts-receiver {__version__}")
        raise typer.Exit


Version = Annotated[
    bool, typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=_show_version)
]


class LazyGroup(TyperGroup):
    """Commands by name and help line. A command's module is imported when the command is resolved.

    So `--help`, a wrong name and shell completion import no command.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for name, (_, line) in COMMANDS.items():
            self.add_command(TyperCommand(name, help=line, rich_markup_mode=None))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Import the command that the first argument names; the command and the other arguments."""
        if args[0] in COMMANDS:
            self.load(args[0])
        return super().resolve_command(ctx, args)

    def load(self, name: str) -> None:
        """Import a command, which replaces its help line."""
        module, _, attribute = COMMANDS[name][0].partition(":")
        found = getattr(import_module(f"receiver.cli.{module}"), attribute)
        parent = _group(TyperGroup)
        if isinstance(found, typer.Typer):
            parent.add_typer(found, name=name)
        else:
            parent.command(name)(found)
        loaded: Any = typer.main.get_command(parent)
        self.add_command(loaded.commands[name])


def build() -> typer.Typer:
    """The command line. Its help is plain text, the same in a pipe, a log and a narrow terminal."""
    return _group(LazyGroup)


def _group(cls: type[TyperGroup]) -> typer.Typer:
    app = typer.Typer(
        name="tts-receiver",
        cls=cls,
        help="Receive, verify, store and handle the webhooks of text-to-speech services.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=cls is LazyGroup,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    return app


def _options(version: Version = False) -> None:
    """Receive, verify, store and handle the webhooks of text-to-speech services."""
