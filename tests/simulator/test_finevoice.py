"""The wire of finevoice, over real HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from receiver.simulator import Simulator
from tests.patience import PATIENCE

pytestmark = pytest.mark.anyio
SUBMIT = "/v1/audio/speech-synthesis"
GOOD = {"voice": "james", "text": "[happy] Hello", "useAsync": True}


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with Simulator(job_seconds=None) as sim:
        yield sim
    assert sim.leaks == []


def client(sim: Simulator, key: str | None = None) -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {key or sim.api_keys['finevoice']}"}
    return httpx.AsyncClient(base_url=sim.base_urls["finevoice"], headers=headers, trust_env=False, timeout=PATIENCE)


@pytest.fixture
async def api(sim: Simulator) -> AsyncIterator[httpx.AsyncClient]:
    async with client(sim) as it:
        yield it


async def status(api: httpx.AsyncClient, task_id: str) -> Any:
    answer = await api.get(f"/v1/task/{task_id}")
    assert answer.status_code == 200
    return answer.json()


async def test_a_task_is_202_in_the_body_until_it_is_200_with_an_address(
    sim: Simulator, api: httpx.AsyncClient, web: httpx.AsyncClient
) -> None:
    answer = await api.post(SUBMIT, json=GOOD)
    [job] = sim.jobs
    assert (answer.status_code, answer.json()) == (200, {"status": 202, "taskId": job.id})
    assert await status(api, job.id) == {"status": 202, "taskId": job.id}
    sim.finish(job.id)
    reported = await status(api, job.id)
    assert reported["status"] == 200
    audio = await web.get(reported["url"])
    assert (audio.status_code, audio.headers["Content-Type"]) == (200, "audio/mpeg")


async def test_a_failed_task_has_an_error_object(sim: Simulator, api: httpx.AsyncClient) -> None:
    first, second = [await sim.submit("Hello", provider="finevoice") for _ in range(2)]
    sim.fail(first, {"code": "VOICE_GONE", "message": "No such voice."})
    reported = await status(api, first)
    assert (reported["status"], reported["error"]) == (500, {"code": "VOICE_GONE", "message": "No such voice."})
    sim.fail(second, "words alone")
    assert (await status(api, second))["error"]["message"] == "words alone"


async def test_without_use_async_the_answer_waits_for_the_audio(sim: Simulator, api: httpx.AsyncClient) -> None:
    submit = asyncio.create_task(api.post(SUBMIT, json={"voice": "james", "text": "Hello"}))
    await sim.wait_until(lambda: len(sim.jobs))
    [job] = sim.jobs
    assert not submit.done()
    sim.finish(job.id)
    reported = (await submit).json()
    assert (reported["status"], reported["taskId"]) == (200, job.id)
    assert reported["url"].startswith(sim.storage_url)


async def test_a_fast_service_answers_200_although_asked_for_async() -> None:
    async with Simulator(job_seconds=0.0, finevoice_fast=True) as sim, client(sim) as api:
        assert (await api.post(SUBMIT, json=GOOD)).json()["status"] == 200


async def test_a_submit_that_waits_does_not_delay_the_end() -> None:
    async with Simulator(job_seconds=None) as sim:
        api = client(sim)
        submit = asyncio.create_task(api.post(SUBMIT, json={"voice": "james", "text": "Hello"}))
        await sim.wait_until(lambda: len(sim.jobs))
    with pytest.raises(httpx.TransportError):
        await submit
    await api.aclose()


async def test_tasks_of_other_kinds_are_polled_alike_and_may_have_several_outputs(
    sim: Simulator, api: httpx.AsyncClient, web: httpx.AsyncClient
) -> None:
    task_id = sim.create_task("separation", outputs=4)
    assert (await status(api, task_id))["status"] == 202
    sim.finish(task_id)
    reported = await status(api, task_id)
    assert "url" not in reported
    assert len(set(reported["urls"])) == 4
    for url in reported["urls"]:
        assert (await web.get(url)).status_code == 200
    assert (sim.jobs[task_id].kind, sim.job_requests["storage", task_id]) == ("separation", 4)


async def test_errors_are_401_404_and_422(sim: Simulator, api: httpx.AsyncClient) -> None:
    async with client(sim, "wrong") as stranger:
        answers = [await stranger.get("/v1/task/none")]
    answers += [
        await api.get("/v1/task/none"),
        await api.post(SUBMIT, json=GOOD | {"text": ""}),
        await api.post(SUBMIT, json={"text": "Hello"}),
        await api.post(SUBMIT, content=b"{"),
    ]
    assert [a.status_code for a in answers] == [401, 404, 422, 422, 422]
    assert all(a.json()["status"] == a.status_code and set(a.json()["error"]) == {"code", "message"} for a in answers)
    assert len(sim.jobs) == 0


async def test_an_error_may_be_told_in_the_body_alone() -> None:
    async with Simulator(finevoice_errors="body") as sim, client(sim) as api:
        answer = await api.get("/v1/task/none")
        assert (answer.status_code, answer.json()["status"]) == (200, 404)
