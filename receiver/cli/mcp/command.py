"""The options of the command `mcp`. The module `start` runs it, and imports everything that runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from receiver.cli.mcp.variables import API_VARIABLE, TOKEN_VARIABLE
from receiver.cli.options import DEFAULT_API


def mcp(
    api: Annotated[
        str | None,
        typer.Option(help=f"The receiver's private listener. Default: ${API_VARIABLE}, else {DEFAULT_API}."),
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(help=f"A file with the API token. Default: ${TOKEN_VARIABLE}. Not with --http.")
    ] = None,
    http: Annotated[
        str | None,
        typer.Option(
            metavar="[HOST:]PORT",
            help="Serve streamable HTTP at /mcp of this address, instead of standard input and output; each client "
            "sends its own API token.",
        ),
    ] = None,
    plain_http: Annotated[
        bool, typer.Option("--plain-http", help="Allow an --api with http on another machine, in plain text.")
    ] = False,
) -> None:
    """Give an assistant tools for speech: an MCP server over the API of a running receiver.

    An MCP client starts this command, and speaks with it on standard input and output until it closes them.
    """
    import os

    from receiver.cli.api_access import base_address
    from receiver.cli.mcp.start import parse_listener, require_extra, serve_http, serve_stdio

    address = base_address(api or os.environ.get(API_VARIABLE) or DEFAULT_API, plain_http=plain_http)
    require_extra()
    if http is None:
        serve_stdio(address, token_file)
        return
    if token_file is not None:
        raise typer.BadParameter(
            "with --http each client sends its own token: leave it out.", param_hint="--token-file"
        )
    serve_http(address, *parse_listener(http))
