"""Where a request begins and ends, whatever its sender does: asked over raw sockets."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.listener_support import Client, listening_raw, request

pytestmark = pytest.mark.anyio

SMUGGLED = b"GET /livez HTTP/1.1\r\nHost: t\r\n\r\n"
UPGRADES = (
    "Connection: Upgrade\r\nUpgrade: h2c\r\n",
    "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n",
    "connection: keep-alive, upgrade\r\nUPGRADE: websocket\r\nSec-WebSocket-Version: 13\r\n",
    "Upgrade:\r\nConnection: upgrade\r\nUpgrade: h2c\r\n",
    "Upgrade: TLS/1.0\r\nConnection: Upgrade\r\n",
)


def chunked(body: bytes, *, size: int = 7, trailer: str = "") -> bytes:
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n" + trailer.encode() + b"\r\n"


@pytest.mark.parametrize("upgrade", UPGRADES)
@pytest.mark.parametrize("framing", ["length", "chunked", "none"])
async def test_upgrade_is_ignored_and_the_body_stays_the_body(upgrade: str, framing: str) -> None:
    async with listening_raw() as listener:
        client = await listener.open()
        if framing == "length":
            stranger = request("POST", "/stranger", SMUGGLED, upgrade)
        elif framing == "chunked":
            stranger = request("POST", "/stranger", None, upgrade + "Transfer-Encoding: chunked\r\n")
            stranger += chunked(SMUGGLED, size=len(SMUGGLED))
        else:
            stranger = request("GET", "/stranger", None, upgrade)
        first = await client.ask(stranger)
        second = await client.ask(request("POST", "/delivery", b"signed"))
        assert (first.status, first.document["path"]) == (200, "/stranger")
        assert (second.status, second.document["path"]) == (200, "/delivery")
        body = b"" if framing == "none" else SMUGGLED
        assert listener.application.seen == [
            ("GET" if framing == "none" else "POST", "/stranger", body),
            ("POST", "/delivery", b"signed"),
        ]


@pytest.mark.parametrize(
    ("version", "connection"), [("1.1", "close, Upgrade"), ("1.1", "Upgrade\r\nConnection: close"), ("1.0", "upgrade")]
)
async def test_upgrade_is_ignored_where_the_connection_is_not_kept(version: str, connection: str) -> None:
    """nginx speaks HTTP/1.0 by default, also where it passes `Upgrade` on."""
    async with listening_raw() as listener:
        client = await listener.open()
        delivery = request("POST", "/delivery", b"signed", f"Connection: {connection}\r\nUpgrade: h2c\r\n")
        answer = await client.ask(delivery.replace(b"HTTP/1.1", f"HTTP/{version}".encode()))
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert listener.application.seen == [("POST", "/delivery", b"signed")]


async def test_the_rest_of_an_upgrading_requests_body_may_come_later() -> None:
    """A proxy sends on what it has of a stranger's body; the rest must not meet the next request's head."""
    async with listening_raw() as listener:
        client = await listener.open()
        whole = request("POST", "/stranger", SMUGGLED, UPGRADES[0])
        cut = len(whole) - len(SMUGGLED)
        await client.send(whole[:cut])
        await client.send(whole[cut : cut + 10])
        await client.send(whole[cut + 10 :])
        assert (await client.answer()).document == {
            "method": "POST",
            "path": "/stranger",
            "bytes": len(SMUGGLED),
            "headers": [
                ["host", "t"],
                ["connection", "Upgrade"],
                ["content-length", str(len(SMUGGLED))],
            ],
        }
        assert (await client.ask(request("POST", "/delivery", b"signed"))).document["path"] == "/delivery"


async def test_connect_opens_no_tunnel() -> None:
    async with listening_raw() as listener:
        client = await listener.open()
        answer = await client.ask(b"CONNECT example:443 HTTP/1.1\r\nHost: example:443\r\n\r\n")
        assert (answer.status, answer.document) == (400, {"error": "malformed_request"})
        assert await client.rest() == b""


async def test_http_2_spoken_at_once_is_refused() -> None:
    async with listening_raw() as listener:
        client = await listener.open()
        answer = await client.ask(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        assert answer.status == 505
        assert await client.rest() == b""


async def test_pipelined_requests_are_answered_in_order_one_at_a_time() -> None:
    async with listening_raw() as listener:
        gate = listener.application.gates["/slow"] = asyncio.Event()
        client = await listener.open()
        count = 300
        ahead = b"".join(request("POST", f"/{number}", b"%d" % number) for number in range(count))
        await client.send(request("GET", "/slow") + ahead)
        other = await listener.open()
        assert (await other.ask(request("GET", "/meanwhile"))).status == 200
        assert [path for _, path, _ in listener.application.seen] == ["/slow", "/meanwhile"]
        gate.set()
        assert (await client.answer()).document["path"] == "/slow"
        for number in range(count):
            assert (await client.answer()).document["path"] == f"/{number}"
        assert (listener.table.partial_bytes, listener.table.pipelined_bytes) == (0, 0)


async def test_a_reader_of_no_answers_is_not_read_from() -> None:
    """Requests that nobody waits for stay in the kernel: what the listener holds of them is one read's worth."""
    async with listening_raw() as listener:
        listener.application.gates["/slow"] = asyncio.Event()
        client = await listener.open()
        await client.send(request("GET", "/slow"))
        client.writer.transport.set_write_buffer_limits(high=0)
        flood = request("GET", "/flood") * 20_000
        sending = [asyncio.create_task(client.send(flood)) for _ in range(40)]
        other = await listener.open()
        for _ in range(20):
            assert (await other.ask(request("GET", "/meanwhile"))).status == 200
        assert listener.table.pipelined_bytes <= 300_000
        assert not all(task.done() for task in sending)
        assert ("GET", "/flood", b"") not in listener.application.seen
        client.close()
        await asyncio.gather(*sending, return_exceptions=True)


@pytest.mark.parametrize(
    ("head", "status", "word"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400, "host_header"),
        (b"GET http://evil/v1/jobs HTTP/1.1\r\nHost: localhost\r\n\r\n", 400, "host_header"),
        (b"GET http://localhost:80?a HTTP/1.1\r\nHost: localhost\r\n\r\n", 400, "host_header"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400, "host_header"),
        (b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 400, "host_header"),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505, "http_version"),
        (b"GET /\r\n\r\n", 505, "http_version"),
        (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400, "malformed_request"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n", 400, "malformed_request"),
        (b"GET / HTTP/1.1\nHost: a\n\r\n\r\n", 400, "malformed_request"),
        (b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\r\n\r\n", 400, "malformed_request"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400, "malformed_request"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -3\r\n\r\nabc", 400, "malformed_request"),
        (
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc",
            400,
            "malformed_request",
        ),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501, "transfer_encoding"),
        (b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 501, "transfer_encoding"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400, "malformed_request"),
        (b"GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n", 400, "malformed_request"),
    ],
)
async def test_what_is_no_proper_request_is_refused_with_its_reason(head: bytes, status: int, word: str) -> None:
    async with listening_raw() as listener:
        client = await listener.open()
        answer = await client.ask(head)
        assert (answer.status, answer.document, answer.headers["connection"]) == (status, {"error": word}, "close")
        assert await client.rest() == b""
        assert listener.cut(word) == 1


@pytest.mark.parametrize("target", ["http://T/a/b?c", "http://t/a/b", "/a/b"])
async def test_a_target_in_absolute_form_is_its_path(target: str) -> None:
    async with listening_raw() as listener:
        client = await listener.open()
        assert (await client.ask(request(path=target))).document["path"] == "/a/b"
        assert (await client.ask(request(path="http://t"))).document["path"] == "/"


async def test_a_trailers_lines_are_no_headers() -> None:
    async with listening_raw() as listener:
        client = await listener.open()
        head = request("POST", "/trailed", None, "Transfer-Encoding: chunked\r\nTrailer: X-TTS-Signature\r\n")
        answer = await client.ask(head + chunked(b"body", trailer="X-TTS-Signature: t=1,v1=00\r\n"))
        assert answer.status == 200
        assert "x-tts-signature" not in dict(answer.document["headers"])
        assert (await client.ask(request())).status == 200


@pytest.mark.parametrize("line", ["Connection: close", "Connection: Upgrade\r\nUpgrade: h2c", "X-Trailer: 1"])
async def test_a_trailer_says_nothing_about_the_next_request(line: str) -> None:
    async with listening_raw() as listener:
        client = await listener.open()
        head = request("POST", "/first", headers="Transfer-Encoding: chunked\r\n")
        first = await client.ask(head + f"3\r\nabc\r\n0\r\n{line}\r\n\r\n".encode())
        assert (first.status, first.document["bytes"]) == (200, 3)
        second = await client.ask(request("POST", "/second", b"signed"))
        assert (second.status, second.document["path"]) == (200, "/second")


async def test_white_space_around_a_headers_value_is_not_part_of_it() -> None:
    async with listening_raw() as listener:
        client = await listener.open()
        answer = await client.ask(request(headers="X-One: \t a b \t\r\nX-Two:\r\n"))
        assert answer.document["headers"] == [["host", "t"], ["x-one", "a b"], ["x-two", ""]]


async def test_a_sender_that_expects_100_continue_is_asked_to_go_on() -> None:
    async with listening_raw() as listener:
        client = await listener.open()
        await client.send(b"POST /a HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
        assert (await client.answer()).status == 100
        await client.send(b"body")
        assert (await client.answer()).document["bytes"] == 4
        await client.send(b"POST /unread HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
        assert (await client.answer()).status == 413


@pytest.mark.parametrize(("header", "in_one_step"), [("", True), ("Connection: close\r\n", False)])
async def test_a_request_that_has_come_whole_may_be_answered_in_one_step(header: str, in_one_step: bool) -> None:
    """Its sender cannot tell; where the connection is to end, the application has to answer by messages."""
    async with listening_raw() as listener:
        client = await listener.open()
        answer = await client.ask(request("POST", "/whole", b"signed", header))
        assert (answer.status, answer.document) == (200, {"bytes": 6})
        assert answer.headers["content-type"] == "application/json"
        assert [body for _, _, body in listener.application.seen] == [b"answered in one step"] * in_one_step
        if in_one_step:
            assert (await client.ask(request("POST", "/next", b"signed"))).document["path"] == "/next"
        else:
            assert answer.headers["connection"] == "close"
            assert await client.rest() == b""


async def test_a_sender_that_has_ended_its_side_still_gets_its_answer() -> None:
    async with listening_raw() as listener:
        client = await listener.open()
        await client.send(request("POST", "/a", b"body"))
        client.writer.write_eof()
        assert (await client.answer()).document["bytes"] == 4
        assert await client.rest() == b""


async def test_an_application_that_fails_is_answered_for() -> None:
    async with listening_raw() as listener:
        client = await listener.open()
        answer = await client.ask(request("GET", "/raises"))
        assert (answer.status, answer.document) == (500, {"error": "internal"})
        assert await client.rest() == b""


async def test_an_early_refusal_can_be_read_by_a_sender_that_sends_everything_first() -> None:
    async with listening_raw() as listener:
        client = await listener.open()
        answer = await client.ask(request("POST", "/unread", b"x" * 20_000_000))
        assert (answer.status, answer.headers["connection"]) == (413, "close")
        assert await client.rest() == b""


# everything together

METHODS = st.sampled_from(["GET", "POST", "PUT"])
BODIES = st.binary(max_size=60) | st.just(SMUGGLED) | st.just(b"\r\n\r\n0\r\n\r\n")
FRAMINGS = st.sampled_from(["length", "chunked", "trailers"])
HEADERS = st.sampled_from(["", *UPGRADES, "X-A: \r\nX-B: v\r\n"])


@st.composite
def conversations(draw: st.DrawFn) -> tuple[list[tuple[str, bytes]], list[bytes]]:
    """What is asked (path, body), and the same on the wire, cut anywhere."""
    requests, wire = [], b""
    for number in range(draw(st.integers(1, 5))):
        body, framing, headers = draw(BODIES), draw(FRAMINGS), draw(HEADERS)
        requests.append((f"/{number}", body))
        wire += draw(st.sampled_from([b"", b"\r\n", b"\r\n\r\n"]))
        if framing == "length":
            wire += request(draw(METHODS), f"/{number}", body, headers)
            continue
        wire += request(draw(METHODS), f"/{number}", None, headers + "Transfer-Encoding: chunked\r\n")
        wire += chunked(body, size=draw(st.integers(1, 20)), trailer="X-T: v\r\n" * (framing == "trailers"))
    cuts = sorted(draw(st.lists(st.integers(0, len(wire)), max_size=8)))
    return requests, [wire[a:b] for a, b in zip([0, *cuts], [*cuts, len(wire)], strict=True)]


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(conversations())
async def test_whatever_is_asked_and_however_it_is_cut_each_request_gets_its_own_answer(
    conversation: tuple[list[tuple[str, bytes]], list[bytes]],
) -> None:
    requests, pieces = conversation
    async with listening_raw() as listener:
        client = await listener.open()
        client.writer.transport.set_write_buffer_limits(high=0)
        reading = asyncio.create_task(_answers(client, len(requests)))
        for piece in pieces:
            await client.send(piece)
            await asyncio.sleep(0)  # each piece on its own, as far as the kernel lets it
        assert await reading == [path for path, _ in requests]
        assert [(path, body) for _, path, body in listener.application.seen] == requests
        assert (listener.table.partial_bytes, listener.table.pipelined_bytes) == (0, 0)


async def _answers(client: Client, count: int) -> list[str]:
    return [(await client.answer()).document["path"] for _ in range(count)]
