"""`top`: what `status` shows, and rates, redrawn until Ctrl-C."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from receiver.cli.options import Config
from receiver.cli.streams import flush_output
from receiver.cli.text_output import echo, echo_error

UNREADABLE = 2
"""The exit status if the store cannot be read at the start."""
WIDTH, HEIGHT = 80, 24
"""Of a frame that is printed without a terminal."""

Interval = Annotated[float, typer.Option("--interval", min=0.5, max=3600.0, help="Seconds between two readings.")]
Once = Annotated[bool, typer.Option("--once", help="Print one frame, and end.")]


def top(config: Config = None, interval: Interval = 2.0, once: Once = False) -> None:
    """Show the overview in this terminal, and keep it current, until Ctrl-C or q.

    Whether all is well, and if not what to do first; deliveries and runs a minute; runs by handler; sources. Reads the
    store, and writes nothing. Exit 2 if the store cannot be read at the start.
    """
    if not once and not _is_terminal():
        echo_error(
            "tts-receiver: top redraws a terminal, and standard output is none that it can redraw.",
            "--once prints one frame.",
        )
        raise typer.Exit(2)

    import asyncio

    from receiver.cli.error_report import lines_of
    from receiver.cli.top.frame import render
    from receiver.cli.top.reading import Reader
    from receiver.errors import ReceiverError

    reader = Reader(config)
    try:
        first = reader.read()
    except ReceiverError as error:
        echo_error(*lines_of(error))
        raise typer.Exit(UNREADABLE) from None
    if once:
        reader.close()
        width = os.get_terminal_size(1).columns if sys.stdout.isatty() else WIDTH
        echo(*render(first, width or WIDTH, HEIGHT))
        return
    from receiver.cli.top.session import watch

    if asyncio.run(watch(reader, first, interval)):
        flush_output()
        os._exit(0)  # an ordinary end waits for the threads of a store that may hang
    reader.close()


def _is_terminal() -> bool:
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
