"""The wire of miragic, over real HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.simulator import Simulator
from receiver.simulator.forms import FormError, read_form
from tests.patience import PATIENCE

from .conftest import SettableClock

pytestmark = pytest.mark.anyio
BASE = "/api/v1/text-to-speech"
GOOD = {"text": (None, "Hellö"), "voice": (None, "coral")}


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with Simulator(job_seconds=None) as sim:
        yield sim
    assert sim.leaks == []


def client(sim: Simulator, key: str | None = None) -> httpx.AsyncClient:
    headers = {"X-API-Key": key or sim.api_keys["miragic"]}
    return httpx.AsyncClient(base_url=sim.base_urls["miragic"], headers=headers, trust_env=False, timeout=PATIENCE)


@pytest.fixture
async def api(sim: Simulator) -> AsyncIterator[httpx.AsyncClient]:
    async with client(sim) as it:
        yield it


async def status(api: httpx.AsyncClient, job_id: str) -> Any:
    body = (await api.get(f"{BASE}/jobs/{job_id}")).json()
    assert body["success"] is True
    return body["data"]


async def test_a_form_is_answered_with_a_pending_job(sim: Simulator, api: httpx.AsyncClient) -> None:
    answer = await api.post(f"{BASE}/generate", files=GOOD)
    [job] = sim.jobs
    assert answer.status_code == 200
    assert set(answer.json()) == {"success", "data", "message"}
    assert answer.json()["data"] == {"jobId": job.id, "status": "PENDING"}
    assert (job.submission.text, job.submission.voice_id) == ("Hellö", "coral")


async def test_a_completed_job_names_its_audio(sim: Simulator, api: httpx.AsyncClient, web: httpx.AsyncClient) -> None:
    job_id = await sim.submit("Hello", provider="miragic")
    pending = await status(api, job_id)
    assert (pending["status"], pending["progress"]) == ("PENDING", 0)
    assert not pending.get("audioUrl")
    sim.finish(job_id)
    done = await status(api, job_id)
    assert (done["id"], done["status"], done["errorMessage"]) == (job_id, "COMPLETED", None)
    assert {"metadata", "creditsUsed", "createdAt", "updatedAt"} < set(done)
    assert done["metadata"]["processingTimeMs"] >= 0
    assert (await web.get(done["audioUrl"])).status_code == 200


async def test_progress_rises_with_time_and_never_reaches_100() -> None:
    clock = SettableClock()
    async with Simulator(job_seconds=3600, clock=clock) as sim, client(sim) as api:
        job_id = await sim.submit("Hello", provider="miragic")
        seen = []
        for _ in range(4):
            seen.append((await status(api, job_id))["progress"])
            clock.time += 1500
        assert seen == sorted(seen)
        assert (seen[0], seen[-1]) == (0, 99)


async def test_progress_is_not_always_given() -> None:
    async with Simulator(job_seconds=None, miragic_progress=False) as sim, client(sim) as api:
        assert "progress" not in await status(api, await sim.submit("Hello", provider="miragic"))


@pytest.mark.parametrize("path", ["metadata.apiResponse.audio_link", "audio_link", "download_signed_url"])
async def test_the_address_may_be_elsewhere(path: str) -> None:
    async with Simulator(job_seconds=None, miragic_audio_path=path) as sim, client(sim) as api:
        job_id = await sim.submit("Hello", provider="miragic")
        sim.finish(job_id)
        found = await status(api, job_id)
        assert "audioUrl" not in found
        for name in path.split("."):
            found = found[name]
        assert found.startswith(sim.storage_url)


async def test_a_failed_job_says_why(sim: Simulator, api: httpx.AsyncClient) -> None:
    job_id = await sim.submit("Hello", provider="miragic")
    sim.fail(job_id)
    reported = await status(api, job_id)
    assert (reported["status"], bool(reported["errorMessage"])) == ("FAILED", True)


async def test_errors_are_in_the_envelope(sim: Simulator, api: httpx.AsyncClient) -> None:
    async with client(sim, "wrong") as stranger:
        answers = [await stranger.post(f"{BASE}/generate", files=GOOD)]
    answers += [
        await api.get(f"{BASE}/jobs/none"),
        await api.post(f"{BASE}/generate", files={"voice": (None, "coral")}),
        await api.post(f"{BASE}/generate", json={"text": "Hello", "voice": "coral"}),
        await api.post(f"{BASE}/generate", data={"text": "Hello", "voice": "coral"}),
    ]
    assert [a.status_code for a in answers] == [401, 404, 400, 400, 400]
    assert all(a.json()["success"] is False and a.json()["message"] for a in answers)
    assert len(sim.jobs) == 0


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_a_form_s_text_arrives_as_it_was_sent(text: str) -> None:
    request = httpx.Request("POST", "http://x/", files={"text": (None, text), "voice": (None, "fable")})
    assert read_form(request.headers["Content-Type"], request.read()) == {"text": text, "voice": "fable"}


@given(st.text(st.characters(max_codepoint=255)), st.binary())
def test_what_is_no_form_is_refused_and_never_breaks(content_type: str, body: bytes) -> None:
    for text in (content_type, f"multipart/form-data; {content_type}", "multipart/form-data; boundary=x"):
        try:
            assert isinstance(read_form(text, b"--x\r\n" + body), dict)
        except FormError:
            continue


async def test_a_submit_can_be_refused_in_a_body_that_says_so(sim: Simulator, api: httpx.AsyncClient) -> None:
    sim.force("refused_submit")
    answer = await api.post(f"{BASE}/generate", files=GOOD)
    assert (answer.status_code, answer.json()) == (200, {"success": False, "message": "Insufficient credits"})
    sim.force("refused_submit", value=400)
    assert (await api.post(f"{BASE}/generate", files=GOOD)).status_code == 400
    assert len(sim.jobs) == 0
    assert (await api.post(f"{BASE}/generate", files=GOOD)).json()["success"] is True


async def test_a_job_can_be_unknown_for_a_while() -> None:
    clock = SettableClock()
    async with Simulator(job_seconds=None, clock=clock) as sim, client(sim) as api:
        sim.force("late_job", value=30)
        job_id = (await api.post(f"{BASE}/generate", files=GOOD)).json()["data"]["jobId"]
        clock.time += 29
        assert (await api.get(f"{BASE}/jobs/{job_id}")).status_code == 404
        clock.time += 1
        assert (await status(api, job_id))["status"] == "PENDING"
