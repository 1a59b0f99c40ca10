"""A listener's limits for senders: bytes, connections, time. Tested over raw sockets."""

from __future__ import annotations

import asyncio
import gc
import socket
import time
from dataclasses import replace

import pytest

from receiver.web.http import limits
from receiver.web.http.connection import HttpConnection
from receiver.web.http.descriptors import PRIVATE_CONNECTIONS, RESERVED, divide
from receiver.web.http.exchange import Exchange
from receiver.web.http.parser import RequestParser
from tests.integration.listener_support import GENEROUS, Client, Listener, listening_raw, request
from tests.patience import PATIENCE

pytestmark = pytest.mark.anyio

HASTY = replace(GENEROUS, head_seconds=0.2)
"""Senders without a whole head are closed soon; nothing else is."""


async def trickle(client: Client, piece: bytes, max_bytes: int) -> int:
    """Send the same piece again and again until the other side has had enough; how many bytes were sent."""
    sent = 0
    try:
        while sent < max_bytes and not client.reader.at_eof():
            await client.send(piece)
            sent += len(piece)
    except ConnectionError:
        pass
    return sent


@pytest.mark.parametrize(
    ("start", "piece", "status", "word"),
    [
        (b"GET /", b"a" * 60_000, 414, "target_too_long"),
        (b"GET / HTTP/1.1\r\nHost: t\r\nX-Long: ", b"a" * 60_000, 431, "head_too_long"),
        (b"GET / HTTP/1.1\r\nHost: t\r\n", b"X-Many: 1\r\n" * 5_000, 431, "head_too_long"),
        (
            b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Trailer: ",
            b"a" * 60_000,
            431,
            "head_too_long",
        ),
        (
            b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n",
            b"X-Many: 1\r\n" * 5_000,
            431,
            "head_too_long",
        ),
        (
            b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n3;extension=",
            b"a" * 60_000,
            431,
            "head_too_long",
        ),
        (
            b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"1\r\na\r\n" * 10_000,
            431,
            "head_too_long",
        ),
    ],
    ids=["target", "one header", "many headers", "one trailer", "many trailers", "chunk extension", "tiny chunks"],
)
async def test_what_has_no_end_is_cut_off_early(start: bytes, piece: bytes, status: int, word: str) -> None:
    async with listening_raw() as listener:
        client = await listener.open()
        await client.send(start)
        reading = asyncio.create_task(client.answer())
        await trickle(client, piece, 4_000_000)
        answer = await reading
        assert (answer.status, answer.document) == (status, {"error": word})
        assert listener.cut(word) == 1
        assert (listener.table.partial_bytes, listener.table.pipelined_bytes) == (0, 0)


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (request("GET", "/" + "a" * (limits.MAX_TARGET_BYTES - 1)), 200),
        (request("GET", "/" + "a" * limits.MAX_TARGET_BYTES), 414),
        (request(headers="".join(f"X-{number}: 1\r\n" for number in range(limits.MAX_HEADERS - 1))), 200),
        (request(headers="".join(f"X-{number}: 1\r\n" for number in range(limits.MAX_HEADERS))), 431),
        (request(headers=f"X-Long: {'a' * 60_000}\r\n"), 200),
        (request(headers=f"X-Long: {'a' * limits.MAX_HEAD_BYTES}\r\n"), 431),
    ],
)
async def test_a_whole_head_is_measured_too(head: bytes, status: int) -> None:
    async with listening_raw() as listener:
        client = await listener.open()
        assert (await client.ask(head)).status == status


CHUNKED = request("POST", "/", headers="Transfer-Encoding: chunked\r\n")
LONG = request("POST", "/", headers="Content-Length: 2000000\r\n")


@pytest.mark.parametrize(
    ("empty", "other"),
    [
        (b"\r\n" * 1_000_000, LONG + b"xx" * 1_000_000),
        (CHUNKED + b"1e8480\r\n" + b"\r\n" * 1_000_000, LONG + b"xx" * 1_000_000),
        (CHUNKED + b"8\r\n\r\n\r\n\r\n\r\n\r\n" * 140_000, CHUNKED + b"8\r\nxxxxxxxx\r\n" * 140_000),
    ],
    ids=["before a request", "in a chunk", "in many chunks"],
)
async def test_empty_lines_cost_no_more_than_other_bytes(empty: bytes, other: bytes) -> None:
    """Each was a cut of its own, and a copy of all that followed: a megabyte took two seconds of the loop."""

    async def cost(sent: bytes) -> float:
        async with listening_raw() as listener:
            client = await listener.open()
            started = time.process_time()
            await client.send(sent)
            beside = await listener.open()
            assert (await beside.ask(request())).status == 200
            client.writer.write_eof()
            await client.rest()
            return time.process_time() - started

    assert await cost(empty) < await cost(other) * 4 + 0.5


async def test_empty_lines_keep_no_connection_open() -> None:
    async with listening_raw(replace(GENEROUS, head_seconds=0.2, idle_seconds=0.4)) as listener:
        known = await listener.open(request())
        assert (await known.answer()).status == 200
        for client in (await listener.open(), known):
            reading = asyncio.create_task(client.rest())
            while not reading.done():
                client.writer.write(b"\r\n")
                await asyncio.wait([reading], timeout=0.02)


async def test_a_silent_connection_is_closed() -> None:
    async with listening_raw(HASTY) as listener:
        client = await listener.open()
        assert await client.rest() == b""
        assert listener.cut("silent") == 1


@pytest.mark.parametrize("begun", [b"POST /webhooks/aitts HTTP/1.1\r\nHost: t\r\n", b"\r\n\r\n", b"\r\n\r\nP"])
async def test_a_head_that_is_not_ended_in_time_is_refused(begun: bytes) -> None:
    async with listening_raw(HASTY) as listener:
        client = await listener.open()
        await client.send(begun)
        assert b"head_too_slow" in await client.rest() or listener.cut("silent") == 1
        assert listener.cut("silent") + listener.cut("head_too_slow") == 1


async def test_bytes_now_and_then_win_no_time() -> None:
    async with listening_raw(HASTY) as listener:
        client = await listener.open(b"GET / HTTP/1.1\r\n")
        reading = asyncio.create_task(client.rest())
        while not reading.done():
            client.writer.write(b"X-Slow: 1\r\n")
            await asyncio.wait([reading], timeout=0.02)
        assert b"408" in reading.result()


async def test_a_second_heads_time_begins_with_its_first_byte() -> None:
    async with listening_raw(replace(HASTY, idle_seconds=600)) as listener:
        client = await listener.open(request())
        assert (await client.answer()).status == 200
        other = await listener.open()
        assert await other.rest() == b""  # the head's time has passed, and the idle connection is still there
        assert (await client.ask(request())).status == 200
        await client.send(b"GET")
        assert b"408" in await client.rest()


async def test_an_idle_connection_is_closed_after_its_time() -> None:
    async with listening_raw(replace(GENEROUS, idle_seconds=0.2)) as listener:
        client = await listener.open()
        assert (await client.ask(request())).status == 200
        assert await client.rest() == b""


async def test_a_request_that_takes_long_is_not_idle() -> None:
    async with listening_raw(replace(GENEROUS, idle_seconds=0.2, head_seconds=0.2)) as listener:
        gate = listener.application.gates["/slow"] = asyncio.Event()
        client = await listener.open(request("GET", "/slow"))
        other = await listener.open()
        assert await other.rest() == b""
        gate.set()
        assert (await client.answer()).status == 200


async def test_a_sender_that_does_not_read_its_answers_is_closed() -> None:
    async with listening_raw(replace(GENEROUS, idle_seconds=0.2)) as listener:
        with socket.create_connection(("127.0.0.1", listener.port)) as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.setblocking(False)
            wanted = request("GET", "/answered", headers=f"X-Echo: {'e' * 50_000}\r\n")
            loop = asyncio.get_running_loop()
            sending = asyncio.create_task(loop.sock_sendall(deaf, wanted * 400))
            async with asyncio.timeout(PATIENCE):
                while not listener.cut("reader_stalled"):
                    await asyncio.sleep(0.01)
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)


async def test_above_the_bound_who_reads_no_answers_makes_room() -> None:
    async with listening_raw(replace(GENEROUS, connections=2)) as listener:
        half = await listener.open()
        await half.send(request("POST", "/half", b"body")[:-1])
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(deaf, ("127.0.0.1", listener.port))
            wanted = request("GET", "/answered", headers=f"X-Echo: {'e' * 50_000}\r\n")
            sending = asyncio.create_task(loop.sock_sendall(deaf, wanted * 400))
            async with asyncio.timeout(PATIENCE):
                while not listener.table.stalled:
                    await asyncio.sleep(0.01)
            good = await listener.open()
            assert (await good.ask(request("POST", "/delivery", b"signed"))).status == 200
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
        assert (await half.ask(b"y")).status == 200
        assert listener.cut("connection_limit") == 1
        assert not listener.table.stalled


async def test_above_the_bound_the_oldest_without_a_head_makes_room() -> None:
    async with listening_raw(replace(GENEROUS, connections=3)) as listener:
        silent = await listener.open()
        half = await listener.open()
        await half.send(b"POST / HT")
        known = await listener.open()
        assert (await known.ask(request())).status == 200
        for refused in (silent, half):
            assert not refused.reader.at_eof()
            good = await listener.open()
            assert (await good.ask(request("POST", "/delivery", b"signed"))).status == 200
            assert await refused.rest() == b""
        assert listener.cut("connection_limit") == 2
        assert (await known.ask(request())).status == 200  # who has asked before is spared as long as others are not


async def test_idle_connections_and_half_bodies_make_room_in_their_turn() -> None:
    async with listening_raw(replace(GENEROUS, connections=2)) as listener:
        half = await listener.open()
        await half.send(request("POST", "/half", b"body")[:-1])
        idle = await listener.open()
        assert (await idle.ask(request())).status == 200
        first = await listener.open()
        assert (await first.ask(request("POST", "/first", b"signed"))).status == 200
        assert await idle.rest() == b""
        gate = listener.application.gates["/busy"] = asyncio.Event()
        await first.send(request("GET", "/busy"))
        await _until_seen(listener, "/busy")
        second = await listener.open()
        assert (await second.ask(request("POST", "/second", b"signed"))).status == 200
        assert await half.rest() == b""
        await second.send(request("GET", "/busy"))
        await _until_seen(listener, "/busy", times=2)
        newcomer = await listener.open()  # all are at work: this one cannot be taken
        assert await newcomer.rest() == b""
        gate.set()
        assert (await first.answer()).status == 200


async def test_unfinished_heads_are_bounded_all_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("receiver.web.http.connections.MAX_PARTIAL_BYTES", 300_000)
    async with listening_raw() as listener:
        small = await listener.open()
        await small.send(b"GET /small HTTP/1.1\r\nHost: t\r\n")
        large = [await listener.open() for _ in range(20)]
        for number, client in enumerate(large):
            await client.send(b"GET / HTTP/1.1\r\nX-Long: " + b"a" * (40_000 + number))
        async with asyncio.timeout(PATIENCE):
            while listener.cut("memory_limit") < 12:
                await asyncio.sleep(0.01)
        assert listener.table.partial_bytes <= 300_000
        assert (await small.ask(b"\r\n")).status == 200


async def test_a_connection_that_has_ended_leaves_nothing_for_the_collector() -> None:
    """What waits for the collector holds a piece of a body, and the collector comes seldom."""
    gc.collect()
    gc.disable()
    try:
        async with listening_raw(replace(GENEROUS, connections=2)) as listener:
            listener.application.gates["/slow"] = asyncio.Event()
            for started in (
                b"GET / HTTP/1.1\r\nHost: t\r\n",
                request("POST", "/half", b"b" * 60_000)[:-1],
                request("POST", "/half", headers="Transfer-Encoding: chunked\r\n") + b"f4240\r\n" + b"b" * 60_000,
                request("GET", "/slow") + request("GET", "/behind"),
                request("POST", "/unread", b"b" * 60_000),
                b"no request\r\n\r\n",
            ):
                client = await listener.open()
                assert (await client.ask(request("POST", "/", b"signed"))).status == 200
                await client.send(started)
            known = await listener.open()
            assert (await known.ask(request())).status == 200
        kinds = (HttpConnection, RequestParser, Exchange)
        assert [thing for thing in gc.get_objects() if isinstance(thing, kinds)] == []
    finally:
        gc.enable()


async def test_requests_sent_ahead_wait_for_others() -> None:
    async with listening_raw() as listener:
        ahead = [await listener.open() for _ in range(100)]
        for client in ahead:
            client.writer.write(request("GET", "/ahead") * 40)
        await ahead[0].answer()
        before = len(listener.application.seen)
        other = await listener.open()
        assert (await other.ask(request("POST", "/delivery", b"signed"))).status == 200
        assert len(listener.application.seen) - before < 300
        for client in ahead:
            for _ in range(39 if client is ahead[0] else 40):
                assert (await client.answer()).document["path"] == "/ahead"
        assert listener.table.pipelined_bytes == 0


async def test_the_same_cause_is_logged_once_in_a_while(capsys: pytest.CaptureFixture[str]) -> None:
    async with listening_raw() as listener:
        for _ in range(5):
            client = await listener.open()
            await client.ask(b"GET / HTTP/1.1\r\n\r\n")
        assert listener.cut("host_header") == 5
    assert capsys.readouterr().out.count("connection.cut") == 1


def test_descriptors_are_kept_for_our_own_work() -> None:
    assert divide(1024) == (1024 - RESERVED - PRIVATE_CONNECTIONS, PRIVATE_CONNECTIONS)
    public, private = divide(256)
    assert public + private <= 256 - 64
    assert sum(divide(64)) <= 64 - 27  # files that a start has open
    assert min(divide(16)) >= 1


async def _until_seen(listener: Listener, path: str, times: int = 1) -> None:
    async with asyncio.timeout(PATIENCE):
        while [seen for _, seen, _ in listener.application.seen].count(path) < times:
            await asyncio.sleep(0.005)
