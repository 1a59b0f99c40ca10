"""MCP clients of the official SDK, as an assistant has them; the command is a real process, over stdio or HTTP."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

import pytest

from tests.acceptance.support import Provider, Server, Site, clean_environment
from tests.patience import PATIENCE

pytest.importorskip("mcp", reason='the extra is not installed: pip install "tts-receiver[mcp]"')

import httpx2
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CallToolResult

T = TypeVar("T")

OPERATOR = "token-of-an-operator-0123456789"
VIEWER = "token-of-a-viewer-0123456789"
TOKENS = f"""
[[api.tokens]]
id = "assistant"
token = "{OPERATOR}"
[[api.tokens]]
id = "reader"
role = "viewer"
token = "{VIEWER}"
"""
POLLED = "[sources.aitts.poll]\nfirst_seconds = 0.05"


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a client to its end."""

    async def within() -> T:
        async with asyncio.timeout(PATIENCE):
            return await work

    return asyncio.run(within())


def speaking(site: Site, provider: Provider, more: str = "") -> Server:
    """A receiver that polls the provider soon, and stores audio."""
    site.configure(more, base_url=provider.sim.base_url, handlers="[handlers.save_audio]", source=POLLED)
    return site.start()


@asynccontextmanager
async def over_stdio(
    site: Site, api: str, *words: str, mode: str = "auto", **environment: str
) -> AsyncIterator[Client]:
    """A client that starts the command; what the command writes to standard error must be nothing."""
    errors = site.folder / "mcp.stderr"
    parameters = StdioServerParameters(
        command=sys.executable,
        args=["-m", "receiver", "mcp", "--api", api, *words],
        env=clean_environment(**environment),
    )
    with errors.open("w") as log:
        async with Client(stdio_client(parameters, errlog=log), mode=mode) as client:
            yield client
    site.printed.append(errors.read_text())
    assert errors.read_text() == ""


@asynccontextmanager
async def over_http(url: str, token: str | None = None, mode: str = "auto") -> AsyncIterator[Client]:
    """A client over HTTP."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=PATIENCE, trust_env=False) as http,
        Client(streamable_http_client(url, http_client=http), mode=mode) as client,
    ):
        yield client


class Command:
    """The command as a process of its own, with its standard streams."""

    def __init__(self, site: Site, *words: str, **environment: str) -> None:
        self.errors = site.folder / f"mcp-{len(site.printed)}.stderr"
        site.printed.append("")
        with self.errors.open("w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "receiver", "mcp", *words],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                cwd=site.folder,
                env=clean_environment(**environment),
            )

    def read_line(self) -> str:
        """The next line of standard output; empty at its end."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().decode()

    def send(self, **message: Any) -> None:
        """Write a message of the protocol."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
        self.process.stdin.flush()

    def initialize(self) -> dict[str, Any]:
        """Begin a session by hand; the answer."""
        client = {"name": "by-hand", "version": "1"}
        params = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client}
        self.send(id=1, method="initialize", params=params)
        answer: dict[str, Any] = json.loads(self.read_line())
        self.send(method="notifications/initialized")
        return answer

    def end(self) -> tuple[int, str, str]:
        """Its exit code once it has ended, the rest of its output, and all its errors."""
        assert self.process.stdout is not None
        code = self.process.wait(PATIENCE)
        return code, self.process.stdout.read().decode(), self.errors.read_text()

    def close(self) -> None:
        """Kill it if it runs."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(PATIENCE)
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()


@contextmanager
def started(site: Site, *words: str, **environment: str) -> Iterator[Command]:
    """The command, started."""
    command = Command(site, *words, **environment)
    try:
        yield command
    finally:
        command.close()


@contextmanager
def listening(site: Site, api: str) -> Iterator[str]:
    """The command listening on loopback; its URL."""
    with started(site, "--api", api, "--http", "0") as command:
        line = command.read_line()
        assert line.startswith("MCP at http://127.0.0.1:"), (line, command.errors.read_text())
        yield line.split()[2].rstrip(",")


def text_of(result: CallToolResult) -> str:
    """The text of a result."""
    found = [block.text for block in result.content if block.type == "text"]
    return "\n".join(found)


async def failure(client: Client, tool: str, **arguments: Any) -> str:
    """What a call fails with."""
    result = await client.call_tool(tool, arguments)
    assert result.is_error
    assert result.structured_content is None
    return text_of(result)


async def success(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    """The structured result of a call; its text is the same."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, text_of(result)
    assert result.structured_content is not None
    assert json.loads(text_of(result)) == result.structured_content
    return result.structured_content
