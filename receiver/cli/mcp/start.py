"""Runs `mcp`: over standard input and output, or as a listener."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import sys
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import typer

from receiver import logs
from receiver.cli.api_access import read_token
from receiver.cli.mcp.receiver_api import ReceiverApi, ToolError
from receiver.cli.mcp.variables import TOKEN_VARIABLE
from receiver.cli.stop_signals import stop_signals
from receiver.cli.text_output import echo, echo_error
from receiver.clock import SystemClock
from receiver.errors import ReceiverError
from receiver.settings.private import is_loopback

if TYPE_CHECKING:
    from mcp.server import Server

MAX_PORT = 65_535
TOKEN_ADVICE = f"Give one to `tts-receiver mcp`, in the file --token-file or in ${TOKEN_VARIABLE}."
EACH_TOKEN_ADVICE = "The MCP client sends it as the header Authorization: Bearer …"  # noqa: S105 - no token


def require_extra() -> None:
    """Check that the SDK is installed.

    Raises:
        ToolError: it is not; the message has the command.
    """
    if find_spec("mcp") is None:
        raise ToolError('The extra is not installed: pip install "tts-receiver[mcp]"')


def parse_listener(text: str) -> tuple[str, int]:
    """Host and port of `[HOST:]PORT`.

    Raises:
        typer.BadParameter: it has another form.
    """
    host, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= MAX_PORT):
        raise typer.BadParameter(f"{text!r} is not [HOST:]PORT, such as 8082 or 127.0.0.1:8082.", param_hint="--http")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise typer.BadParameter(f"write the IPv6 address as [{host}]:{port}.", param_hint="--http")
    return host or "127.0.0.1", int(port)


def serve_stdio(address: str, token_file: Path | None) -> None:
    """Serve one client on standard input and output, until it closes them or a signal arrives.

    Raises:
        ReceiverError: the token cannot be used.
    """
    token = read_token(token_file, TOKEN_VARIABLE)
    logs.configure(level="warning", secrets=[token] if token else [])
    if sys.stdin.isatty():
        echo_error(
            "This command speaks the Model Context Protocol on standard input and output: an MCP client starts it.",
            "Ctrl-C ends it. --http serves clients over HTTP.",
        )
    asyncio.run(_stdio(address, token))


async def _stdio(address: str, token: str | None) -> None:
    from mcp.server.stdio import stdio_server

    api = ReceiverApi(address, TOKEN_ADVICE)
    server = _server(api, lambda context: token)

    stop = asyncio.Event()

    async def serve() -> None:
        async with stdio_server() as (incoming, outgoing):
            try:
                await server.run(incoming, outgoing, server.create_initialization_options())
            except asyncio.CancelledError:  # the client has closed our output
                stop.set()
                raise

    with stop_signals(lambda signal: stop.set()):
        serving, stopping = asyncio.create_task(serve()), asyncio.create_task(stop.wait())
        await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
        await api.aclose()
        if stop.is_set():
            os._exit(0)  # a thread reads standard input, and an ordinary end would wait for it
        stopping.cancel()
        serving.result()


def serve_http(address: str, host: str, port: int) -> None:
    """Serve clients over streamable HTTP until a signal arrives.

    Raises:
        ReceiverError: it cannot listen there.
    """
    logs.configure(level="warning")
    listener = _listen(host, port)
    asyncio.run(_http(address, host, listener))


async def _http(address: str, host: str, listener: socket.socket) -> None:
    from receiver.cli.mcp.listener import McpListener, token_of

    api = ReceiverApi(address, EACH_TOKEN_ADVICE)
    loopback = is_loopback(listener.getsockname()[0])
    try:
        await _require_private(api, host, loopback=loopback)
        url = f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}/mcp"
        stop = asyncio.Event()
        with stop_signals(lambda signal: stop.set()):
            async with McpListener(_server(api, token_of), api, listener, loopback=loopback):
                echo(f"MCP at {url}, for the receiver at {address}. Ctrl-C stops.")
                await stop.wait()
    finally:
        listener.close()
        await api.aclose()


async def _require_private(api: ReceiverApi, host: str, *, loopback: bool) -> None:
    """Refuse to open a receiver without tokens to other machines.

    Raises:
        ToolError: it has none, or that is unknown.
    """
    try:
        if not loopback and not await api.requires_token():
            raise ToolError(
                f"{host} is not a loopback address, and the receiver at {api.url} has no tokens: everybody who reaches "
                "this address could use it. Configure [api] tokens, or use --http 127.0.0.1:PORT."
            )
    except ReceiverError as error:
        raise ToolError(f"Cannot listen on {host}: {error}") from None


def _server(api: ReceiverApi, token: Any) -> Server[Any]:
    from receiver.cli.mcp.server import build_server
    from receiver.cli.mcp.tools import Tools

    return build_server(Tools(api, SystemClock(), Random()), token)  # noqa: S311 - an idempotency key is no secret


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(where)
        listener.listen(128)
    except OSError as error:
        hints = {
            errno.EADDRINUSE: "Another program listens there: stop it, or name another port.",
            errno.EACCES: "Ports below 1024 need privileges: name a higher one.",
        }
        hint = hints.get(error.errno or 0, "Name another address of this machine.")
        raise ToolError(f"Cannot listen on {host} port {port}: {error.strerror or error}. {hint}") from None
    listener.setblocking(False)
    return listener
