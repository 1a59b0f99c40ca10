"""`ctx.http` connects where the address guard lets it, and is httpx's client in everything else."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from receiver import BlockedAddress, Context, JobCompleted, handler
from receiver.testing import HandlerOutcome, completed, run_handler
from tests.integration.engine_support import Signal, telling
from tests.integration.intake_support import Lines, configured, logged, running
from tests.integration.intake_support import completed as delivery
from tests.integration.outbound_support import Say, Server, serving

pytestmark = pytest.mark.anyio

ALLOWED = {"allow_private_addresses": True}


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with serving(lambda request: Say(200, {}, b"spoken")) as server:
        yield server


async def call(url: str, options: dict[str, Any], **named: Any) -> HandlerOutcome:
    """One attempt of a handler that gets an address."""

    @handler(on=JobCompleted, name="tell_us")
    async def tell_us(event: JobCompleted, ctx: Context[None]) -> list[Any]:
        answer = await ctx.http.get(url, **named)
        return [answer.status_code, answer.text]

    return await asyncio.to_thread(run_handler, tell_us, completed(), options=options)


async def test_a_private_address_is_refused_before_anything_is_sent_and_the_refusal_names_the_setting(
    server: Server,
) -> None:
    for host in ("127.0.0.1", "localhost"):
        outcome = await call(server.url("/", host=host), {})
        assert outcome.state == "retry"
        assert isinstance(outcome.error, BlockedAddress)
        assert "set allow_private_addresses = true in [handlers.tell_us]" in str(outcome.error)
    assert server.requests == []


async def test_a_handler_whose_table_allows_it_talks_to_its_sidecar(server: Server) -> None:
    for host in ("127.0.0.1", "localhost"):
        outcome = await call(server.url("/", host=host), ALLOWED)
        assert (outcome.state, outcome.result) == ("succeeded", [200, "spoken"])


async def test_redirects_are_followed_only_where_a_call_asks_for_it_and_each_hop_is_checked(server: Server) -> None:
    server.behave = lambda request: Say(302, {"Location": "http://169.254.169.254/latest/meta-data"})
    assert (await call(server.url("/"), ALLOWED)).result == [302, ""]
    outcome = await call(server.url("/"), ALLOWED, follow_redirects=True)
    assert isinstance(outcome.error, BlockedAddress)


async def test_proxies_of_the_environment_are_not_used(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert (await call(server.url("/"), ALLOWED)).result == [200, "spoken"]


async def test_what_goes_wrong_on_the_way_is_an_error_of_httpx(server: Server) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        outcome = await call(f"http://127.0.0.1:{unused.getsockname()[1]}/", ALLOWED)
    assert type(outcome.error) is httpx.ConnectError
    outcome = await call(f"http://{'a' * 64}.test/", {})
    assert type(outcome.error) is httpx.ConnectError
    assert "cannot be resolved" in str(outcome.error)
    server.behave = lambda request: Say(200, {}, b"spoken", cut=3)
    outcome = await call(server.url("/"), ALLOWED)
    assert type(outcome.error) is httpx.RemoteProtocolError
    outcome = await call("ftp://example.test/", {})
    assert type(outcome.error) is httpx.UnsupportedProtocol


PLUGIN = """
from receiver import Context, JobCompleted, handler


@handler(on=JobCompleted, attempts=1)
async def tell_us(event: JobCompleted, ctx: Context[None]) -> int:
    return (await ctx.http.get("URL")).status_code
"""


@pytest.fixture
def lines() -> Iterator[Lines]:
    with logged() as lines:
        yield lines


@pytest.mark.parametrize(("table", "state"), [({}, "dead"), (ALLOWED, "succeeded")])
async def test_the_setting_is_read_from_the_handlers_table(
    table: dict[str, Any], state: str, tmp_path: Path, server: Server, lines: Lines
) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "tell_us.py").write_text(PLUGIN.replace("URL", server.url("/")))
    settings = configured(tmp_path, plugins={"directory": "plugins"}, handlers={"tell_us": table})
    async with running(settings) as up:
        signal = Signal()
        with telling(lines, signal):
            await up.post(delivery("job_1"))
            await signal.until(lambda: lines.of("run.succeeded") or lines.of("run.dead"))
        (run,) = up.rows("runs")
    assert run["state"] == state
    assert state == "succeeded" or "set allow_private_addresses = true in [handlers.tell_us]" in run["error"]
