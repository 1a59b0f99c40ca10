"""Options and the idempotency key of `POST /v1/speech`, as far as the provider."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from receiver import Settings
from receiver.simulator import Simulator
from tests.integration.api_support import api, problem
from tests.integration.intake_support import Lines, configured
from tests.integration.test_api_jobs import at, speak
from tests.stores import Store, address_of

pytestmark = [pytest.mark.anyio, pytest.mark.every_database]

VOICES = {"aitts": "alloy", "audixa": "am_ethan", "finevoice": "james", "miragic": "alloy"}


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with Simulator(job_seconds=None) as sim:
        yield sim


@pytest.fixture
def settings(tmp_path: Path, store: Store, sim: Simulator) -> Settings:
    sources = {name: at(sim, name) for name in VOICES}
    return configured(tmp_path, sources=sources, handlers={}, store={"url": address_of(store)})


@pytest.mark.parametrize("source", VOICES)
async def test_options_reach_the_provider_and_are_seen_in_the_job(
    settings: Settings, sim: Simulator, source: str
) -> None:
    options = {"style": "calm", "seed": 7, "tuning": {"breaks": [1, 2]}, "ssml": True}
    async with api(settings) as client:
        answer = await speak(client, source=source, voice=VOICES[source], options=options)
        assert answer.status_code == 202, answer.text
        job = answer.json()
        assert job["request"]["options"] == options
        assert (await client.json(f"/v1/jobs/{job['id']}"))["request"]["options"] == options
        texts = {"style": "calm", "seed": "7", "tuning": '{"breaks": [1, 2]}', "ssml": "true"}
        assert sim.jobs[job["job_id"]].submission.parameters == (texts if source == "miragic" else options)
        [entry] = (await client.json("/v1/changes"))["items"]
        assert entry["filter"]["options"] == sorted(options)


@pytest.mark.parametrize(
    "options",
    [{"voice": "x"}, {"voice_id": "x"}, {"WEBHOOK_URL": "https://x.example"}, {"output_format": "mp3"}, {"": 1},
     {"metadata": {}}, {"a" * 65: 1}, {"a": "x" * 20_000}, {f"a{n}": n for n in range(51)}],
)  # fmt: skip
async def test_options_that_cannot_be_sent_are_refused_before_anything_is_stored(
    settings: Settings, sim: Simulator, options: dict[str, Any]
) -> None:
    async with api(settings) as client:
        for more in ({}, {"stream": True}):
            assert problem(await speak(client, options=options, **more)) == (422, "provider_invalid"), more
        assert client.up.rows("jobs") == []
    assert not any(name.startswith("aitts.") for name in sim.requests), sim.requests


@pytest.mark.parametrize("options", ["fast", 7, [], True])
async def test_options_are_an_object(settings: Settings, options: Any) -> None:
    async with api(settings) as client:
        answer = await speak(client, options=options)
        assert problem(answer) == (400, "invalid_request")
        assert answer.json()["errors"][0]["where"] == "body.options"


async def test_the_same_key_with_other_options_is_refused(settings: Settings, sim: Simulator) -> None:
    async with api(settings) as client:
        first = await speak(client, "mine", options={"seed": 1})
        assert (await speak(client, "mine", options={"seed": 1})).json()["id"] == first.json()["id"]
        for other in ({"options": {"seed": True}}, {"options": {"seed": 2}}, {"options": {}}, {}):
            assert problem(await speak(client, "mine", **other)) == (422, "idempotency_key_reused")
    assert sim.requests["aitts.submit"] == 1


async def test_no_options_and_an_empty_object_are_the_same_request(settings: Settings) -> None:
    async with api(settings) as client:
        first = await speak(client, "mine")
        again = await speak(client, "mine", options={})
        assert (again.status_code, again.json()["id"]) == (200, first.json()["id"])
        assert "options" not in first.json()["request"]


async def test_a_uuid_is_also_the_providers_key_and_for_any_other_text_it_gets_a_uuid(
    settings: Settings, sim: Simulator
) -> None:
    mine = str(uuid.uuid4())
    async with api(settings) as client:
        assert (await speak(client, mine)).status_code == 202
        assert (await speak(client, "order-42")).status_code == 202
        rows = {row["client_key"]: row["submit_key"] for row in client.up.rows("jobs")}
    assert sim.idempotency_keys == [mine, rows["order-42"]]
    assert uuid.UUID(rows["order-42"]).version == 4


async def test_a_secret_among_the_options_is_not_shown(settings: Settings, sim: Simulator, lines: Lines) -> None:
    async with api(settings) as client:
        answer = await speak(client, options={"vendor_api_key": "sk_live_51Hqk7Zz", "seed": 7})
        assert answer.json()["request"]["options"] == {"vendor_api_key": "[redacted]", "seed": 7}
        listed = (await client.client.get("/v1/jobs")).text + (await client.client.get("/v1/changes")).text
        assert "sk_live" not in answer.text + listed
    assert sim.jobs[answer.json()["job_id"]].submission.parameters["vendor_api_key"] == "sk_live_51Hqk7Zz"
    assert "sk_live" not in lines.text
