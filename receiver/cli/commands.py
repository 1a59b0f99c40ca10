"""Every command, from one file for each group."""

from __future__ import annotations

import typer

from receiver.cli import (
    demo,
    events,
    inspect,
    jobs,
    runs,
    serve,
    setup,
    signing,
    simulate,
    sources,
    store,
    voices,
    webhook,
)
from receiver.cli.speech import command

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
app.command("simulate")(simulate.simulate)
app.command("speech")(command.speech)
app.command("send")(signing.send)
app.command("sign")(signing.sign)
app.command("verify")(signing.verify)
app.command("voices")(voices.voices)
app.command("prune")(store.prune)
app.add_typer(events.app, name="events")
app.add_typer(runs.app, name="runs")
app.add_typer(jobs.app, name="jobs")
app.add_typer(inspect.handlers, name="handlers")
app.add_typer(sources.app, name="sources")
app.add_typer(webhook.app, name="webhook")
app.add_typer(store.db, name="db")
