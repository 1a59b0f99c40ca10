"""Reading a stream from its one-time address: bounded, guarded, and without a word about the address."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from receiver.outbound import live_audio
from receiver.outbound.client import Client, Timeouts
from receiver.outbound.guard import AddressGuard
from receiver.outbound.live_audio import StreamFailed, open_live_audio
from tests.integration.outbound_support import Say, Server, make_wav, serving

pytestmark = pytest.mark.anyio

WAV = make_wav(0.2)
SECRET = "/live/f00d5ec2e7?also=secret"


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with serving(lambda request: Say(200, {"Content-Type": "audio/wav"}, WAV)) as made:
        yield made


async def received(
    server: Server,
    *,
    private: bool = True,
    format: str | None = None,
    max_bytes: int = 1 << 20,
    url: str | None = None,
    timeouts: Timeouts | None = None,
) -> tuple[str, bytes]:
    """The media type and all audio."""
    client = Client(AddressGuard(private), timeouts=timeouts)
    try:
        async with open_live_audio(
            client, url or server.url(SECRET), {"Authorization": "Bearer key"}, format=format, max_bytes=max_bytes
        ) as audio:
            return audio.content_type, b"".join([chunk async for chunk in audio.chunks])
    finally:
        await client.aclose()


async def failure(server: Server, **values: object) -> StreamFailed:
    with pytest.raises(StreamFailed) as caught:
        await received(server, **values)  # type: ignore[arg-type]
    error = caught.value
    assert "f00d5ec2e7" not in str(error)
    assert "secret" not in str(error)
    assert error.__cause__ is None
    assert error.__context__ is None or error.__suppress_context__
    return error


async def test_the_audio_is_read_with_its_type_and_the_headers_are_sent(server: Server) -> None:
    assert await received(server) == ("audio/wav", WAV)
    [request] = server.requests
    assert (request.path, request.headers["authorization"]) == (SECRET, "Bearer key")


@pytest.mark.parametrize(
    ("declared", "format", "expected"),
    [
        ("audio/L16;rate=24000", "pcm", "audio/l16"),
        ("text/plain", "MP3", "audio/mpeg"),
        ("", "ogg_opus", "audio/ogg"),
        ("audio/x\tyz", None, "application/octet-stream"),
    ],
)
async def test_audio_of_an_unknown_form_has_the_type_that_the_service_says(
    server: Server, declared: str, format: str | None, expected: str
) -> None:
    server.behave = lambda request: Say(200, {"Content-Type": declared}, b"\x01\x02" * 500)
    assert await received(server, format=format) == (expected, b"\x01\x02" * 500)


@pytest.mark.parametrize("body", [b"", b"<html>No</html>", b'  {"success": false}'])
async def test_what_is_no_audio_is_refused_before_anything_is_passed_on(server: Server, body: bytes) -> None:
    server.behave = lambda request: Say(200, {"Content-Type": "audio/wav"}, body)
    assert (await failure(server)).reason == "stream_no_audio"


@pytest.mark.parametrize("status", [204, 206, 401, 403, 404, 410, 500, 503])
async def test_any_other_status_is_refused(server: Server, status: int) -> None:
    server.behave = lambda request: Say(status, {}, b"")
    error = await failure(server)
    assert error.reason == "stream_refused"
    assert str(status) in str(error)


async def test_a_redirect_is_not_followed_and_the_key_goes_nowhere_else(server: Server) -> None:
    server.behave = lambda request: Say(307, {"Location": server.url("/elsewhere")}, b"")
    assert (await failure(server)).reason == "stream_redirected"
    assert [request.path for request in server.requests] == [SECRET]


async def test_a_private_address_is_not_connected_to(server: Server) -> None:
    assert (await failure(server, private=False)).reason == "blocked_address"
    https = f"https://127.0.0.1:{server.port}{SECRET}"
    assert (await failure(server, private=False, url=https)).reason == "blocked_address"
    assert server.requests == []


@pytest.mark.parametrize("length", [True, False])
async def test_a_stream_is_bounded(server: Server, length: bool) -> None:
    server.behave = lambda request: Say(200, {}, WAV, length=length)
    assert (await failure(server, max_bytes=len(WAV) - 1)).reason == "stream_too_long"
    assert await received(server, max_bytes=len(WAV)) == ("audio/wav", WAV)


async def test_a_stream_that_breaks_raises_after_what_was_received(server: Server) -> None:
    server.behave = lambda request: Say(200, {}, WAV, cut=len(WAV) // 2)
    client, found, reason = Client(AddressGuard(allow_private=True)), b"", ""
    try:
        async with open_live_audio(client, server.url(SECRET), {}, format=None, max_bytes=1 << 20) as audio:
            async for chunk in audio.chunks:
                found += chunk
    except StreamFailed as error:
        reason = error.reason
    await client.aclose()
    assert (found, reason) == (WAV[: len(WAV) // 2], "interrupted")


async def test_a_stream_that_stops_is_given_up(server: Server) -> None:
    over = asyncio.Event()
    server.behave = lambda request: Say(200, {}, WAV, length=False, drip=_stalled(over))
    error = await failure(server, timeouts=Timeouts(read=0.2))
    over.set()
    assert error.reason == "timeout"


async def test_a_stream_that_does_not_begin_is_given_up(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_audio, "OPEN_SECONDS", 0.2)
    over = asyncio.Event()

    async def hang(request: object) -> Say:
        await over.wait()
        return Say(500)

    server.behave = hang
    error = await failure(server)
    over.set()
    assert error.reason == "stream_timeout"


async def _stalled(over: asyncio.Event) -> AsyncIterator[bytes]:
    yield WAV[:1000]
    await over.wait()
