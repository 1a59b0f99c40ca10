"""Status, durable audio and the storage origin, over real HTTP."""

from __future__ import annotations

import base64
import hashlib
import io
import wave
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from receiver.simulator import GeneratedWav, Simulator
from tests.patience import PATIENCE

pytestmark = pytest.mark.anyio


async def done(sim: Simulator, text: str = "Hello", **fields: Any) -> str:
    job_id = await sim.submit(text, **fields)
    await sim.wait_until(lambda: sim.jobs[job_id].ended)
    return job_id


async def location(api: httpx.AsyncClient, job_id: str) -> str:
    answer = await api.get(f"/api/v1/tts/{job_id}/audio")
    assert answer.status_code == 307
    return answer.headers["Location"]


async def test_a_completed_job_names_its_audio(sim: Simulator, api: httpx.AsyncClient, web: httpx.AsyncClient) -> None:
    job_id = await done(sim)
    data = (await api.get(f"/api/v1/tts/{job_id}")).json()["data"]
    assert data["status"] == "completed"
    assert data["audio_endpoint"] == f"{sim.base_url}/api/v1/tts/{job_id}/audio"
    assert data["chars_charged"] == 5
    assert data["audio_url_expires_at"].endswith("Z")
    assert (await web.get(data["audio_url"])).status_code == 200


async def test_a_text_marked_fail_fails(sim: Simulator, api: httpx.AsyncClient) -> None:
    job_id = await done(sim, "please [fail]")
    data = (await api.get(f"/api/v1/tts/{job_id}")).json()["data"]
    assert data["status"] == "failed"
    assert data["error"]["code"] == "GENERATION_FAILED"
    assert "audio_url" not in data


async def test_a_job_without_a_time_waits_until_it_is_finished(sim: Simulator, api: httpx.AsyncClient) -> None:
    sim.settings = replace(sim.settings, job_seconds=None)
    job_id = await sim.submit("Hello")
    assert (await api.get(f"/api/v1/tts/{job_id}")).json()["data"]["status"] == "processing"
    assert (await api.get(f"/api/v1/tts/{job_id}/audio")).status_code == 404
    sim.fail(job_id, "just text")
    assert (await api.get(f"/api/v1/tts/{job_id}")).json()["data"]["error"] == "just text"


async def test_an_unknown_job_is_answered_404(api: httpx.AsyncClient) -> None:
    assert (await api.get("/api/v1/tts/none")).status_code == 404
    assert (await api.get("/api/v1/tts/none/audio")).status_code == 404


@pytest.mark.parametrize(
    ("output_format", "magic", "media_type"),
    [
        ("wav", b"RIFF", "audio/wav"),
        ("mp3", b"\xff\xf3", "audio/mpeg"),
        ("ogg_opus", b"OggS", "audio/ogg"),
    ],
)
async def test_each_format_gets_its_own_real_audio(
    sim: Simulator,
    api: httpx.AsyncClient,
    web: httpx.AsyncClient,
    output_format: str,
    magic: bytes,
    media_type: str,
) -> None:
    ids = [await done(sim, output_format=output_format) for _ in range(2)]
    answers = [await web.get(await location(api, job_id)) for job_id in ids]
    assert all(a.content[:1] == magic[:1] for a in answers)
    assert any(a.content.startswith(magic) for a in answers)
    assert {a.headers["Content-Type"] for a in answers} == {media_type}
    assert answers[0].content != answers[1].content


async def test_storage_states_length_tag_and_true_checksums(
    sim: Simulator, api: httpx.AsyncClient, web: httpx.AsyncClient
) -> None:
    answer = await web.get(await location(api, await done(sim)))
    md5 = base64.b64encode(hashlib.md5(answer.content, usedforsecurity=False).digest()).decode()
    assert answer.headers["Content-MD5"] == md5
    assert f"md5={md5}" in answer.headers["x-goog-hash"]
    assert "crc32c=" in answer.headers["x-goog-hash"]
    assert int(answer.headers["Content-Length"]) == len(answer.content)
    assert answer.headers["ETag"].startswith('"')
    assert answer.headers["Accept-Ranges"] == "bytes"


@pytest.mark.parametrize(
    ("header", "part"),
    [("bytes=0-9", slice(0, 10)), ("bytes=100-", slice(100, None)), ("bytes=-7", slice(-7, None))],
)
async def test_a_range_is_answered_206(
    sim: Simulator, api: httpx.AsyncClient, web: httpx.AsyncClient, header: str, part: slice
) -> None:
    url = await location(api, await done(sim))
    whole = await web.get(url)
    headers = {"Range": header, "If-Range": whole.headers["ETag"]}
    answer = await web.get(url, headers=headers)
    assert answer.status_code == 206
    assert answer.content == whole.content[part]
    start = range(len(whole.content))[part][0]
    stop = start + len(answer.content) - 1
    assert answer.headers["Content-Range"] == f"bytes {start}-{stop}/{len(whole.content)}"


async def test_a_range_of_other_bytes_gets_the_whole_and_one_outside_416(
    sim: Simulator, api: httpx.AsyncClient, web: httpx.AsyncClient
) -> None:
    url = await location(api, await done(sim))
    whole = await web.get(url)
    changed = await web.get(url, headers={"Range": "bytes=5-", "If-Range": '"other"'})
    assert (changed.status_code, changed.content) == (200, whole.content)
    outside = await web.get(url, headers={"Range": "bytes=99999999-"})
    assert outside.status_code == 416
    assert outside.headers["Content-Range"] == f"bytes */{len(whole.content)}"


async def test_a_changed_or_missing_signature_is_answered_403(
    sim: Simulator, api: httpx.AsyncClient, web: httpx.AsyncClient
) -> None:
    url = await location(api, await done(sim))
    later = url.replace("expires=", "expires=9")
    for bad in (url[:-1] + ("0" if url[-1] != "0" else "1"), later, url.split("?")[0]):
        answer = await web.get(bad)
        assert answer.status_code == 403
        assert "<Code>SignatureDoesNotMatch</Code>" in answer.text


async def test_each_request_for_durable_audio_gets_a_fresh_address(sim: Simulator, api: httpx.AsyncClient) -> None:
    job_id = await done(sim)
    first = urlsplit(await location(api, job_id))
    assert first.netloc == urlsplit(sim.storage_url).netloc != urlsplit(sim.base_url).netloc
    assert sim.job_requests["audio", job_id] == 1


@pytest.mark.parametrize("header", ["Authorization", "x-api-key"])
async def test_credentials_at_the_storage_origin_are_refused_and_noted(
    sim: Simulator, api: httpx.AsyncClient, web: httpx.AsyncClient, header: str
) -> None:
    url = await location(api, await done(sim))
    answer = await web.get(url, headers={header: f"Bearer {sim.api_key}"})
    assert answer.status_code == 400
    assert len(sim.leaks) == 1
    assert sim.api_key not in sim.leaks[0]
    assert header.lower() in sim.leaks[0]
    sim.leaks.clear()


async def test_a_generated_wav_is_served_piece_by_piece(
    sim: Simulator, api: httpx.AsyncClient, web: httpx.AsyncClient
) -> None:
    job_id = await done(sim)
    wav = GeneratedWav(bytes=5_000_000)
    sim.jobs.set_audio(job_id, wav)
    url = await location(api, job_id)
    whole = await web.get(url)
    assert len(whole.content) == 5_000_000
    assert hashlib.sha256(whole.content).hexdigest() == wav.sha256()
    assert "Content-MD5" not in whole.headers
    part = await web.get(url, headers={"Range": "bytes=1234567-3456789"})
    assert part.content == whole.content[1_234_567:3_456_790]


def test_a_generated_wav_has_a_header_that_wave_reads() -> None:
    data = b"".join(GeneratedWav(bytes=100_044).chunks(0, 100_044))
    with wave.open(io.BytesIO(data)) as read:
        assert (read.getnframes(), read.getframerate(), read.getnchannels()) == (50_000, 24_000, 1)


def test_a_generated_wav_gives_the_same_bytes_however_it_is_cut() -> None:
    wav = GeneratedWav(bytes=400_000)
    whole = b"".join(wav.chunks(0, 400_000))
    for start, stop in [(0, 10), (40, 50), (44, 65_580), (65_579, 262_189), (399_999, 400_000)]:
        assert b"".join(wav.chunks(start, stop)) == whole[start:stop]


async def test_addresses_may_be_relative() -> None:
    async with Simulator(job_seconds=None, addresses="relative") as sim:
        job_id = await sim.submit("Hello")
        sim.finish(job_id)
        headers = {"Authorization": f"Bearer {sim.api_key}"}
        async with httpx.AsyncClient(headers=headers, trust_env=False, timeout=PATIENCE) as client:
            answer = await client.get(f"{sim.base_url}/api/v1/tts/{job_id}")
        assert answer.json()["data"]["audio_endpoint"] == f"/api/v1/tts/{job_id}/audio"
