"""Connections that are kept between requests: what is used again, and what becomes of one that its server closed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpcore
import pytest

from receiver.errors import BlockedAddress, OutboundError
from receiver.outbound.client import Client, Interrupted, Timeouts
from receiver.outbound.guard import AddressGuard
from receiver.outbound.guarded_transport import IDLE_SECONDS, ConnectionPool, GuardedBackend, PoolTimeouts
from tests.clocks import SetClock
from tests.integration.outbound_support import OK, Peer

pytestmark = pytest.mark.anyio

PATIENCE = 30.0
KEY = {"Authorization": "Bearer tts_secret"}


async def resolve(host: str, port: int) -> list[str]:
    return ["127.0.0.1"]


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    made = Client(AddressGuard(True, resolve), max_connections=2, timeouts=Timeouts(pool=PATIENCE))
    yield made
    await made.aclose()


async def ask(client: Client, url: str, method: str = "GET", **headers: str) -> bytes:
    async with client.send(method, url, headers) as reply:
        return await reply.read(100)


async def test_a_connection_is_used_again_for_its_own_origin_only(client: Client, peer: Peer) -> None:
    for host in ("provider.example", "provider.example", "storage.example", "provider.example"):
        assert await ask(client, peer.url(host)) == b"ok"
    assert [number for number, _ in peer.requests] == [0, 0, 1, 0]
    hosts = [head.partition(b"Host: ")[2].partition(b".")[0] for _, head in peer.requests]
    assert hosts == [b"provider", b"provider", b"storage", b"provider"]


async def test_a_kept_connection_is_never_used_under_another_guard(client: Client, peer: Peer) -> None:
    strict = Client(AddressGuard(False, resolve))
    assert await ask(client, peer.url()) == b"ok"
    with pytest.raises(BlockedAddress):
        await ask(strict, peer.url().replace("http:", "https:"))
    assert len(peer.requests) == 1
    await strict.aclose()


async def test_headers_of_one_request_are_not_sent_with_the_next(client: Client, peer: Peer) -> None:
    await ask(client, peer.url(), **KEY)
    await ask(client, peer.url())
    assert [(number, b"tts_secret" in head) for number, head in peer.requests] == [(0, True), (0, False)]


async def test_a_get_is_sent_again_where_the_server_closes_a_kept_connection(client: Client, peer: Peer) -> None:
    peer.answer = lambda number, nth: OK if nth == 0 else b""
    for _ in range(3):
        assert await ask(client, peer.url()) == b"ok"
    assert [number for number, _ in peer.requests] == [0, 0, 1, 1, 2]


async def test_a_post_is_not_sent_again(client: Client, peer: Peer) -> None:
    """What it asked for may have been done."""
    peer.answer = lambda number, nth: OK if nth == 0 else b""
    assert await ask(client, peer.url(), "POST") == b"ok"
    with pytest.raises(Interrupted):
        await ask(client, peer.url(), "POST")
    assert len(peer.requests) == 2


async def test_a_get_on_a_fresh_connection_is_not_sent_again(client: Client, peer: Peer) -> None:
    peer.answer = lambda number, nth: b""
    with pytest.raises(Interrupted):
        await ask(client, peer.url())
    assert len(peer.requests) == 1


async def test_the_second_try_takes_no_kept_connection(client: Client, peer: Peer) -> None:
    peer.answer = lambda number, nth: OK if nth == 0 else b""
    async with client.send("GET", peer.url(), {}) as first, client.send("GET", peer.url(), {}) as second:
        assert [await first.read(9), await second.read(9)] == [b"ok", b"ok"]
    assert await ask(client, peer.url()) == b"ok"
    assert [number for number, _ in peer.requests][3:] == [2]


async def test_a_connection_that_was_closed_while_nobody_used_it_is_passed_over(client: Client, peer: Peer) -> None:
    peer.answer = lambda number, nth: OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    for _ in range(2):
        assert await ask(client, peer.url(), "POST") == b"ok"
    assert [number for number, _ in peer.requests] == [0, 1]


async def test_connections_are_bounded_and_an_idle_one_makes_room(client: Client, peer: Peer) -> None:
    for host in ("a", "b", "c", "d"):
        assert await ask(client, peer.url(f"{host}.example")) == b"ok"
    assert peer.connections == 4
    await peer.until_open(1)  # half of two may be idle
    async with client.send("GET", peer.url("e.example"), {}), client.send("GET", peer.url("f.example"), {}):
        await peer.until_open(2)
        waiting = asyncio.create_task(ask(client, peer.url("g.example")))
        await asyncio.sleep(0)
        assert peer.connections == 6
    assert await asyncio.wait_for(waiting, PATIENCE) == b"ok"


async def test_who_waits_too_long_for_a_connection_is_told_so(peer: Peer) -> None:
    client = Client(AddressGuard(True, resolve), max_connections=1, timeouts=Timeouts(pool=0.01))
    async with client.send("GET", peer.url(), {}):
        with pytest.raises(OutboundError) as caught:
            await ask(client, peer.url())
    assert caught.value.reason == "timeout"
    assert await ask(client, peer.url()) == b"ok"
    await client.aclose()


async def test_a_request_that_is_cancelled_gives_its_connection_up(client: Client, peer: Peer) -> None:
    peer.answer = lambda number, nth: b"HTTP/1.1 200 OK\r\n"  # the rest never comes
    for number in range(3):  # more than there are connections
        task = asyncio.create_task(ask(client, peer.url()))
        async with asyncio.timeout(PATIENCE):
            while len(peer.requests) <= number:
                await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await peer.until_open(0)


async def test_a_connection_whose_answer_was_not_read_is_not_kept(client: Client, peer: Peer) -> None:
    peer.answer = lambda number, nth: b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok"
    for _ in range(2):
        async with client.send("GET", peer.url(), {}):
            pass
    assert [number for number, _ in peer.requests] == [0, 1]
    await peer.until_open(0)


async def test_closing_closes_what_is_idle_and_what_is_in_use(client: Client, peer: Peer) -> None:
    assert await ask(client, peer.url()) == b"ok"
    peer.answer = lambda number, nth: b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok"  # the rest never comes
    async with client.send("GET", peer.url("other.example"), {}) as reply:
        reading = asyncio.create_task(reply.read(9))
        await asyncio.sleep(0)
        await client.aclose()
        with pytest.raises(Interrupted):
            await asyncio.wait_for(reading, PATIENCE)
    await peer.until_open(0)


async def test_a_connection_that_was_idle_for_too_long_is_closed(peer: Peer) -> None:
    clock = SetClock()
    pool = ConnectionPool(
        GuardedBackend(AddressGuard(True, resolve)),
        4,
        timeouts=PoolTimeouts(PATIENCE, PATIENCE),
        clock=clock,
    )
    origin = ("http", "provider.example", peer.port)
    request = httpcore.Request("GET", peer.url("provider.example"), headers=[("Host", "provider.example")])

    async def used() -> bool:
        async with pool.connection(origin, fresh=False) as kept:
            response = await kept.connection.handle_async_request(request)
            await response.aread()
            await response.aclose()
            return kept.reused

    assert [await used(), await used()] == [False, True]
    clock.time += IDLE_SECONDS
    assert not await used()
    await peer.until_open(1)
    await pool.aclose()
