"""`demo`: jobs of four providers end to end on loopback."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from receiver.cli.text_output import echo_error


def demo(
    folder: Annotated[Path | None, typer.Option(help="Output folder. Default: a new folder here.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the simulated faults and ids.")] = 7,
    stay: Annotated[bool, typer.Option("--stay", help="Keep the servers running at the end.")] = False,
) -> None:
    """Run jobs of four providers end to end on loopback, with duplicates and a forgery, and print what happened.

    Each event is forwarded to a small application, which verifies it.
    """
    import asyncio

    from receiver.cli.demo_scenario import DemoError, run

    root = (folder or Path(f"demo-{time.strftime('%Y%m%d-%H%M%S')}")).resolve()
    try:
        root.mkdir(parents=True, mode=0o700)
    except FileExistsError:
        raise DemoError(f"{root} already exists; name another with --folder.") from None
    except OSError as error:
        raise DemoError(f"{root} cannot be created: {error.strerror}.") from None
    try:
        problems = asyncio.run(run(root, seed, stay))
    except (KeyboardInterrupt, asyncio.CancelledError):
        echo_error("", f"Stopped. The files written so far are in {root}")
        raise typer.Exit(130) from None
    for problem in problems:
        echo_error(f"✗ {problem}")
    raise typer.Exit(1 if problems else 0)
