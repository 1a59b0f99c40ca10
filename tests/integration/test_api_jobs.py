"""Speech and jobs over the private API, with a provider behind it."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from receiver import Settings
from receiver.simulator import Simulator
from receiver.store import jobs, throttle_state
from tests.integration.api_support import Api, api, problem
from tests.integration.intake_support import configured
from tests.stores import Store, address_of, execute

pytestmark = [pytest.mark.anyio, pytest.mark.every_database]

SPEECH = {"source": "aitts", "text": "Hello world", "voice": "alloy"}


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with Simulator(job_seconds=None) as sim:
        yield sim
    assert sim.leaks == []


def at(sim: Simulator, provider: str, **more: Any) -> dict[str, Any]:
    """A source of the simulator's."""
    return {
        "provider": provider,
        "base_url": sim.base_urls[provider],
        "api_key": sim.api_keys[provider],
        "allow_private_addresses": True,
        "poll": {"requests_per_second": 1000},
        **({"signing_secrets": [sim.signing_secret]} if provider == "aitts" else {}),
        **more,
    }


@pytest.fixture
def settings(tmp_path: Path, store: Store, sim: Simulator) -> Settings:
    sources = {name: at(sim, name) for name in ("aitts", "finevoice")}
    sources["keyless"] = {"provider": "aitts", "signing_secrets": ["some_signing_secret_0123"]}
    return configured(tmp_path, sources=sources, handlers={}, store={"url": address_of(store)})


async def speak(client: Api, key: str | None = None, **more: Any) -> Any:
    """Submit speech."""
    headers = {} if key is None else {"idempotency_key": key}
    return await client.post("/v1/speech", SPEECH | more, **headers)


async def test_speech_is_submitted_and_its_job_answered(settings: Settings, sim: Simulator) -> None:
    async with api(settings) as client:
        answer = await speak(client, metadata={"episode": 7}, format="mp3")
        assert answer.status_code == 202
        job = answer.json()
        assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
        assert (job["state"], job["source"]) == ("watching", "aitts")
        assert job["request"] == {"text": "Hello world", "voice": "alloy", "format": "mp3", "metadata": {"episode": 7}}
        assert sim.jobs[job["job_id"]].submission.text == "Hello world"
        assert await client.json(answer.headers["location"]) == job


async def test_a_form_of_curl_is_read_as_json(settings: Settings) -> None:
    async with api(settings) as client:
        answer = await client.client.post(
            "/v1/speech",
            content=json.dumps(SPEECH),
            headers={"content-type": "application/x-www-form-urlencoded"},
        )
        assert answer.status_code == 202


async def test_the_same_key_with_the_same_body_is_the_same_job(settings: Settings) -> None:
    async with api(settings) as client:
        first = await speak(client, "the key of today")
        again = await speak(client, "the key of today")
        other = await speak(client, "another")
        assert (first.status_code, again.status_code, other.status_code) == (202, 200, 202)
        assert again.json()["id"] == first.json()["id"] != other.json()["id"]
        assert again.headers["location"] == first.headers["location"]
        answer = await speak(client, "the key of today", text="Something else")
        assert problem(answer) == (422, "idempotency_key_reused")
        answer = await speak(client, "the key of today", source="finevoice", voice="james")
        assert problem(answer) == (422, "idempotency_key_reused")
        assert len(client.up.rows("jobs")) == 2


@pytest.mark.parametrize("key", ["", "x" * 256, "tab\there", "caf\xe9"])
async def test_a_key_is_printable_ascii(settings: Settings, key: str) -> None:
    async with api(settings) as client:
        answer = await client.client.post(
            "/v1/speech", content=json.dumps(SPEECH), headers=[(b"idempotency-key", key.encode("latin-1"))]
        )
        assert problem(answer) == (400, "invalid_request")
        assert answer.json()["errors"][0]["where"] == "headers.Idempotency-Key"


async def test_what_the_provider_refuses_is_answered_with_its_refusal_and_the_job(settings: Settings) -> None:
    async with api(settings) as client:
        answer = await speak(client, voice="nobody-of-this-name")
        assert problem(answer) == (422, "provider_invalid")
        job = answer.json()["job"]
        assert (job["state"], job["job_id"], job["error_code"]) == ("failed", None, "provider_invalid")
        assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
        assert (await client.json(f"/v1/jobs/{job['id']}"))["state"] == "failed"


async def test_what_the_provider_would_refuse_is_refused_before_anything_is_stored(settings: Settings) -> None:
    async with api(settings) as client:
        assert problem(await speak(client, format="tape")) == (422, "provider_invalid")
        assert problem(await speak(client, source="keyless")) == (422, "no_api_access")
        assert problem(await speak(client, source="nobody")) == (404, "no_such_source")
        assert client.up.rows("jobs") == []


async def test_a_key_that_the_provider_refuses_is_not_the_callers_fault(tmp_path: Path, sim: Simulator) -> None:
    settings = configured(tmp_path, sources={"aitts": at(sim, "aitts", api_key="tts_wrong_key")}, handlers={})
    async with api(settings) as client:
        answer = await speak(client)
        assert problem(answer) == (502, "provider_unauthorized")
        assert "tts_wrong_key" not in answer.text


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"text": ""}, "body.text"),
        ({"text": None}, "body.text"),
        ({"voice": 7}, "body.voice"),
        ({"sample_rate": "24000"}, "body.sample_rate"),
        ({"sample_rate": 24000.5}, "body.sample_rate"),
        ({"speed": True}, "body.speed"),
        ({"metadata": []}, "body.metadata"),
        ({"txt": "Hello"}, "body.txt"),
    ],
)
async def test_a_body_that_is_wrong_is_answered_with_where(
    settings: Settings, change: dict[str, Any], where: str
) -> None:
    async with api(settings) as client:
        answer = await speak(client, **change)
        assert problem(answer) == (400, "invalid_request")
        assert [wrong["where"] for wrong in answer.json()["errors"]] == [where]


@pytest.mark.parametrize(
    ("body", "reason"),
    [(b"", "malformed_json"), (b"text=Hello", "malformed_json"), (b'{"speed": 1e999}', "malformed_json"),
     (b'{"text": "\\ud800"}', "malformed_json"), (b"[]", "not_an_object"), (b"\xff", "malformed_json"),
     (b"[" * 100_000, "malformed_json")],
)  # fmt: skip
async def test_a_body_that_is_no_json_object_is_refused(settings: Settings, body: bytes, reason: str) -> None:
    async with api(settings) as client:
        assert problem(await client.client.post("/v1/speech", content=body)) == (400, reason)


async def test_a_body_that_is_too_long_is_refused(tmp_path: Path, sim: Simulator) -> None:
    settings = configured(tmp_path, sources={"aitts": at(sim, "aitts")}, handlers={}, server={"max_body_bytes": 2048})
    async with api(settings) as client:
        assert problem(await speak(client, text="x" * 3000)) == (413, "too_large")


async def test_a_job_is_watched_once(settings: Settings) -> None:
    async with api(settings) as client:
        body = {"source": "aitts", "job_id": "made-elsewhere"}
        first, again = await client.post("/v1/jobs", body), await client.post("/v1/jobs", body)
        assert (first.status_code, again.status_code) == (201, 200)
        assert first.json()["id"] == again.json()["id"]
        assert first.json()["request"] is None
        assert (await client.get(first.headers["location"])).status_code == 200


async def test_what_cannot_be_watched_is_refused(settings: Settings) -> None:
    async with api(settings) as client:
        assert problem(await client.post("/v1/jobs", {"source": "keyless", "job_id": "1"})) == (422, "no_api_access")
        assert problem(await client.post("/v1/jobs", {"source": "nobody", "job_id": "1"})) == (404, "no_such_source")
        assert problem(await client.post("/v1/jobs", {"source": "aitts", "job_id": " 1"})) == (400, "invalid_request")
        assert problem(await client.post("/v1/jobs", {"source": "aitts"})) == (400, "invalid_request")


async def test_jobs_come_by_pages_and_are_found_by_source_and_state(settings: Settings) -> None:
    async with api(settings) as client:
        made = [(await speak(client)).json()["id"] for _ in range(3)]
        made.append((await speak(client, source="finevoice", voice="james")).json()["id"])
        await client.client.delete(f"/v1/jobs/{made[0]}")

        async def ids(query: str) -> list[str]:
            return [item["id"] for item in (await client.json(f"/v1/jobs?{query}"))["items"]]

        first = await client.json("/v1/jobs?limit=3")
        second = await client.json(f"/v1/jobs?limit=3&cursor={first['next']}")
        assert [item["id"] for page in (first, second) for item in page["items"]] == made[::-1]
        assert second["next"] is None
        assert await ids("source=finevoice") == made[3:]
        assert await ids("state=cancelled") == made[:1]
        assert await ids("source=aitts&state=watching") == made[2:0:-1]


async def test_a_cancelled_job_is_shown_with_its_state(settings: Settings) -> None:
    async with api(settings) as client:
        where = (await speak(client)).headers["location"]
        answer = await client.client.delete(where)
        assert (answer.status_code, answer.json()["state"]) == (200, "cancelled")
        assert (await client.json(where))["state"] == "cancelled"
        answer = await client.client.delete(where)
        assert problem(answer) == (409, "too_late")
        assert [item["state"] for item in (await client.json("/v1/jobs"))["items"]] == ["cancelled"]


async def test_a_job_that_has_ended_is_not_cancelled(settings: Settings) -> None:
    async with api(settings) as client:
        answer = await speak(client, voice="nobody-of-this-name")
        answer = await client.client.delete(answer.headers["location"])
        assert problem(answer) == (409, "too_late")
        assert answer.json()["job"]["state"] == "failed"


async def test_no_secret_is_in_a_jobs_error_or_request(settings: Settings, sim: Simulator) -> None:
    key = sim.api_keys["aitts"]
    async with api(settings) as client:
        where = (await speak(client, metadata={"key": key, "mine": "https://me.test/?id=1"})).headers["location"]
        sentence = f"Cannot connect to https://speech.test/tts?key=1 with {key}."
        execute(client.up.receiver.database, "UPDATE jobs SET error = :error", error=sentence)
        received = await client.json(where)
        assert key not in str(received)
        assert received["error"] == "Cannot connect to https://speech.test/tts?[redacted] with [redacted]."
        assert received["request"]["metadata"] == {"key": "[redacted]", "mine": "https://me.test/?id=1"}


async def test_a_job_that_is_not_there_is_not_found(settings: Settings) -> None:
    async with api(settings) as client:
        for id in ("job_" + "0" * 32, "made-elsewhere"):
            assert problem(await client.get(f"/v1/jobs/{id}")) == (404, "not_found")
            assert problem(await client.client.delete(f"/v1/jobs/{id}")) == (404, "not_found")


async def test_voices_are_asked_of_the_provider(settings: Settings) -> None:
    async with api(settings) as client:
        voices = (await client.json("/v1/voices?source=aitts"))["items"]
        assert "alloy" in [voice["id"] for voice in voices]
        assert set(voices[0]) == {"id", "name", "language", "gender", "model", "details"}
        received = {"provider": "google", "tier": "standard", "supports_ssml": True, "supports_multispeaker": False}
        assert voices[0]["details"] == received
        asked_for = (await client.json("/v1/voices?source=aitts&provider=openai"))["items"]
        assert [voice["id"] for voice in asked_for] == ["alloy"]
        assert (await client.json("/v1/voices?source=aitts&provider=nobody"))["items"] == []


async def test_voices_that_cannot_be_asked_for_are_refused_with_why(settings: Settings) -> None:
    async with api(settings) as client:
        assert problem(await client.get("/v1/voices?source=nobody")) == (404, "no_such_source")
        assert problem(await client.get("/v1/voices?source=keyless")) == (422, "provider_invalid")
        assert problem(await client.get("/v1/voices")) == (400, "invalid_request")


async def test_documented_voices_stand_in_for_a_list_and_are_named_where_they_cannot_be_filtered(
    tmp_path: Path, sim: Simulator
) -> None:
    sources = {name: at(sim, name) for name in ("miragic", "finevoice")}
    async with api(configured(tmp_path, sources=sources, handlers={})) as client:
        assert "alloy" in [voice["id"] for voice in (await client.json("/v1/voices?source=miragic"))["items"]]
        filtered = await client.get("/v1/voices?source=miragic&language=de")
        unknown = await client.get("/v1/voices?source=finevoice")
        assert problem(filtered) == problem(unknown) == (422, "provider_invalid")
        assert "known voices: alloy, " in filtered.json()["detail"]
        assert unknown.json()["detail"] == "finevoice has no list of voices; see the service's own pages."


async def test_a_source_that_is_to_be_left_alone_is_not_asked_for_voices(settings: Settings) -> None:
    async with api(settings) as client:
        now = time.time()
        await client.up.receiver.database.write(throttle_state.pause, "aitts", now + 300, "blocked_address", now)
        answer = await client.get("/v1/voices?source=aitts")
        assert problem(answer) == (429, "source_paused")
        assert "the source aitts is paused (blocked_address)" in answer.json()["detail"]
        assert 290 <= int(answer.headers["retry-after"]) <= 300


async def test_voices_are_asked_for_at_the_sources_pace(tmp_path: Path, sim: Simulator) -> None:
    source = at(sim, "aitts", poll={"requests_per_second": 0.05})
    async with api(configured(tmp_path, sources={"aitts": source}, handlers={})) as client:
        assert (await client.get("/v1/voices?source=aitts")).status_code == 200
        answer = await client.get("/v1/voices?source=aitts")
        assert problem(answer) == (429, "source_throttled")
        assert 15 <= int(answer.headers["retry-after"]) <= 21


async def test_a_provider_that_is_away_is_a_problem_of_the_way(tmp_path: Path, sim: Simulator) -> None:
    source = at(sim, "aitts", base_url="http://127.0.0.1:9")
    async with api(configured(tmp_path, sources={"aitts": source}, handlers={})) as client:
        assert problem(await client.get("/v1/voices?source=aitts")) == (502, "connect_failed")


@pytest.mark.parametrize("far", [float("inf"), 1e15])
async def test_a_job_without_an_end_in_any_calendar_is_listed_with_the_others(settings: Settings, far: float) -> None:
    """Such as one that was watched while `deadline_seconds` was `inf`: the whole page was a server error."""
    async with api(settings) as client:
        (known,) = [(await client.post("/v1/jobs", {"source": "aitts", "job_id": "known"})).json()]

        def watch(connection: Connection) -> None:
            jobs.watch(connection, f"job_{'f' * 32}", "aitts", "endless", time.time(), far, far)

        await client.up.receiver.database.write(watch)
        page = await client.json("/v1/jobs?limit=50")
        assert [job["job_id"] for job in page["items"]] == ["endless", "known"]
        assert page["items"][0]["deadline_at"] == page["items"][0]["due_at"] == "9999-12-31T23:59:59.999999Z"
        assert page["items"][1]["id"] == known["id"]
        assert await client.json(f"/v1/jobs/job_{'f' * 32}") == page["items"][0]
