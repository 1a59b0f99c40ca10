"""The official audixa SDK, unchanged, against the simulator: what it does with the service, it does here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import audixa
import pytest
from audixa.config import get_config

from receiver.simulator import Simulator
from tests.patience import PATIENCE

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    """With the guard against fast polling, which the SDK must get along with."""
    async with Simulator(job_seconds=0.0) as sim:
        yield sim
    assert sim.leaks == []


@pytest.fixture
def sdk(sim: Simulator) -> Iterator[audixa.AudixaClient]:
    with audixa.AudixaClient(
        sim.api_keys["audixa"], sim.base_urls["audixa"], timeout=PATIENCE, max_retries=0
    ) as client:
        yield client


@pytest.fixture
async def async_sdk(sim: Simulator) -> AsyncIterator[audixa.AsyncAudixaClient]:
    key, url = sim.api_keys["audixa"], sim.base_urls["audixa"]
    async with audixa.AsyncAudixaClient(api_key=key, base_url=url, timeout=PATIENCE, max_retries=0) as client:
        yield client


async def test_it_submits_and_asks_for_the_status(sim: Simulator, sdk: audixa.AudixaClient) -> None:
    job_id = await asyncio.to_thread(sdk.tts, "Hello", voice_id="emma", model="advanced", audio_format="mp3")
    await sim.wait_until(lambda: sim.jobs[job_id].ended)
    reported = await asyncio.to_thread(sdk.status, job_id)
    assert (reported["status"], reported["generation_id"]) == ("COMPLETED", job_id)
    assert (sim.jobs[job_id].submission.model_type, sim.jobs[job_id].audio.suffix) == ("advanced", ".mp3")


async def test_it_waits_and_saves_the_audio(sim: Simulator, sdk: audixa.AudixaClient, tmp_path: Path) -> None:
    sim.settings = replace(sim.settings, job_seconds=0.2)
    file = tmp_path / "hello.wav"
    await asyncio.to_thread(sdk.tts_to_file, "Hello", str(file), voice_id="emma")
    [job] = sim.jobs
    assert file.stat().st_size == job.audio.size
    assert sim.job_requests["storage", job.id] == 1
    assert sim.requests["audixa.status"] == 2, "a second poll, a second later, is not too early"


async def test_its_async_client_waits_and_saves_the_audio(
    sim: Simulator, async_sdk: audixa.AsyncAudixaClient, tmp_path: Path
) -> None:
    file = tmp_path / "hello.mp3"
    await async_sdk.tts_to_file("Hello", str(file), voice_id="emma", audio_format="mp3")
    [job] = sim.jobs
    assert file.stat().st_size == job.audio.size


async def test_it_reports_a_failed_job(sdk: audixa.AudixaClient) -> None:
    with pytest.raises(audixa.GenerationError, match="could not be generated"):
        await asyncio.to_thread(sdk.tts_and_wait, "Hello [fail]", voice_id="emma")


async def test_it_lists_voices(async_sdk: audixa.AsyncAudixaClient) -> None:
    voices = await async_sdk.list_voices(model="base")
    assert isinstance(voices, list)
    assert "emma" in {voice["voice_id"] for voice in voices}


async def test_it_lists_the_history(sim: Simulator, sdk: audixa.AudixaClient) -> None:
    ids = [await sim.submit(f"Job {n}", provider="audixa") for n in range(3)]
    await sim.wait_until(lambda: all(job.ended for job in sim.jobs))
    rows = await asyncio.to_thread(sdk.history, limit=2, status="COMPLETED")
    assert isinstance(rows, list)
    assert [row["generation_id"] for row in rows] == [ids[2], ids[1]]


async def test_its_errors_are_raised_as_it_documents(sim: Simulator, sdk: audixa.AudixaClient) -> None:
    with pytest.raises(audixa.APIError) as missing:
        await asyncio.to_thread(sdk.status, "none")
    assert missing.value.status_code == 404
    with pytest.raises(audixa.RateLimitError) as limited:
        await asyncio.to_thread(sdk.status, "none")
    assert limited.value.retry_after == 1.0
    sdk.api_key = "wrong"
    with pytest.raises(audixa.AuthenticationError):
        await asyncio.to_thread(sdk.history)
    assert sim.requests["audixa.status"] == 2


async def test_its_module_functions_work_alike(sim: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    config = get_config()
    monkeypatch.setattr(config, "api_key", None)
    monkeypatch.setattr(config, "base_url", config.base_url)
    audixa.set_api_key(sim.api_keys["audixa"])
    audixa.set_base_url(sim.base_urls["audixa"])
    job_id = await audixa.atts("Hello", voice_id="emma")
    assert (await audixa.astatus(job_id))["status"] in {"IN_QUEUE", "GENERATING", "COMPLETED"}
