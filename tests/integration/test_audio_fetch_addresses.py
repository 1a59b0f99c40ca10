"""Several addresses of one file, and the API key where an address wants it: from real servers on loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from receiver.errors import AudioDelayed, AudioError, AudioGone, AudioRefused, Reject
from receiver.outbound.audio import MAX_CHARACTERS, MAX_LISTED, AudioFetcher, FetchedAudio
from receiver.outbound.storage import open_storage
from receiver.providers.base import AudioRequest
from tests.clocks import CallbackClock, FixedRandom
from tests.integration.outbound_support import ReceivedRequest, Say, Server, make_wav, ranged, serving

pytestmark = pytest.mark.anyio

KEY = {"X-API-Key": "miragic_secret"}
WAV = make_wav()


class Bench:
    """An API and a storage of another origin. A path that ends in a number answers with it, `/wav` with audio."""

    def __init__(self, folder: Path, api: Server, storage: Server) -> None:
        self.folder, self.api, self.storage = folder, api, storage
        self.fetcher = AudioFetcher(
            open_storage(str(folder), Path("/")),
            folder / ".spool",
            1 << 20,
            clock=CallbackClock(sleep=self.sleep),
            rng=FixedRandom(0.5),
        )
        api.behave = storage.behave = self.answer

    async def sleep(self, seconds: float) -> None:
        pass

    def answer(self, request: ReceivedRequest) -> Say:
        word = request.path.partition("?")[0].rpartition("/")[2]
        if word.isdigit():
            return Say(int(word), {"Retry-After": "17"} if word == "503" else {})
        return Say(200, {}, b"<html>no audio</html>" * 9) if word == "html" else ranged(WAV, request)

    def temporary(self, path: str, server: Server | None = None) -> AudioRequest:
        server = server or self.api
        key = KEY if server is self.api else {}
        return AudioRequest(server.url(path), {}, durable=False, headers_if_refused=key)

    def durable(self, path: str) -> AudioRequest:
        return AudioRequest(self.api.url(path), KEY, durable=True)

    async def fetch(self, *requests: AudioRequest) -> FetchedAudio:
        return await self.fetcher.fetch(requests, source="miragic", job_id="j1", allow_private=True)

    @property
    def paths(self) -> list[str]:
        return [request.path for request in self.api.requests]


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with serving() as api, serving() as storage:
        made = Bench(tmp_path / "audio", api, storage)
        yield made
        await made.fetcher.aclose()


def keys(server: Server) -> list[str | None]:
    return [request.headers.get("x-api-key") for request in server.requests]


# the key


@pytest.mark.parametrize("status", [401, 403])
async def test_an_address_same_origin_that_refuses_us_is_asked_again_with_the_key(bench: Bench, status: int) -> None:
    bench.api.behave = lambda request: ranged(WAV, request) if "x-api-key" in request.headers else Say(status)
    assert (await bench.fetch(bench.temporary("/wav"))).bytes == len(WAV)
    assert keys(bench.api) == [None, "miragic_secret"]


async def test_the_key_is_not_shown_where_it_is_not_wanted(bench: Bench) -> None:
    await bench.fetch(bench.temporary("/wav"))
    assert keys(bench.api) == [None]


@pytest.mark.parametrize("path", ["/404", "/410", "/403?sig=SECRET", "/500"])
async def test_the_key_is_not_shown_to_an_address_that_has_nothing_or_has_expired(bench: Bench, path: str) -> None:
    with pytest.raises(AudioError):
        await bench.fetch(bench.temporary(path))
    assert keys(bench.api) == [None]


async def test_the_key_is_not_shown_to_another_origin_that_a_redirect_leads_to(bench: Bench) -> None:
    bench.api.behave = lambda request: Say(302, {"Location": bench.storage.url("/401")})
    with pytest.raises(AudioGone):
        await bench.fetch(bench.temporary("/away"))
    assert keys(bench.api) == keys(bench.storage) == [None]


async def test_the_key_stays_same_origin_when_the_address_that_wanted_it_leads_away(bench: Bench) -> None:
    away = Say(302, {"Location": bench.storage.url("/wav")})
    bench.api.behave = lambda request: away if "x-api-key" in request.headers else Say(401)
    await bench.fetch(bench.temporary("/away"))
    assert (keys(bench.api), keys(bench.storage)) == ([None, "miragic_secret"], [None])


async def test_an_address_that_refuses_the_key_as_well_is_a_refusal_that_may_be_renewed(bench: Bench) -> None:
    with pytest.raises(AudioRefused, match="401 with and without the API key") as caught:
        await bench.fetch(bench.temporary("/401"))
    assert caught.value.expired
    assert keys(bench.api) == [None, "miragic_secret"]
    assert "miragic_secret" not in f"{caught.value!r} {bench.temporary('/401')!r}"


# the next address


@pytest.mark.parametrize("first", ["/404", "/410", "/403", "/401", "/html", "/418", "/302", "/500", "/400"])
async def test_where_an_address_gives_no_audio_the_next_is_tried(bench: Bench, first: str) -> None:
    got = await bench.fetch(bench.temporary(first, bench.storage), bench.temporary("/wav"))
    assert got.bytes == len(WAV)


@pytest.mark.parametrize("first", ["http://127.0.0.1:1/nobody", "http://nobody.invalid/", "http://169.254.169.254/x"])
async def test_where_an_address_cannot_be_asked_the_next_is_tried(bench: Bench, first: str) -> None:
    assert (await bench.fetch(AudioRequest(first, {}, durable=False), bench.temporary("/wav"))).bytes == len(WAV)


@pytest.mark.parametrize("status", [401, 402, 403, 404, 410, 418])
async def test_a_durable_address_that_refuses_us_is_followed_by_the_temporary_one(bench: Bench, status: int) -> None:
    assert (await bench.fetch(bench.durable(f"/{status}"), bench.temporary("/wav"))).bytes == len(WAV)


@pytest.mark.parametrize("first", ["/500", "/502"])
async def test_a_durable_address_that_is_ill_is_waited_for(bench: Bench, first: str) -> None:
    with pytest.raises(AudioError) as caught:
        await bench.fetch(bench.durable(first), bench.temporary("/wav"))
    assert (caught.value.reason, bench.paths) == ("server_error", [first])


async def test_where_we_are_told_to_wait_no_other_address_is_asked(bench: Bench) -> None:
    with pytest.raises(AudioDelayed) as caught:
        await bench.fetch(bench.temporary("/404"), bench.temporary("/503"), bench.temporary("/wav"))
    assert (caught.value.after, bench.paths) == (17.0, ["/404", "/503"])
    assert "/404 answers 404" in str(caught.value)


async def test_what_has_come_from_one_address_is_not_given_up_for_another(bench: Bench) -> None:
    def cut(request: ReceivedRequest) -> Say:
        say = ranged(WAV, request)
        say.cut = 20_000 if "range" not in request.headers else 0
        return say

    bench.storage.behave = cut
    requests = (bench.temporary("/a", bench.storage), bench.temporary("/wav"))
    with pytest.raises(AudioError) as caught:
        await bench.fetch(*requests)
    assert (caught.value.reason, bench.paths) == ("interrupted", [])
    bench.storage.behave = lambda request: ranged(WAV, request)
    bench.storage.requests.clear()
    assert (await bench.fetch(*requests)).bytes == len(WAV)
    assert [request.headers["range"] for request in bench.storage.requests] == ["bytes=20000-"]
    assert bench.paths == []


async def test_an_address_that_brings_nothing_more_is_followed_by_the_next_all_the_same(bench: Bench) -> None:
    def cut(request: ReceivedRequest) -> Say:
        say = ranged(WAV, request)
        say.cut = 0 if "range" in request.headers else 20_000
        return say

    bench.storage.behave = cut
    requests = (bench.temporary("/a", bench.storage), bench.temporary("/wav"))
    with pytest.raises(AudioError):
        await bench.fetch(*requests)
    assert (await bench.fetch(*requests)).bytes == len(WAV)
    assert bench.paths == ["/wav", "/wav"]  # the bytes of another origin are not resumed


async def test_audio_that_is_too_large_is_too_large_everywhere(bench: Bench) -> None:
    bench.storage.behave = lambda request: Say(200, {}, make_wav(60.0))
    with pytest.raises(AudioRefused) as caught:
        await bench.fetch(bench.temporary("/a", bench.storage), bench.temporary("/wav"))
    assert (caught.value.reason, bench.paths) == ("audio_too_large", [])


# what is said


async def test_the_error_lists_every_address_with_its_reason_and_no_signature(bench: Bench) -> None:
    with pytest.raises(AudioGone) as caught:
        await bench.fetch(
            bench.temporary("/a/404?sig=SECRET"), bench.temporary("/b/403?sig=SECRET"), bench.temporary("/c/410")
        )
    text, error = str(caught.value), caught.value
    assert text.startswith("None of 3 addresses returned the audio. (1) ")
    for n, (path, status) in enumerate((("/a/404", 404), ("/b/403", 403), ("/c/410", 410)), 1):
        assert f"({n}) {bench.api.url(path)} answers {status}: " in text
    assert "SECRET" not in text
    assert (error.reason, error.not_found, error.expired) == ("audio_gone", True, True)


async def test_an_error_at_the_end_of_redirects_names_the_address_that_was_asked(bench: Bench) -> None:
    bench.api.behave = lambda request: Say(302, {"Location": bench.storage.url("/404?sig=SECRET")})
    with pytest.raises(AudioGone) as caught:
        await bench.fetch(bench.durable("/audio"), bench.temporary("/410", bench.storage))
    assert f"(1) {bench.api.url('/audio')}: {bench.storage.url('/404')} answers 404" in str(caught.value)


@pytest.mark.parametrize(
    ("paths", "kind", "reason"),
    [
        (("/404", "/410"), AudioGone, "audio_gone"),
        (("/404", "/401"), AudioRefused, "audio_refused"),
        (("/401", "/404"), AudioRefused, "audio_refused"),
        (("/500", "/404"), AudioError, "server_error"),
        (("/404", "/html", "/401"), AudioError, "not_audio"),
    ],
)
async def test_the_error_that_decides_is_the_one_that_something_can_be_done_about(
    bench: Bench, paths: tuple[str, ...], kind: type[AudioError], reason: str
) -> None:
    with pytest.raises(kind) as caught:
        await bench.fetch(*map(bench.temporary, paths))
    assert (type(caught.value), caught.value.reason) == (kind, reason)
    assert isinstance(caught.value, Reject) is issubclass(kind, Reject)


async def test_however_many_and_long_they_are_the_message_is_bounded(bench: Bench) -> None:
    long = "x" * 3000
    with pytest.raises(AudioGone) as caught:
        await bench.fetch(*(bench.temporary(f"/{n}/{long}/404") for n in range(30)))
    assert len(str(caught.value)) < (MAX_LISTED + 1) * (MAX_CHARACTERS + 10)
    assert str(caught.value).endswith("And 22 more.")
