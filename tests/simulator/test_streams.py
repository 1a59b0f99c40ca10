"""Streams of aitts: an address that works once, for a while, without the key; and what can go wrong with it."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from receiver.simulator import Simulator
from tests.patience import PATIENCE

from .conftest import SettableClock

pytestmark = pytest.mark.anyio
STREAM = "/api/v1/tts/stream"
GOOD = {"text": "Hello", "voice_id": "alloy", "output_format": "mp3"}


async def submitted(sim: Simulator, **fields: Any) -> dict[str, Any]:
    async with client(sim) as api:
        answer = await api.post(STREAM, json=GOOD | fields)
    assert answer.status_code == 202, answer.text
    return dict(answer.json()["data"])


def client(sim: Simulator) -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {sim.api_key}"}
    return httpx.AsyncClient(base_url=sim.base_url, headers=headers, trust_env=False, timeout=PATIENCE)


async def fetched(url: str, **headers: str) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE) as plain:
        return await plain.get(url, headers=headers)


async def test_the_address_gives_the_jobs_audio_once(sim: Simulator) -> None:
    data = await submitted(sim)
    job = sim.jobs[data["job_id"]]
    assert data["transport_format"] == "mp3"
    assert data["stream_url"].startswith(sim.storage_url)

    answer = await fetched(data["stream_url"])
    again = await fetched(data["stream_url"])

    assert (answer.status_code, answer.headers["content-type"]) == (200, "audio/mpeg")
    assert "content-length" not in answer.headers
    assert answer.content == b"".join(job.audio.chunks(0, job.audio.size))
    assert again.status_code == 410
    assert sim.job_requests["live", job.id] == 2


async def test_the_key_is_a_leak_at_another_origin_and_none_at_the_apis_own() -> None:
    async with Simulator(stream_seconds=0) as sim:
        data = await submitted(sim)
        answer = await fetched(data["stream_url"], Authorization=f"Bearer {sim.api_key}")
        assert answer.status_code == 400
        assert len(sim.leaks) == 1
    async with Simulator(stream_seconds=0, stream_origin="api", stream_format="MPEG") as sim:
        data = await submitted(sim)
        assert data["stream_url"].startswith(sim.base_url)
        assert data["transport_format"] == "MPEG"
        assert (await fetched(data["stream_url"], Authorization=f"Bearer {sim.api_key}")).status_code == 200
        assert (sim.leaks, sim.requests["live_with_key"]) == ([], 1)


async def test_an_address_expires() -> None:
    clock = SettableClock()
    async with Simulator(clock=clock, stream_url_seconds=30) as sim:
        data = await submitted(sim)
        clock.time += 30
        assert (await fetched(data["stream_url"])).status_code == 410
        assert (await fetched(sim.storage_url + "/streams/unknown")).status_code == 404


async def test_a_bitrate_is_refused_and_the_usual_rules_apply(sim: Simulator) -> None:
    async with client(sim) as api:
        for change in ({"output_bitrate_kbps": 64}, {"text": ""}, {"voice_id": "nobody"}):
            assert (await api.post(STREAM, json=GOOD | change)).status_code == 400
        assert (await api.post(STREAM, json=GOOD, headers={"Authorization": "Bearer wrong"})).status_code == 401
    assert len(sim.jobs) == 0


async def test_each_fault_of_a_stream() -> None:
    async with Simulator(stream_seconds=0) as sim:
        sim.force("no_stream_url")
        assert "stream_url" not in await submitted(sim)
        for fault, status in (("expired_stream", 410), ("refused_stream", 503), ("html_stream", 200)):
            sim.force(fault)
            answer = await fetched((await submitted(sim))["stream_url"])
            assert (answer.status_code, answer.headers["content-type"].startswith("audio/")) == (status, False), fault
        sim.force("cut_stream", value=1000)
        with pytest.raises(httpx.RemoteProtocolError):
            await fetched((await submitted(sim))["stream_url"])
        sim.force("lost_answer", at="aitts.stream")
        with pytest.raises(httpx.RemoteProtocolError):
            await submitted(sim)
        assert len(sim.jobs) == 6


async def test_a_stalled_stream_ends_with_its_reader() -> None:
    async with Simulator(stream_seconds=0) as sim:
        sim.force("stalled_stream", value=1000)
        url = (await submitted(sim))["stream_url"]
        async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE) as plain, plain.stream("GET", url) as answer:
            received = b""
            async for chunk in answer.aiter_raw():
                received += chunk
                if len(received) == 1000:
                    break
        await sim.wait_until(lambda: sim.requests["live_disconnected"] == 1, PATIENCE)


async def test_a_stall_does_not_delay_the_end_of_the_simulator() -> None:
    async with asyncio.timeout(PATIENCE), Simulator(stream_seconds=0) as sim:
        sim.force("stalled_stream", value=1000)
        url = (await submitted(sim))["stream_url"]
        reading = asyncio.ensure_future(fetched(url))
        await sim.wait_until(lambda: sim.requests["live"] == 1, PATIENCE)
    with pytest.raises(httpx.HTTPError):
        await reading
