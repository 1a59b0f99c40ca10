"""`listen` and servers that are silent or slow, with short limits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from receiver.cli.listen.errors import ListenError, RemoteUnavailable
from receiver.cli.listen.message import Message
from receiver.cli.listen.remote import Remote
from receiver.cli.listen.stream import StreamPosition
from receiver.cli.listen.target import Target
from receiver.clock import SystemClock
from tests.patience import PATIENCE

pytestmark = pytest.mark.anyio

POSITION = b": position evt_" + b"0" * 32 + b" 2027-01-15T08:00:00+00:00\n\n"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
SECRET = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"
MESSAGE = Message(b"{}", "application/json", 0)


@asynccontextmanager
async def server(answer: Callable[[asyncio.StreamWriter], Awaitable[None]]) -> AsyncIterator[str]:
    """Answers each request with these bytes; its address. The connection stays open until the block ends."""
    over = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await answer(writer)
        await over.wait()
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening, asyncio.timeout(PATIENCE):
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        over.set()


def writes(*parts: bytes) -> Callable[[asyncio.StreamWriter], Awaitable[None]]:
    async def answer(writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()

    return answer


async def test_a_stream_that_falls_silent_is_broken() -> None:
    async with server(writes(HEAD, POSITION)) as url:
        remote = Remote(url, None, silence_seconds=0.05)
        found: list[object] = []

        async def read() -> None:
            async with remote.stream(None, None, None) as messages:
                found.extend([message async for message in messages])

        async def read_one() -> None:
            async with remote.stream(None, None, None) as messages:
                found.append(await anext(messages))

        await read_one()
        assert [type(message) for message in found] == [StreamPosition]
        with pytest.raises(RemoteUnavailable, match="did not answer in time"):
            await read()
        await remote.aclose()


@pytest.mark.parametrize(
    ("head", "after"),
    [(b"503 X\r\nRetry-After: 7", 7.0), (b"429 X", 0.0), (b"502 X", 0.0), (b"500 X\r\nRetry-After: later", 0.0)],
)
async def test_an_answer_that_may_change_is_tried_again_when_it_says(head: bytes, after: float) -> None:
    async with server(writes(b"HTTP/1.1 " + head + b"\r\nContent-Length: 0\r\n\r\n")) as url:
        remote = Remote(url, None)
        with pytest.raises(RemoteUnavailable) as caught:
            async with remote.stream(None, None, None):
                pass
        assert caught.value.retry_after == after
        await remote.aclose()


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"null", b'{"a":'])
async def test_details_that_are_none_end_it(body: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
    async with server(writes(head, body)) as url:
        remote = Remote(url, None)
        with pytest.raises(ListenError, match="is not a receiver's API"):
            await remote.event("evt_" + "1" * 32)
        await remote.aclose()


@pytest.mark.parametrize(
    ("body", "found"), [(b'{"reason": "not_found"}', True), (b'{"reason": "other"}', False), (b"", False)]
)
async def test_only_the_receiver_itself_says_that_an_event_was_deleted(body: bytes, found: bool) -> None:
    head = b"HTTP/1.1 404 Not Found\r\nContent-Length: %d\r\n\r\n" % len(body)
    async with server(writes(head, body)) as url:
        remote = Remote(url, None)
        if found:
            assert await remote.event("evt_" + "1" * 32) is None
        else:
            with pytest.raises(ListenError, match="answered 404"):
                await remote.event("evt_" + "1" * 32)
        await remote.aclose()


async def test_an_application_that_does_not_answer_in_time_gave_no_answer() -> None:
    async with server(writes()) as url:
        target = Target(url, [SECRET], SystemClock(), answer_seconds=0.05)
        answer = await target.post(MESSAGE, "evt_1")
        assert answer.status is None
        assert "in time" in answer.detail
        await target.aclose()


async def test_once_the_status_is_there_it_decides() -> None:
    async with server(writes(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhal")) as url:
        target = Target(url, [SECRET], SystemClock(), answer_seconds=0.2)
        assert (await target.post(MESSAGE, "evt_1")).is_accepted
        await target.aclose()


async def test_a_wait_that_the_application_asks_for_is_read_with_503_and_429_only() -> None:
    for status, seconds in ((b"503", 5.0), (b"429", 5.0), (b"500", 0.0)):
        head = b"HTTP/1.1 " + status + b" X\r\nRetry-After: 5\r\nContent-Length: 2\r\n\r\nno"
        async with server(writes(head)) as url:
            target = Target(url, [SECRET], SystemClock())
            answer = await target.post(MESSAGE, "evt_1")
            assert (answer.retry_after, answer.detail, answer.is_final) == (seconds, "no", False)
            await target.aclose()
