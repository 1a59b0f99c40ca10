"""Audio fetched from real servers on loopback into a real folder."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import io
import wave
from collections.abc import AsyncIterator
from pathlib import Path

import google_crc32c
import pytest

from receiver.clock import SystemClock
from receiver.errors import AudioDelayed, AudioError, AudioGone, AudioRefused
from receiver.outbound.audio import AudioFetcher, FetchedAudio
from receiver.outbound.storage import open_storage
from receiver.providers.base import AudioRequest
from tests.clocks import CallbackClock, FixedRandom
from tests.integration.outbound_support import ReceivedRequest, Say, Server, make_wav, ranged, serving

pytestmark = pytest.mark.anyio

KEY = {"Authorization": "Bearer tts_secret"}
WAV = make_wav()


class Bench:
    """A provider, a storage host of another origin, and a fetcher with a clock that only sleeps move."""

    def __init__(self, folder: Path, provider: Server, bucket: Server) -> None:
        self.folder, self.provider, self.bucket = folder, provider, bucket
        self.time, self.slept = 1_000_000.0, list[float]()
        self.max_bytes = 100 << 20
        self.fetchers: list[AudioFetcher] = []
        provider.behave = lambda request: Say(307, {"Location": bucket.url("/signed?sig=SECRET")})
        bucket.behave = lambda request: ranged(WAV, request)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds

    def fetcher(self) -> AudioFetcher:
        storage = open_storage(str(self.folder), Path("/"))
        made = AudioFetcher(
            storage,
            self.folder / ".spool",
            self.max_bytes,
            clock=CallbackClock(now=lambda: self.time, sleep=self.sleep),
            rng=FixedRandom(0.5),
        )
        self.fetchers.append(made)
        return made

    def durable(self, path: str = "/api/v1/tts/j1/audio") -> AudioRequest:
        return AudioRequest(self.provider.url(path), KEY, durable=True)

    async def fetch(self, *requests: AudioRequest, job: str = "j1", allow_private: bool = True) -> FetchedAudio:
        return await self.fetcher().fetch(
            requests or [self.durable()], source="aitts", job_id=job, allow_private=allow_private
        )

    def spooled(self) -> list[str]:
        spool = self.folder / ".spool"
        return sorted(path.name for path in spool.iterdir()) if spool.exists() else []

    def stored(self) -> list[Path]:
        return [path for path in self.folder.rglob("*") if path.is_file() and ".spool" not in path.parts]


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with serving() as provider, serving() as bucket:
        made = Bench(tmp_path / "audio", provider, bucket)
        yield made
        for fetcher in made.fetchers:
            await fetcher.aclose()


async def test_a_redirected_audio_is_stored_whole_with_its_facts(bench: Bench) -> None:
    got = await bench.fetch()
    assert got.path == bench.folder / "aitts" / "j1.wav"
    assert got.path.read_bytes() == WAV
    assert got.address == str(got.path)
    assert (got.bytes, got.sha256) == (len(WAV), hashlib.sha256(WAV).hexdigest())
    assert (got.format, got.content_type) == ("wav", "audio/wav")
    assert (got.duration, got.sample_rate, got.channels) == (1.0, 24_000, 1)
    assert bench.spooled() == []
    assert got.path.stat().st_mode & 0o007 == 0


async def test_the_api_key_goes_to_the_provider_and_nowhere_else(bench: Bench) -> None:
    await bench.fetch()
    assert [one.headers.get("authorization") for one in bench.provider.requests] == ["Bearer tts_secret"]
    assert len(bench.bucket.requests) == 1
    assert "tts_secret" not in str(bench.bucket.requests[0].headers)


async def test_the_api_key_is_not_sent_again_once_the_way_has_left_the_provider(bench: Bench) -> None:
    def provider(request: ReceivedRequest) -> Say:
        if request.path.endswith("/audio"):
            return Say(307, {"Location": bench.bucket.url("/away")})
        return ranged(WAV, request)

    bench.provider.behave = provider
    bench.bucket.behave = lambda request: Say(302, {"Location": bench.provider.url("/back")})
    await bench.fetch()
    assert [(one.path, "authorization" in one.headers) for one in bench.provider.requests] == [
        ("/api/v1/tts/j1/audio", True),
        ("/back", False),
    ]


async def test_the_api_key_is_sent_on_to_another_path_of_the_provider(bench: Bench) -> None:
    def provider(request: ReceivedRequest) -> Say:
        return Say(308, {"Location": "../other"}) if request.path.endswith("/audio") else ranged(WAV, request)

    bench.provider.behave = provider
    await bench.fetch()
    assert [one.headers.get("authorization") for one in bench.provider.requests] == ["Bearer tts_secret"] * 2


async def test_cookies_are_not_kept_between_hops(bench: Bench) -> None:
    bench.provider.behave = lambda request: Say(
        307, {"Location": bench.bucket.url("/x"), "Set-Cookie": "session=1; Domain=127.0.0.1; Path=/"}
    )
    await bench.fetch()
    await bench.fetch()
    assert not any("cookie" in one.headers for one in bench.provider.requests + bench.bucket.requests)


async def test_plain_http_is_not_asked_unless_it_is_allowed(bench: Bench) -> None:
    with pytest.raises(AudioRefused, match="https") as caught:
        await bench.fetch(allow_private=False)
    assert caught.value.reason == "blocked_address"
    assert bench.provider.requests == []


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
async def test_every_kind_of_redirect_is_followed(bench: Bench, code: int) -> None:
    bench.provider.behave = lambda request: Say(code, {"Location": bench.bucket.url("/x")})
    assert (await bench.fetch()).bytes == len(WAV)


async def test_a_circle_of_redirects_ends(bench: Bench) -> None:
    bench.provider.behave = lambda request: Say(307, {"Location": request.path})
    with pytest.raises(AudioError) as caught:
        await bench.fetch()
    assert caught.value.reason == "too_many_redirects"
    assert len(bench.provider.requests) == 1


async def test_an_endless_way_ends_after_five_redirects(bench: Bench) -> None:
    bench.provider.behave = lambda request: Say(307, {"Location": request.path + "/more"})
    with pytest.raises(AudioError) as caught:
        await bench.fetch()
    assert caught.value.reason == "too_many_redirects"
    assert len(bench.provider.requests) == 6


@pytest.mark.parametrize(
    "location",
    [
        "",
        "ftp://example.org/a",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "http://key@example.org/",
        "http://[::1",
        "http://example.org:port/",
        "/" + "a" * 9000,
        "http://exa mple.org/",
        "http://example.org\\@evil.org/",
    ],
)
async def test_a_location_that_cannot_be_followed_is_refused(bench: Bench, location: str) -> None:
    bench.provider.behave = lambda request: Say(307, {"Location": location})
    with pytest.raises(AudioRefused) as caught:
        await bench.fetch()
    assert caught.value.reason == "bad_redirect"


async def test_a_location_with_a_raw_space_and_utf_8_is_followed_percent_encoded(bench: Bench) -> None:
    def provider(request: ReceivedRequest) -> Say:
        location = bench.bucket.url("/für Elise.wav?sig=a b").encode().decode("latin-1")  # as the bytes that they are
        return Say(307, {"Location": location})

    bench.provider.behave = provider
    assert (await bench.fetch()).bytes == len(WAV)
    assert [one.path for one in bench.bucket.requests] == ["/f%C3%BCr%20Elise.wav?sig=a%20b"]


async def test_a_broken_body_is_resumed_through_a_fresh_address(bench: Bench) -> None:
    cuts = [10_000, 12_000]

    def bucket(request: ReceivedRequest) -> Say:
        say = ranged(WAV, request)
        return dataclasses.replace(say, cut=cuts.pop(0)) if cuts else say

    bench.bucket.behave = bucket
    got = await bench.fetch()
    assert got.sha256 == hashlib.sha256(WAV).hexdigest()
    assert [one.headers.get("range") for one in bench.bucket.requests] == [None, "bytes=10000-", "bytes=22000-"]
    assert [one.headers.get("if-range") for one in bench.bucket.requests] == [None, '"v1"', '"v1"']
    assert len(bench.provider.requests) == 3
    assert bench.slept == [0.75, 1.5]


async def test_a_body_that_never_gets_further_is_given_up(bench: Bench) -> None:
    bench.bucket.behave = lambda request: dataclasses.replace(Say(200, {}, WAV), cut=9_000)
    with pytest.raises(AudioError) as caught:
        await bench.fetch()
    assert caught.value.reason == "interrupted"
    assert len(bench.bucket.requests) == 2
    assert "SECRET" not in str(caught.value)
    assert bench.stored() == []


async def test_the_next_fetch_resumes_what_the_last_one_left(bench: Bench) -> None:
    bench.bucket.behave = lambda request: dataclasses.replace(
        ranged(WAV, request), cut=0 if "range" in request.headers else 20_000
    )
    with pytest.raises(AudioError):
        await bench.fetch()
    assert len(bench.spooled()) == 2
    bench.bucket.requests.clear()
    bench.bucket.behave = lambda request: ranged(WAV, request)
    got = await bench.fetch()
    assert got.sha256 == hashlib.sha256(WAV).hexdigest()
    assert [one.headers.get("range") for one in bench.bucket.requests] == ["bytes=20000-"]
    assert bench.spooled() == []


async def test_a_changed_file_is_fetched_from_its_beginning(bench: Bench) -> None:
    other = make_wav(0.7)

    def bucket(request: ReceivedRequest) -> Say:
        if len(bench.bucket.requests) == 1:
            return dataclasses.replace(ranged(WAV, request), cut=20_000)
        return ranged(other, request, etag='"v2"')

    bench.bucket.behave = bucket
    assert (await bench.fetch()).sha256 == hashlib.sha256(other).hexdigest()


@pytest.mark.parametrize(
    "content_range", ["bytes 5-9/48044", "bytes 20000-48043/99999", "bytes 20000-48043/*", "nonsense", ""]
)
async def test_a_wrong_range_is_never_patched_in(bench: Bench, content_range: str) -> None:
    def bucket(request: ReceivedRequest) -> Say:
        match len(bench.bucket.requests):
            case 1:
                return dataclasses.replace(ranged(WAV, request), cut=20_000)
            case 2:
                return Say(206, {"ETag": '"v1"', "Content-Range": content_range}, WAV[20_000:])
        return ranged(WAV, request)

    bench.bucket.behave = bucket
    assert (await bench.fetch()).sha256 == hashlib.sha256(WAV).hexdigest()
    assert "range" not in bench.bucket.requests[2].headers


async def test_an_unsatisfiable_range_begins_again(bench: Bench) -> None:
    def bucket(request: ReceivedRequest) -> Say:
        if len(bench.bucket.requests) == 1:
            return dataclasses.replace(ranged(WAV, request), cut=20_000)
        return Say(416) if "range" in request.headers else ranged(WAV, request)

    bench.bucket.behave = bucket
    assert (await bench.fetch()).bytes == len(WAV)


async def test_an_expired_address_starts_again_at_the_durable_endpoint(bench: Bench) -> None:
    bench.bucket.behave = lambda request: Say(403) if len(bench.bucket.requests) < 3 else ranged(WAV, request)
    assert (await bench.fetch()).bytes == len(WAV)
    assert len(bench.provider.requests) == 3


async def test_addresses_that_keep_expiring_are_given_up_for_now(bench: Bench) -> None:
    bench.bucket.behave = lambda request: Say(403)
    with pytest.raises(AudioError) as caught:
        await bench.fetch()
    assert caught.value.reason == "signed_url_expired"
    assert not isinstance(caught.value, AudioGone)
    assert len(bench.provider.requests) == 3


async def test_audio_that_the_storage_does_not_find_three_times_is_gone(bench: Bench) -> None:
    bench.bucket.behave = lambda request: Say(404)
    with pytest.raises(AudioGone):
        await bench.fetch()


@pytest.mark.parametrize(
    ("status", "error", "word"),
    [
        (401, AudioRefused, "api_key"),
        (402, AudioRefused, "credits"),
        (403, AudioRefused, "tts:status"),
        (404, AudioGone, "no longer has"),
        (410, AudioGone, "no longer has"),
        (500, AudioError, "GENERATION_FAILED"),
        (418, AudioError, "neither"),
    ],
)
async def test_the_provider_s_own_refusals_are_told_apart(
    bench: Bench, status: int, error: type[AudioError], word: str
) -> None:
    body = b'{"success":false,"error":{"code":"GENERATION_FAILED","message":"x"}}'
    bench.provider.behave = lambda request: Say(status, {"Content-Type": "application/json"}, body)
    with pytest.raises(error, match=word) as caught:
        await bench.fetch()
    assert type(caught.value) is error
    assert len(bench.provider.requests) == 1
    assert bench.spooled() == []


@pytest.mark.parametrize(
    ("status", "header", "after"),
    [
        (429, "7", 7.0),
        (429, None, 60.0),
        (503, None, 300.0),
        (503, "12", 12.0),
        (429, "Mon, 12 Jan 1970 13:47:00 GMT", 20.0),
        (429, "999999999999", 86_400.0),
        (429, "soon", 60.0),
    ],
)
async def test_we_wait_as_we_are_told(bench: Bench, status: int, header: str | None, after: float) -> None:
    headers = {} if header is None else {"Retry-After": header}
    bench.provider.behave = lambda request: Say(status, headers, b'{"success":false,"error":{"code":"MAINTENANCE"}}')
    with pytest.raises(AudioDelayed) as caught:
        await bench.fetch()
    assert caught.value.after == after


async def test_a_busy_storage_is_asked_again_later(bench: Bench) -> None:
    bench.bucket.behave = lambda request: Say(503)
    with pytest.raises(AudioDelayed) as caught:
        await bench.fetch()
    assert caught.value.after == 30.0


async def test_the_temporary_address_is_used_only_when_the_durable_one_is_gone(bench: Bench) -> None:
    temporary = AudioRequest(bench.bucket.url("/temporary"), {}, durable=False)
    await bench.fetch(bench.durable(), temporary)
    assert [one.path for one in bench.bucket.requests] == ["/signed?sig=SECRET"]
    bench.provider.behave = lambda request: Say(500)
    with pytest.raises(AudioError):
        await bench.fetch(bench.durable(), temporary)
    assert len(bench.bucket.requests) == 1
    bench.provider.behave = lambda request: Say(404)
    await bench.fetch(bench.durable(), temporary)
    assert bench.bucket.requests[-1].path == "/temporary"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
async def test_an_expired_temporary_address_is_the_end(bench: Bench, status: int) -> None:
    bench.bucket.behave = lambda request: Say(status)
    with pytest.raises(AudioGone, match="expired"):
        await bench.fetch(AudioRequest(bench.bucket.url("/temporary?sig=SECRET"), {}, durable=False))


async def test_no_way_at_all_is_said_in_words() -> None:
    fetcher = AudioFetcher(
        open_storage("memory://", Path("/")), Path("/nonexistent"), 1, clock=SystemClock(), rng=FixedRandom(0.5)
    )
    with pytest.raises(AudioRefused, match="api_key"):
        await fetcher.fetch([], source="aitts", job_id="j", allow_private=False)


@pytest.mark.parametrize(
    "page",
    [
        b"<!DOCTYPE html><html><body>AccessDenied https://x.example/a?sig=SECRET</body></html>" * 3,
        b'{"success": false, "error": {"code": "X"}}',
        b"\xff\xfe<\0h\0t\0m\0l\0>\0" * 20,
        b"ID3 is not what this text is about, it only begins like that",
        b"\0" * 5000,
    ],
)
async def test_a_page_is_never_stored_as_audio(bench: Bench, page: bytes) -> None:
    bench.bucket.behave = lambda request: Say(200, {"Content-Type": "audio/wav"}, page)
    with pytest.raises(AudioError, match="no audio but audio/wav") as caught:
        await bench.fetch()
    assert caught.value.reason == "not_audio"
    assert "SECRET" not in str(caught.value)
    assert str(caught.value).replace("…", "").isascii()
    assert bench.stored() == []
    assert bench.spooled() == []


async def test_an_empty_body_is_an_error(bench: Bench) -> None:
    bench.bucket.behave = lambda request: Say(200)
    with pytest.raises(AudioError) as caught:
        await bench.fetch()
    assert caught.value.reason == "empty_audio"


@pytest.mark.parametrize("length", [True, False])
async def test_audio_beyond_the_limit_is_refused(bench: Bench, length: bool) -> None:
    bench.max_bytes = len(WAV) - 1
    bench.bucket.behave = lambda request: Say(200, {}, WAV, length=length)
    with pytest.raises(AudioRefused) as caught:
        await bench.fetch()
    assert caught.value.reason == "audio_too_large"
    assert bench.spooled() == []
    bench.max_bytes = len(WAV)
    assert (await bench.fetch()).bytes == len(WAV)


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


MD5 = b64(hashlib.md5(WAV, usedforsecurity=False).digest())
CRC = b64(google_crc32c.value(WAV).to_bytes(4, "big"))


@pytest.mark.parametrize(
    "lines",
    [
        (f"x-goog-hash: crc32c={CRC},md5={MD5}",),
        (f"x-goog-hash: crc32c={CRC}", f"x-goog-hash: md5={MD5}"),
        (f"Content-MD5: {MD5}",),
        ("x-goog-hash: crc32c=!!!", "Content-MD5: short"),
        ("x-goog-hash: crc32c=AAAAAA==", "x-goog-stored-content-encoding: gzip"),
    ],
)
async def test_published_checksums_that_hold_let_the_audio_through(bench: Bench, lines: tuple[str, ...]) -> None:
    bench.bucket.behave = lambda request: Say(200, {}, WAV, lines=lines)
    assert (await bench.fetch()).bytes == len(WAV)


@pytest.mark.parametrize(
    "lines",
    [
        ("x-goog-hash: crc32c=AAAAAA==",),
        (f"x-goog-hash: crc32c={CRC}", f"x-goog-hash: md5={b64(bytes(16))}"),
        (f"Content-MD5: {b64(bytes(16))}",),
    ],
)
async def test_a_wrong_checksum_keeps_the_audio_out(bench: Bench, lines: tuple[str, ...]) -> None:
    bench.bucket.behave = lambda request: Say(200, {}, WAV, lines=lines)
    with pytest.raises(AudioError) as caught:
        await bench.fetch()
    assert caught.value.reason == "checksum_mismatch"
    assert bench.stored() == []
    assert bench.spooled() == []


async def test_a_checksum_of_a_part_is_not_taken_for_one_of_the_whole(bench: Bench) -> None:
    def bucket(request: ReceivedRequest) -> Say:
        if len(bench.bucket.requests) == 1:
            return dataclasses.replace(ranged(WAV, request), cut=20_000)
        rest = b64(hashlib.md5(WAV[20_000:], usedforsecurity=False).digest())
        return ranged(WAV, request, **{"Content-MD5": rest, "x-goog-hash": f"crc32c={CRC}"})

    bench.bucket.behave = bucket
    assert (await bench.fetch()).bytes == len(WAV)


async def test_a_second_fetch_replaces_the_first_file_in_one_step(bench: Bench) -> None:
    first = await bench.fetch()
    other = make_wav(0.5)
    bench.bucket.behave = lambda request: ranged(other, request)
    second = await bench.fetch()
    assert first.path == second.path
    assert second.path is not None
    assert second.path.read_bytes() == other


@pytest.mark.parametrize("job", ["../../etc/passwd", "", "A" * 300, "a/b", "\x00", "j\ud800", "ＪＯＢ", ".", "con:"])
async def test_any_job_id_stays_in_the_folder(bench: Bench, job: str) -> None:
    got = await bench.fetch(job=job)
    assert got.path is not None
    assert got.path.parent == bench.folder / "aitts"
    assert got.path.read_bytes() == WAV


async def test_a_stereo_file_s_facts_are_read(bench: Bench) -> None:
    stereo = make_wav(0.25, 44_100, 2)
    bench.bucket.behave = lambda request: ranged(stereo, request)
    got = await bench.fetch()
    with wave.open(io.BytesIO(stereo)) as file:
        assert got.duration == pytest.approx(file.getnframes() / 44_100)
    assert (got.sample_rate, got.channels) == (44_100, 2)


async def test_audio_goes_to_an_object_store_with_its_type(bench: Bench, tmp_path: Path) -> None:
    storage = open_storage("memory://", Path("/"))
    fetcher = AudioFetcher(storage, tmp_path / "spool", 1 << 20, clock=SystemClock(), rng=FixedRandom(0.5))
    got = await fetcher.fetch([bench.durable()], source="aitts", job_id="j1", allow_private=True)
    await fetcher.aclose()
    assert (got.address, got.path) == ("memory://aitts/j1.wav", None)
    assert b"".join([piece async for piece in storage.stream(got.address)]) == WAV
    assert list((tmp_path / "spool").iterdir()) == []
