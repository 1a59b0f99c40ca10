"""The command `tts-receiver`: one file for each group of commands."""

from __future__ import annotations

import sys

import typer

from receiver.cli import demo, events, inspect, runs, serve, setup, signing, store
from receiver.errors import ConfigError, ReceiverError

app = typer.Typer(
    name="tts-receiver",
    help="Receive, verify, store and handle the webhooks of text-to-speech services.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command("init")(setup.init)
app.command("check")(setup.check)
app.command("serve")(serve.serve)
app.command("demo")(demo.demo)
app.command("send")(signing.send)
app.command("sign")(signing.sign)
app.command("verify")(signing.verify)
app.command("prune")(store.prune)
app.add_typer(events.app, name="events")
app.add_typer(runs.app, name="runs")
app.add_typer(inspect.handlers, name="handlers")
app.add_typer(inspect.sources, name="sources")
app.add_typer(store.db, name="db")


def main() -> None:
    """Run a command. Errors end as one sentence on standard error: 1 for what went wrong, 2 for wrong usage."""
    try:
        app()
    except ConfigError as error:
        print("tts-receiver: the configuration cannot be used:", file=sys.stderr)
        for problem in error.problems:
            print(f"  {problem}", file=sys.stderr)
        sys.exit(1)
    except ReceiverError as error:
        print(f"tts-receiver: {error}", file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:
        sys.stderr.close()  # whoever read our output has gone
        sys.exit(1)
