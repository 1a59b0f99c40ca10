"""Answers of the simulated providers to a submit that are no job, and to the first questions about one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from receiver.simulator import Simulator
from tests.integration.api_support import api, problem
from tests.integration.intake_support import configured
from tests.integration.test_api_jobs import at, speak

pytestmark = pytest.mark.anyio

VOICES = {"aitts": "alloy", "audixa": "am_ethan", "finevoice": "james", "miragic": "alloy"}
PROVIDERS = sorted(VOICES)


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with Simulator(job_seconds=0.01, audixa_poll_seconds=None) as sim:
        yield sim


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_submit_that_cannot_be_paid_for_has_failed(tmp_path: Path, sim: Simulator, provider: str) -> None:
    sim.force("refused_submit")
    async with api(configured(tmp_path, sources={provider: at(sim, provider)}, handlers={})) as client:
        answer = await speak(client, source=provider, voice=VOICES[provider])
        refusal = {"miragic": (422, "provider_refused")}.get(provider, (402, "provider_credits"))
        assert problem(answer) == refusal
        job = answer.json()["job"]
        assert (job["state"], job["error_code"]) == ("failed", refusal[1])
        assert "Insufficient credits" in job["error"]
    assert len(sim.jobs) == 0
    assert sim.requests[f"{provider}.submit"] == 1


async def test_a_submit_that_breaks_twice_has_failed(tmp_path: Path, sim: Simulator) -> None:
    sim.force("error_500", 10, at="aitts.submit")
    async with api(configured(tmp_path, sources={"aitts": at(sim, "aitts")}, handlers={})) as client:
        answer = (await speak(client)).json()  # a problem, or the job where the second try takes longer
        id_ = answer.get("job", answer)["id"]
        await client.up.receiver.jobs.wait_until_ended(id_, 60)
        job = await client.json(f"/v1/jobs/{id_}")
        assert (job["state"], job["error_code"]) == ("failed", "provider_generation_failed")
        assert "GENERATION_FAILED" in job["error"]
    assert sim.requests["aitts.submit"] == 2


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_job_that_is_not_known_at_once_completes(tmp_path: Path, sim: Simulator, provider: str) -> None:
    sim.force("late_job", value=2)
    poll = {"requests_per_second": 1000, "first_seconds": 0}
    source = at(sim, provider, poll=poll, signing_secrets=[])
    async with api(configured(tmp_path, sources={provider: source}, handlers={})) as client:
        answer = await speak(client, source=provider, voice=VOICES[provider])
        assert answer.status_code == 202, answer.text
        id_ = answer.json()["id"]
        await client.up.receiver.jobs.wait_until_ended(id_, 60)
        job = await client.json(f"/v1/jobs/{id_}")
        assert job["state"] == "completed"
        assert job["polls"] > 1
