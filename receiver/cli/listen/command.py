"""The options of the command `listen`. The module `session` runs it, and imports everything that runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from receiver.cli.listen.variables import API_VARIABLE, TOKEN_VARIABLE
from receiver.cli.options import DEFAULT_API, Metadata, Source, Type


def listen(
    forward: Annotated[
        str, typer.Option(help="The local address that gets each event, such as http://localhost:3000/hook.")
    ],
    api: Annotated[
        str | None,
        typer.Option(help=f"The receiver's private listener. Default: ${API_VARIABLE}, else {DEFAULT_API}."),
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(help=f"A file with the API token; viewer is enough. Default: ${TOKEN_VARIABLE}.")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(help="The first time: begin with events since an age (30m, 2h, 3d) or an ISO time."),
    ] = None,
    reset: Annotated[
        bool, typer.Option("--reset", help="Forget the position: begin with --since, or with new events.")
    ] = False,
    source: Source = None,
    type_: Type = None,
    metadata: Metadata = None,
    skip: Annotated[list[str] | None, typer.Option(help="Pass this event over, by its id; repeatable.")] = None,
    secret_file: Annotated[
        Path | None, typer.Option(help="A file with signing secrets, one a line. Default: one that is kept for you.")
    ] = None,
    plain_http: Annotated[
        bool, typer.Option("--plain-http", help="Allow http to other machines, which sends all in plain text.")
    ] = False,
) -> None:
    """Hand each event of a receiver to a local address, signed, until Ctrl-C.

    Events come in order. After any break it goes on where it stopped: none is missed, and only the one in flight may
    come again, under the same webhook-id.
    """
    import asyncio
    import os

    from receiver.cli.api_access import base_address, checked_address
    from receiver.cli.listen.start import Request, run
    from receiver.cli.options import check_event_id, parse_metadata, parse_time

    request = Request(
        api=base_address(api or os.environ.get(API_VARIABLE) or DEFAULT_API, plain_http=plain_http),
        forward=checked_address(forward, "--forward", plain_http=plain_http),
        token_file=token_file,
        since=parse_time(since, "--since"),
        reset=reset,
        source=source,
        type=type_,
        metadata=parse_metadata(metadata),
        skip=frozenset(check_event_id(text, "--skip") or "" for text in skip or ()),
        secret_file=secret_file,
    )
    asyncio.run(run(request))
