"""The guard at work: a provider on a public address by name and certificate, played on loopback over real TLS."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import httpcore
import pytest

from receiver.clock import SystemClock
from receiver.errors import AudioError, AudioRefused, BlockedAddress
from receiver.outbound.audio import AudioFetcher, FetchedAudio
from receiver.outbound.client import Client, Timeouts
from receiver.outbound.guard import AddressGuard
from receiver.outbound.storage import open_storage
from receiver.providers.base import AudioRequest
from tests.certificate import self_signed
from tests.clocks import FixedRandom
from tests.integration.outbound_support import Say, Server, make_wav

pytestmark = pytest.mark.anyio

WAV = make_wav(0.1)
PUBLIC, OTHER = "93.184.216.34", "2606:4700::1111"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate, and its key, of `provider.example` and `storage.example`."""
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    return self_signed(file, "provider.example", "storage.example")


class Internet(httpcore.AnyIOBackend):
    """Every IP address of it is the one server on loopback; remembers which were dialled."""

    def __init__(self) -> None:
        self.port = 0
        self.dialled: list[tuple[str, int]] = []
        self.dead: set[str] = set()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        self.dialled.append((host, port))
        if host in self.dead:
            raise httpcore.ConnectTimeout("dead")
        return await super().connect_tcp("127.0.0.1", self.port, timeout, local_address, socket_options)


class World:
    """A server, an internet, and names that resolve as the test says."""

    def __init__(self, folder: Path, certificate: Path) -> None:
        self.folder, self.certificate = folder, certificate
        self.server, self.internet = Server(), Internet()
        self.names = {"provider.example": [[PUBLIC]], "storage.example": [[PUBLIC]]}
        self.looked_up: list[str] = []
        self.fetcher = AudioFetcher(
            open_storage(str(folder), Path("/")),
            folder / ".spool",
            1 << 20,
            clock=SystemClock(),
            make_client=self.client,
            rng=FixedRandom(0.5),
        )

    async def resolve(self, host: str, port: int) -> list[str]:
        self.looked_up.append(host)
        answers = self.names.get(host)
        if answers is None:
            raise OSError("Name or service not known")
        return answers.pop(0) if len(answers) > 1 else answers[0]

    def client(self, allow_private: bool) -> Client:
        return Client(
            AddressGuard(allow_private, self.resolve),
            timeouts=Timeouts(connect=5.0, read=5.0),
            ssl_context=ssl.create_default_context(cafile=self.certificate),
            dial=self.internet,
        )

    async def fetch(self, url: str = "https://provider.example/audio") -> FetchedAudio:
        request = AudioRequest(url, {"Authorization": "Bearer tts_secret"}, durable=True)
        return await self.fetcher.fetch([request], source="aitts", job_id="j", allow_private=False)


@pytest.fixture
async def world(tmp_path: Path, certificate: Path) -> AsyncIterator[World]:
    made = World(tmp_path / "audio", certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    listener = await asyncio.start_server(made.server.serve, "127.0.0.1", 0, ssl=context)
    made.internet.port = listener.sockets[0].getsockname()[1]
    made.server.behave = lambda request: Say(200, {}, WAV)
    yield made
    await made.fetcher.aclose()
    listener.close()


async def test_a_connection_goes_to_the_address_that_was_checked_and_keeps_the_name(world: World) -> None:
    assert (await world.fetch()).bytes == len(WAV)
    assert world.internet.dialled == [(PUBLIC, 443)]
    assert world.looked_up == ["provider.example"]
    assert world.server.requests[0].headers["host"] == "provider.example"


@pytest.mark.parametrize(
    "target",
    [
        "https://127.0.0.1/x",
        "https://10.0.0.1/x",
        "https://169.254.169.254/latest/meta-data/",
        "https://[::1]/x",
        "https://[::ffff:127.0.0.1]/x",
        "https://[64:ff9b::7f00:1]/x",
        "https://inside.example/x",
        "https://two-faced.example/x",
        "http://storage.example/x",
        "//10.0.0.1/x",
    ],
)
async def test_a_redirect_into_a_private_network_is_not_followed(world: World, target: str) -> None:
    world.names |= {"inside.example": [["192.168.1.7"]], "two-faced.example": [[PUBLIC, "127.0.0.1"]]}
    world.server.behave = lambda request: Say(307, {"Location": target})
    with pytest.raises(AudioRefused) as caught:
        await world.fetch()
    assert caught.value.reason == "blocked_address"
    assert world.internet.dialled == [(PUBLIC, 443)]
    assert len(world.server.requests) == 1


async def test_a_name_that_turns_private_after_the_check_is_still_connected_to_as_checked(world: World) -> None:
    world.names["provider.example"] = [[PUBLIC], ["127.0.0.1"]]
    assert (await world.fetch()).bytes == len(WAV)
    assert world.internet.dialled == [(PUBLIC, 443)]
    await world.fetcher.aclose()
    with pytest.raises(AudioRefused) as caught:
        await world.fetch()
    assert isinstance(caught.value.__cause__, BlockedAddress)
    assert world.internet.dialled == [(PUBLIC, 443)]


async def test_the_second_address_is_tried_where_the_first_is_dead(world: World) -> None:
    world.names["provider.example"] = [[OTHER, PUBLIC]]
    world.internet.dead = {OTHER}
    await world.fetch()
    assert world.internet.dialled == [(OTHER, 443), (PUBLIC, 443)]


async def test_a_dead_provider_is_worth_another_try(world: World) -> None:
    world.internet.dead = {PUBLIC}
    with pytest.raises(AudioError) as caught:
        await world.fetch()
    assert caught.value.reason == "timeout"
    assert not isinstance(caught.value, AudioRefused)


async def test_a_certificate_of_another_name_is_not_accepted(world: World) -> None:
    world.names["other.example"] = [[PUBLIC]]
    with pytest.raises(AudioError, match="Cannot connect"):
        await world.fetch("https://other.example/audio")
    assert world.server.requests == []


async def test_the_key_stays_with_the_provider_on_the_same_address_and_certificate(world: World) -> None:
    world.server.behave = lambda request: (
        Say(307, {"Location": "https://storage.example/x"}) if request.path == "/audio" else Say(200, {}, WAV)
    )
    await world.fetch()
    assert [(one.headers["host"], "authorization" in one.headers) for one in world.server.requests] == [
        ("provider.example", True),
        ("storage.example", False),
    ]


async def test_another_port_of_the_provider_is_another_origin(world: World) -> None:
    world.server.behave = lambda request: (
        Say(307, {"Location": "https://provider.example:8443/x"}) if request.path == "/audio" else Say(200, {}, WAV)
    )
    await world.fetch()
    assert "authorization" not in world.server.requests[1].headers


@pytest.mark.parametrize(
    "url", ["https://key@provider.example/", "https://", "https://provider.example\\@evil.example/", "https://a b/"]
)
async def test_an_address_that_can_be_read_in_two_ways_is_refused(world: World, url: str) -> None:
    with pytest.raises(AudioRefused):
        await world.fetch(url)
    assert world.internet.dialled == []


async def test_a_signed_address_is_in_no_log_and_no_message(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    world.server.behave = lambda request: (
        Say(307, {"Location": "https://storage.example/x?X-Sig=SECRET"})
        if request.path == "/audio"
        else Say(200, {}, WAV, cut=10)
    )
    with pytest.raises(AudioError) as caught:
        await world.fetch()
    assert "SECRET" not in caplog.text + str(caught.value)
    assert "tts_secret" not in caplog.text + str(caught.value)
