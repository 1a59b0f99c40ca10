"""The connections of `ctx.http`: kept, bounded, given back, and timed as each call says."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from receiver.engine import clients
from receiver.outbound.guard import AddressGuard
from tests.integration.outbound_support import OK, Peer
from tests.patience import PATIENCE

pytestmark = pytest.mark.anyio

HURRIED = 0.01
"""A time-out that the test wants to see pass."""


async def resolve(host: str, port: int) -> list[str]:
    return ["127.0.0.1"]


@asynccontextmanager
async def connected(guard: AddressGuard | None = None) -> AsyncIterator[httpx.AsyncClient]:
    transport = clients.GuardedTransport(guard or AddressGuard(True, resolve))
    async with clients.handler_client(transport) as client:
        yield client


class Recorder:
    """Records which modules are searched for, and finds none."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def find_spec(self, name: str, path: Sequence[str] | None, target: Any = None) -> None:
        self.names.append(name)


async def test_a_call_over_a_kept_connection_searches_for_no_module(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder()
    async with connected() as client:
        await client.post(peer.url(), content=b"")
        monkeypatch.setattr(sys, "meta_path", [recorder, *sys.meta_path])
        for _ in range(5):
            assert (await client.post(peer.url(), content=b"")).status_code == 200
    assert recorder.names == []
    assert peer.connections == 1


async def test_a_response_that_is_not_read_is_closed_and_its_place_is_free(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "MAX_CONNECTIONS", 1)
    peer.answer = lambda number, nth: OK if number else b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"
    async with connected() as client:
        async with client.stream("GET", peer.url()) as response:
            assert response.status_code == 200
        assert (await client.get(peer.url())).status_code == 200
    assert peer.connections == 2


async def test_a_call_that_is_cancelled_gives_its_connection_up(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "MAX_CONNECTIONS", 1)
    peer.answer = lambda number, nth: OK if number else b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"
    async with connected() as client:
        calling = asyncio.create_task(client.get(peer.url()))
        async with asyncio.timeout(PATIENCE):
            while not peer.requests:
                await asyncio.sleep(0)
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
        assert (await client.get(peer.url(), timeout=PATIENCE)).status_code == 200
        await peer.until_open(1)


async def test_each_call_has_its_own_time_outs(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "MAX_CONNECTIONS", 1)
    peer.answer = lambda number, nth: b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"
    async with connected() as client, client.stream("GET", peer.url()):
        with pytest.raises(httpx.PoolTimeout):
            await client.get(peer.url(), timeout=httpx.Timeout(None, pool=HURRIED))
    async with connected() as client:
        with pytest.raises(httpx.ReadTimeout):
            await client.get(peer.url(), timeout=httpx.Timeout(None, read=HURRIED))

    never = asyncio.Event()

    async def unresolved(host: str, port: int) -> list[str]:
        await never.wait()
        return []

    async with connected(AddressGuard(True, unresolved)) as client:
        with pytest.raises(httpx.ConnectTimeout):
            await client.get(peer.url("service.example"), timeout=httpx.Timeout(None, connect=HURRIED))


async def test_an_address_with_letters_beyond_ascii_is_connected_to(peer: Peer) -> None:
    async with connected() as client:
        assert (await client.get(peer.url("bücher.example"))).status_code == 200
    assert b"\r\nHost: xn--bcher-kva.example:" in peer.requests[0][1]
