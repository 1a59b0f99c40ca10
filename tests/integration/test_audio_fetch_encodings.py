"""Audio under a `Content-Encoding`, from real servers on loopback: what is only a label, and what is compressed."""

from __future__ import annotations

import base64
import dataclasses
import gzip
import hashlib
import zlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import google_crc32c
import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.errors import AudioError, AudioRefused, Reject
from receiver.outbound.audio import AudioFetcher, FetchedAudio
from receiver.outbound.decompression import MAX_MEMBERS, MAX_SECONDS, compression, decompressed_head, sniff_through
from receiver.outbound.storage import open_storage
from receiver.providers.base import AudioRequest
from tests.clocks import CallbackClock, FixedRandom
from tests.integration.outbound_support import ReceivedRequest, Say, Server, make_wav, ranged, serving

pytestmark = pytest.mark.anyio

WAV = make_wav()


def bare(data: bytes) -> bytes:
    """A deflate stream without its wrapper, as some send it."""
    stream = zlib.compressobj(wbits=-15)
    return stream.compress(data) + stream.flush()


COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "GZIP": lambda data: gzip.compress(data[:1000]) + gzip.compress(data[1000:]),
    "deflate, aws-chunked": bare,
}


class Bench:
    """A storage, and a fetcher whose clock goes on by `step` seconds with each look."""

    def __init__(self, folder: Path, server: Server) -> None:
        self.folder, self.server, self.time, self.step = folder, server, 0.0, 0.0
        self.fetcher = self.fetcher_for(100 << 20)

    def fetcher_for(self, max_bytes: int) -> AudioFetcher:
        storage = open_storage(str(self.folder), Path("/"))
        return AudioFetcher(
            storage,
            self.folder / ".spool",
            max_bytes,
            min_rate=1,
            clock=CallbackClock(monotonic=self.clock, sleep=self.sleep),
            rng=FixedRandom(0.5),
        )

    def clock(self) -> float:
        self.time += self.step
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.time += seconds

    def says(self, body: bytes, label: str, **headers: str) -> None:
        self.server.behave = lambda request: Say(200, {"Content-Encoding": label, **headers}, body)

    async def fetch(self, fetcher: AudioFetcher | None = None) -> FetchedAudio:
        request = AudioRequest(self.server.url("/a"), {}, durable=True)
        return await (fetcher or self.fetcher).fetch([request], source="aitts", job_id="j", allow_private=True)

    @property
    def spooled(self) -> list[str]:
        return [path.name for path in (self.folder / ".spool").iterdir()]


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with serving() as server:
        made = Bench(tmp_path / "audio", server)
        yield made
        await made.fetcher.aclose()


def stored(got: FetchedAudio) -> bytes:
    assert got.path is not None
    data = got.path.read_bytes()
    assert (got.bytes, got.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    return data


@pytest.mark.parametrize(
    "label", ["aws-chunked", "utf-8", "binary", "none", "identity", "", "br", "gzip", "deflate", "gzip, gzip", "ü"]
)
async def test_a_label_on_plain_audio_is_passed_over(bench: Bench, label: str) -> None:
    bench.says(WAV, label)
    assert stored(await bench.fetch()) == WAV
    assert bench.server.requests[0].headers["accept-encoding"] == "identity"
    assert bench.server.requests[0].headers["user-agent"].startswith("tts-receiver")


@pytest.mark.parametrize("label", COMPRESS)
async def test_audio_that_was_compressed_unasked_is_stored_as_it_was_before(bench: Bench, label: str) -> None:
    bench.says(COMPRESS[label](WAV), label)
    got = await bench.fetch()
    assert stored(got) == WAV
    assert (got.format, got.duration) == ("wav", 1.0)
    assert bench.spooled == []


@pytest.mark.parametrize(("label", "shown"), [("br", "'br'"), ("gzip, gzip", "'gzip, gzip'"), ("gzip", "'gzip'")])
async def test_what_is_no_audio_under_a_label_is_an_error_that_names_it(bench: Bench, label: str, shown: str) -> None:
    bench.says(b"\x1b\x07 not what it says" * 50, label)
    with pytest.raises(AudioError, match=shown) as caught:
        await bench.fetch()
    assert (caught.value.reason, isinstance(caught.value, Reject)) == ("content_encoding", False)
    assert bench.spooled == []


async def test_a_compressed_page_is_no_audio_and_is_shown(bench: Bench) -> None:
    bench.says(gzip.compress(b"<html>AccessDenied</html>" * 9), "gzip")
    with pytest.raises(AudioError, match="beginning '<html>AccessDenied") as caught:
        await bench.fetch()
    assert caught.value.reason == "not_audio"


async def test_compressed_audio_is_resumed_in_its_compressed_bytes(bench: Bench) -> None:
    body = gzip.compress(WAV)
    lengths = [5_000]

    def behave(request: ReceivedRequest) -> Say:
        say = ranged(body, request, **({} if "range" in request.headers else {"Content-Encoding": "gzip"}))
        return dataclasses.replace(say, cut=lengths.pop()) if lengths else say

    bench.server.behave = behave
    assert stored(await bench.fetch()) == WAV
    assert [one.headers.get("range") for one in bench.server.requests] == [None, "bytes=5000-"]


async def test_compressed_bytes_are_not_gone_on_with_in_plain_ones(bench: Bench) -> None:
    body = gzip.compress(WAV)

    def behave(request: ReceivedRequest) -> Say:
        if len(bench.server.requests) == 1:
            return dataclasses.replace(ranged(body, request, **{"Content-Encoding": "gzip"}), cut=5_000)
        return ranged(body, request, **{"Content-Encoding": "identity"} if "range" in request.headers else {"X": "1"})

    bench.server.behave = behave
    with pytest.raises(AudioError) as caught:
        await bench.fetch()
    assert caught.value.reason == "not_audio"
    assert [one.headers.get("range") for one in bench.server.requests] == [None, "bytes=5000-", None]


@pytest.mark.parametrize(
    ("of", "stored_as", "good"),
    [("sent", "gzip", True), ("sent", None, True), ("plain", None, True), ("plain", "gzip", False)],
)
async def test_a_published_checksum_is_of_the_bytes_as_they_are_stored(
    bench: Bench, of: str, stored_as: str | None, *, good: bool
) -> None:
    body = gzip.compress(WAV)
    crc = google_crc32c.value(body if of == "sent" else WAV).to_bytes(4, "big")
    headers = {"x-goog-hash": f"crc32c={base64.b64encode(crc).decode()}"}
    bench.says(body, "gzip", **headers, **({"x-goog-stored-content-encoding": stored_as} if stored_as else {}))
    if good:
        assert stored(await bench.fetch()) == WAV
        return
    with pytest.raises(AudioError) as caught:
        await bench.fetch()
    assert caught.value.reason == "checksum_mismatch"


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (lambda body: body[:-9], "ends in the middle"),
        (lambda body: body[:5_000] + bytes(100) + body[5_100:], "damaged"),
        (lambda body: body + gzip.compress(b"") * MAX_MEMBERS, f"more than {MAX_MEMBERS}"),
    ],
)
async def test_damaged_compression_is_fetched_anew(bench: Bench, harm: Callable[[bytes], bytes], says: str) -> None:
    bench.says(harm(gzip.compress(WAV)), "gzip")
    with pytest.raises(AudioError, match=says) as caught:
        await bench.fetch()
    assert (caught.value.reason, isinstance(caught.value, Reject)) == ("content_encoding", False)
    assert bench.spooled == []


async def test_what_follows_the_compressed_audio_is_passed_over(bench: Bench) -> None:
    bench.says(gzip.compress(WAV) + bytes(300_000), "gzip")
    assert stored(await bench.fetch()) == WAV


async def test_pieces_that_meet_anywhere_are_joined(bench: Bench) -> None:
    long = make_wav(12.0)
    first = gzip.compress(long[:-10_000], 0)
    for start in (first, gzip.compress(long[: -10_000 + (len(first) % (256 << 10)) - 1], 0)):
        whole = start + gzip.compress(long[len(gzip.decompress(start)) :])
        bench.says(whole, "gzip")
        assert stored(await bench.fetch()) == long


async def test_a_trap_is_refused_before_it_fills_the_disk(bench: Bench) -> None:
    bench.says(gzip.compress(make_wav(0.01) + bytes(80 << 20)), "gzip")
    with pytest.raises(AudioRefused, match="200 times") as caught:
        await bench.fetch()
    assert caught.value.reason == "audio_too_large"
    assert bench.spooled == []


async def test_the_limit_is_of_what_comes_out(bench: Bench) -> None:
    bench.says(gzip.compress(WAV), "gzip")
    fetcher = bench.fetcher_for(len(WAV) - 1)
    with pytest.raises(AudioRefused) as caught:
        await bench.fetch(fetcher)
    await fetcher.aclose()
    assert caught.value.reason == "audio_too_large"
    assert bench.spooled == []


async def test_decompression_that_takes_too_long_is_given_up(bench: Bench) -> None:
    bench.says(gzip.compress(make_wav(400.0), 0), "gzip")
    bench.step = MAX_SECONDS + 1
    with pytest.raises(AudioError, match="takes more than") as caught:
        await bench.fetch()
    assert caught.value.reason == "content_encoding"


@given(st.binary(max_size=300), st.sampled_from(["gzip", "deflate"]))
def test_any_bytes_can_be_looked_through(head: bytes, encoding: str) -> None:
    sniff_through(head, encoding)
    assert len(decompressed_head(head, encoding)) <= 4096


@given(st.text(max_size=60))
def test_any_label_can_be_read(label: str) -> None:
    assert compression(label) in (None, "gzip", "deflate")
