"""The wire of audixa, v2 and v3, over real HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from receiver.simulator import Simulator
from tests.patience import PATIENCE

from .conftest import SettableClock

pytestmark = pytest.mark.anyio
V2 = {"text": "Hello", "voice": "emma", "model": "base", "speed": 1.0}
V3 = {"text": "Hello", "voice_id": "emma", "model": "advanced", "speed": 1.0, "audio_format": "mp3"}
DAY = 86_400.0


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock()


@pytest.fixture
async def sim(clock: SettableClock) -> AsyncIterator[Simulator]:
    async with Simulator(job_seconds=None, audixa_poll_seconds=None, clock=clock) as sim:
        yield sim
    assert sim.leaks == []


def client(sim: Simulator, key: str | None = None) -> httpx.AsyncClient:
    headers = {"x-api-key": key or sim.api_keys["audixa"]}
    return httpx.AsyncClient(base_url=sim.base_urls["audixa"], headers=headers, trust_env=False, timeout=PATIENCE)


@pytest.fixture
async def api(sim: Simulator) -> AsyncIterator[httpx.AsyncClient]:
    async with client(sim) as it:
        yield it


async def v2(api: httpx.AsyncClient, job_id: str) -> Any:
    return (await api.get("/v2/status", params={"generation_id": job_id})).json()


async def v3(api: httpx.AsyncClient, job_id: str) -> Any:
    return (await api.get("/v3/tts", params={"generation_id": job_id})).json()


async def test_v2_answers_a_submit_201_with_the_id_alone(sim: Simulator, api: httpx.AsyncClient) -> None:
    answer = await api.post("/v2/tts", json=V2)
    [job] = sim.jobs
    assert (answer.status_code, answer.json()) == (201, {"generation_id": job.id})
    assert (job.provider, job.submission.voice_id, job.audio.suffix) == ("audixa", "emma", ".wav")
    assert (await api.post("/v2/tts", json={"text": "Hi", "voice_id": "x", "model": "advance"})).status_code == 201


async def test_v3_answers_a_submit_with_its_place_in_the_queue(sim: Simulator, api: httpx.AsyncClient) -> None:
    answer = await api.post("/v3/tts", json=V3)
    [job] = sim.jobs
    assert (answer.status_code, answer.json()) == (200, {"generation_id": job.id, "status": "IN_QUEUE"})
    assert job.audio.suffix == ".mp3"


async def test_each_version_has_its_own_words_for_a_job_s_life(
    sim: Simulator, api: httpx.AsyncClient, web: httpx.AsyncClient
) -> None:
    job_id = await sim.submit("Hello", provider="audixa")
    assert await v2(api, job_id) == {"status": "Generating"}
    assert (await v3(api, job_id))["status"] == "IN_QUEUE"
    sim.jobs.process(job_id)
    assert await v2(api, job_id) == {"status": "Generating"}
    assert (await v3(api, job_id))["status"] == "GENERATING"
    sim.finish(job_id)
    old, new = await v2(api, job_id), await v3(api, job_id)
    assert (old["status"], new["status"]) == ("Completed", "COMPLETED")
    for reported in (old, new):
        assert reported["audio_url"].startswith(sim.storage_url)
        assert (await web.get(reported["audio_url"])).content.startswith(b"RIFF")


async def test_a_failure_is_detail_in_v2_and_error_message_in_v3(sim: Simulator, api: httpx.AsyncClient) -> None:
    job_id = await sim.submit("Hello", provider="audixa", version="v3")
    sim.fail(job_id, "The voice is hoarse.")
    assert await v2(api, job_id) == {"status": "Failed", "detail": "The voice is hoarse."}
    reported = await v3(api, job_id)
    assert (reported["status"], reported["error_message"]) == ("FAILED", "The voice is hoarse.")


async def test_v2_may_call_the_address_url(clock: SettableClock) -> None:
    async with Simulator(job_seconds=None, audixa_v2_url="url", clock=clock) as sim, client(sim) as api:
        job_id = await sim.submit("Hello", provider="audixa")
        sim.finish(job_id)
        assert set(await v2(api, job_id)) == {"status", "url"}


async def test_errors_are_a_detail(sim: Simulator, api: httpx.AsyncClient) -> None:
    async with client(sim, "wrong") as stranger:
        refused = await stranger.get("/v2/voices")
    assert (refused.status_code, set(refused.json())) == (401, {"detail"})
    aitts_job = await sim.submit("Hello")
    for unknown in ("none", "", aitts_job):
        for path in ("/v2/status", "/v3/tts"):
            missing = await api.get(path, params={"generation_id": unknown})
            assert (missing.status_code, set(missing.json())) == (404, {"detail"})


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v2/tts", V2 | {"text": " "}),
        ("/v2/tts", V2 | {"voice": 5}),
        ("/v2/tts", V2 | {"model": "advanced"}),
        ("/v2/tts", V2 | {"speed": "fast"}),
        ("/v3/tts", V3 | {"model": "advance"}),
        ("/v3/tts", V3 | {"audio_format": "ogg"}),
        ("/v3/tts", V2),
        ("/v3/tts", []),
    ],
)
async def test_a_bad_field_is_refused(api: httpx.AsyncClient, path: str, body: object) -> None:
    answer = await api.post(path, json=body)
    assert (answer.status_code, set(answer.json())) == (422, {"detail"})


async def test_an_id_is_unknown_24_hours_after_its_creation(
    sim: Simulator, api: httpx.AsyncClient, clock: SettableClock
) -> None:
    job_id = await sim.submit("Hello", provider="audixa")
    sim.finish(job_id)
    clock.time += DAY - 1
    assert (await v3(api, job_id))["status"] == "COMPLETED"
    clock.time += 1
    for path in ("/v2/status", "/v3/tts"):
        assert (await api.get(path, params={"generation_id": job_id})).status_code == 404
    [row] = (await api.get("/v3/history")).json()["history"]
    assert row == {"generation_id": job_id, "status": "EXPIRED"}


async def test_v3_may_say_expired_instead_of_404(clock: SettableClock) -> None:
    async with Simulator(job_seconds=None, audixa_expired="EXPIRED", clock=clock) as sim, client(sim) as api:
        job_id = await sim.submit("Hello", provider="audixa")
        clock.time += DAY
        assert (await v3(api, job_id))["status"] == "EXPIRED"


async def test_history_goes_back_from_the_newest_in_pages(sim: Simulator, api: httpx.AsyncClient) -> None:
    ids = [await sim.submit(f"Job {n}", provider="audixa") for n in range(5)]
    await sim.submit("Of another provider")
    sim.finish(ids[1])
    sim.finish(ids[3])

    async def rows(**query: Any) -> list[str]:
        answer = await api.get("/v3/history", params=query)
        return [row["generation_id"] for row in answer.json()["history"]]

    assert await rows() == ids[::-1]
    assert await rows(limit=2, offset=1) == [ids[3], ids[2]]
    assert await rows(status="COMPLETED") == [ids[3], ids[1]]
    assert await rows(limit=100, status="FAILED") == []
    for bad in ({"limit": 101}, {"limit": 0}, {"limit": "x"}, {"offset": -1}):
        assert (await api.get("/v3/history", params=bad)).status_code == 422


async def test_a_second_poll_within_a_second_is_429_unless_that_is_off(clock: SettableClock) -> None:
    async with Simulator(job_seconds=None, clock=clock) as sim, client(sim) as api:
        job_id = await sim.submit("Hello", provider="audixa")
        query = {"generation_id": job_id}
        assert (await api.get("/v2/status", params=query)).status_code == 200
        clock.time += 0.5
        refused = await api.get("/v3/history")
        assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
        assert set(refused.json()) == {"detail"}
        assert (await api.get("/v2/voices")).status_code == 200
        assert (await api.post("/v2/tts", json=V2)).status_code == 201
        clock.time += 0.5
        assert (await api.get("/v2/status", params=query)).status_code == 200
        assert sim.requests["audixa.status"] == 2
        assert sim.requests["audixa.history"] == 1


async def test_voices_can_be_asked_for_by_model(api: httpx.AsyncClient) -> None:
    everyone = (await api.get("/v3/voices")).json()["voices"]
    base = (await api.get("/v2/voices", params={"model": "base"})).json()["voices"]
    advance = (await api.get("/v2/voices", params={"model": "advance"})).json()["voices"]
    assert {"emma"} < {voice["voice_id"] for voice in base}
    assert len(everyone) == len(base) + len(advance)
    assert (await api.get("/v3/voices", params={"limit": 1, "offset": 1})).json()["voices"] == everyone[1:2]
