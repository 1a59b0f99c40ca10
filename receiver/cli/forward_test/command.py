"""The options of the command `forward-test`. The module `session` runs it, and imports everything that runs."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

import typer

from receiver.cli.options import Config

MAX_PORT = 65_535
MIN_STATUS, MAX_STATUS = 200, 599


def forward_test(
    config: Config = None,
    handler: Annotated[
        str | None, typer.Option(help="The handler that forwards here. Default: the only one that uses forward.")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=MAX_PORT,
            help="Port to listen on; 0: any free one. Default: that of the handler's url, else 9000.",
        ),
    ] = None,
    status: Annotated[
        int, typer.Option(min=MIN_STATUS, max=MAX_STATUS, help="The response to a verified event.")
    ] = HTTPStatus.NO_CONTENT,
) -> None:
    """Run a small application that verifies and prints what the handler forward sends, until Ctrl-C.

    It listens on loopback. If no handler uses forward, it prints the table to add.
    """
    import asyncio

    from receiver.cli.forward_test.session import Session
    from receiver.cli.forward_test.target import find_target
    from receiver.settings import load
    from receiver.settings.loading import config_file

    target = find_target(load(config), handler)
    asyncio.run(Session(target, config_file(config), status).run(target.port if port is None else port))
