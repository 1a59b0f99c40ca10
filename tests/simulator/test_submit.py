"""Submitting, its errors, safe retries and the rate limit, over real HTTP."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import httpx
import pytest

from receiver.simulator import Simulator

from .conftest import SettableClock

pytestmark = pytest.mark.anyio
ClientOf = Callable[[Simulator], AbstractAsyncContextManager[httpx.AsyncClient]]
TTS = "/api/v1/tts"
GOOD = {"text": "Hello", "voice_id": "alloy"}


async def test_a_submit_is_answered_202_with_the_documented_fields(sim: Simulator, api: httpx.AsyncClient) -> None:
    answer = await api.post(TTS, json=GOOD)
    assert answer.status_code == 202
    body = answer.json()
    job_id = body["data"]["job_id"]
    assert body == {
        "success": True,
        "data": {
            "job_id": job_id,
            "status": "pending",
            "poll_url": f"{sim.base_url}/api/v1/tts/{job_id}",
            "audio_endpoint": f"{sim.base_url}/api/v1/tts/{job_id}/audio",
            "chars_charged": 5,
        },
    }


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"text": ""}, "VALIDATION_ERROR"),
        ({"text": 5}, "VALIDATION_ERROR"),
        ({"voice_id": None}, "VALIDATION_ERROR"),
        ({"voice_id": "nobody"}, "INVALID_VOICE"),
        ({"output_format": "flac"}, "VALIDATION_ERROR"),
        ({"output_format": ["wav"]}, "VALIDATION_ERROR"),
        ({"sample_rate_hertz": 11025}, "VALIDATION_ERROR"),
        ({"output_format": "ogg_opus", "sample_rate_hertz": 44100}, "VALIDATION_ERROR"),
        ({"output_format": "mp3", "output_bitrate_kbps": 31}, "VALIDATION_ERROR"),
        ({"output_format": "ogg_opus", "output_bitrate_kbps": 5}, "VALIDATION_ERROR"),
        ({"output_format": "mp3", "output_bitrate_kbps": 321}, "VALIDATION_ERROR"),
        ({"speed": "fast"}, "VALIDATION_ERROR"),
        ({"webhook_url": "http://example.com/"}, "VALIDATION_ERROR"),
    ],
)
async def test_a_bad_field_is_answered_400(api: httpx.AsyncClient, change: dict[str, object], code: str) -> None:
    answer = await api.post(TTS, json=GOOD | change)
    assert answer.status_code == 400
    assert answer.json()["success"] is False
    assert answer.json()["error"]["code"] == code


@pytest.mark.parametrize(
    "change",
    [
        {"output_format": "mp3", "output_bitrate_kbps": 32, "sample_rate_hertz": 44100},
        {"output_format": "ogg_opus", "output_bitrate_kbps": 6, "sample_rate_hertz": 48000},
        {"output_format": "wav", "sample_rate_hertz": 12000, "speed": 1.5, "unknown": True},
    ],
)
async def test_what_is_documented_is_accepted(api: httpx.AsyncClient, change: dict[str, object]) -> None:
    assert (await api.post(TTS, json=GOOD | change)).status_code == 202


async def test_the_older_name_of_voice_id_is_accepted(api: httpx.AsyncClient) -> None:
    assert (await api.post(TTS, json={"text": "Hi", "voice": "alloy"})).status_code == 202


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b"[" * 100_000])
async def test_a_body_that_is_no_json_object_is_answered_400(api: httpx.AsyncClient, body: bytes) -> None:
    assert (await api.post(TTS, content=body)).json()["error"]["code"] == "VALIDATION_ERROR"


async def test_a_wrong_key_is_answered_401(api: httpx.AsyncClient) -> None:
    for value in ("Bearer wrong", "", "Basic x"):
        answer = await api.post(TTS, json=GOOD, headers={"Authorization": value})
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "UNAUTHORIZED")


async def test_an_empty_account_is_answered_402(sim: Simulator, api: httpx.AsyncClient) -> None:
    sim.account.credits = 7
    assert (await api.post(TTS, json=GOOD)).status_code == 202
    answer = await api.post(TTS, json=GOOD)
    assert (answer.status_code, answer.json()["error"]["code"]) == (402, "INSUFFICIENT_CREDITS")


async def test_the_same_key_and_body_get_the_same_answer_and_one_job(sim: Simulator, api: httpx.AsyncClient) -> None:
    key = {"Idempotency-Key": str(uuid.uuid4())}
    first = await api.post(TTS, json=GOOD, headers=key)
    second = await api.post(TTS, json=dict(reversed(GOOD.items())), headers=key)
    assert (second.status_code, second.json()) == (202, first.json())
    assert len(sim.jobs) == 1


async def test_the_same_key_with_another_body_is_a_conflict(api: httpx.AsyncClient) -> None:
    key = {"Idempotency-Key": str(uuid.uuid4())}
    await api.post(TTS, json=GOOD, headers=key)
    answer = await api.post(TTS, json=GOOD | {"text": "Other"}, headers=key)
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "IDEMPOTENCY_KEY_REUSE")


async def test_a_key_whose_first_request_is_running_is_a_conflict(sim: Simulator, api: httpx.AsyncClient) -> None:
    key = {"Idempotency-Key": str(uuid.uuid4())}
    with sim.hold_submits():
        first = asyncio.create_task(api.post(TTS, json=GOOD, headers=key))
        await sim.wait_until(lambda: sim.requests["submit"] == 1)
        second = await api.post(TTS, json=GOOD, headers=key)
    assert (second.status_code, second.json()["error"]["code"]) == (409, "REQUEST_IN_PROGRESS")
    assert (await first).status_code == 202


async def test_a_key_that_is_no_uuid4_is_answered_400(api: httpx.AsyncClient) -> None:
    for key in ("abc", str(uuid.uuid1())):
        answer = await api.post(TTS, json=GOOD, headers={"Idempotency-Key": key})
        assert answer.json()["error"]["code"] == "VALIDATION_ERROR"


async def test_a_refused_submit_leaves_its_key_free(api: httpx.AsyncClient) -> None:
    key = {"Idempotency-Key": str(uuid.uuid4())}
    assert (await api.post(TTS, json={"text": ""}, headers=key)).status_code == 400
    assert (await api.post(TTS, json=GOOD, headers=key)).status_code == 202


async def test_a_lost_answer_can_be_asked_for_again_with_its_key(sim: Simulator, api: httpx.AsyncClient) -> None:
    key = {"Idempotency-Key": str(uuid.uuid4())}
    sim.force("lost_answer")
    with pytest.raises(httpx.RemoteProtocolError):
        await api.post(TTS, json=GOOD, headers=key)
    answer = await api.post(TTS, json=GOOD, headers=key)
    assert answer.json()["data"]["job_id"] == next(iter(sim.jobs)).id
    assert len(sim.jobs) == 1


async def test_the_answer_to_a_submit_can_be_late_when_its_job_is_made(sim: Simulator, api: httpx.AsyncClient) -> None:
    sim.force("slow_submit", value=600)
    submitting = asyncio.create_task(api.post(TTS, json=GOOD))
    await sim.wait_until(lambda: sim.injected["slow_submit"] == 1)
    assert len(sim.jobs) == 1
    assert not submitting.done()
    submitting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await submitting


async def test_every_answer_tells_the_rate_limit_and_one_too_many_is_429(
    client_of: ClientOf,
) -> None:
    clock = SettableClock(1000.0)
    async with (
        Simulator(rate_limit=2, rate_window=900.0, clock=clock) as sim,
        client_of(sim) as api,
    ):
        left = [(await api.get("/api/v1/voices")).headers for _ in range(2)]
        assert [h["X-RateLimit-Remaining"] for h in left] == ["1", "0"]
        assert [h["X-RateLimit-Limit"] for h in left] == ["2", "2"]
        assert left[0]["X-RateLimit-Reset"] == "1900"
        assert left[0]["X-RateLimit-Bucket"]
        clock.time = 1890.0
        refused = await api.get("/api/v1/voices")
        assert refused.status_code == 429
        assert refused.headers["Retry-After"] == "10"
        clock.time = 1900.0
        assert (await api.get("/api/v1/voices")).status_code == 200


@pytest.mark.parametrize(
    ("fault", "value", "status", "code", "retry_after"),
    [
        ("error_429", 3, 429, "RATE_LIMIT_EXCEEDED", "3"),
        ("error_500", None, 500, "GENERATION_FAILED", None),
        ("error_503", None, 503, "MAINTENANCE", "300"),
    ],
)
async def test_a_forced_error_happens_as_often_as_asked_where_asked(
    sim: Simulator,
    api: httpx.AsyncClient,
    fault: str,
    value: float | None,
    status: int,
    code: str,
    retry_after: str | None,
) -> None:
    sim.force(fault, times=2, value=value, at="submit")
    assert (await api.get("/api/v1/voices")).status_code == 200
    for _ in range(2):
        answer = await api.post(TTS, json=GOOD)
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
        assert answer.headers.get("Retry-After") == retry_after
        assert "X-RateLimit-Limit" in answer.headers
    assert (await api.post(TTS, json=GOOD)).status_code == 202


async def test_voices_can_be_filtered(api: httpx.AsyncClient) -> None:
    everyone = (await api.get("/api/v1/voices")).json()["data"]["voices"]
    found = await api.get("/api/v1/voices?language=en-us&gender=male&provider=&model_type=neural")
    assert [v["voice_id"] for v in found.json()["data"]["voices"]] == ["en-US-Neural2-D"]
    assert len(everyone) > 3
    found = await api.get("/api/v1/voices?provider=OpenAI")
    assert [v["voice_id"] for v in found.json()["data"]["voices"]] == ["alloy"]


async def test_the_same_seed_gives_the_same_ids_secrets_and_luck() -> None:
    async def story(seed: int) -> str:
        async with Simulator(seed) as sim:
            ids = [await sim.submit("a"), await sim.submit("b")]
            return json.dumps([ids, sim.signing_secret, [sim.jobs.jitter(j) for j in sim.jobs]])

    assert await story(3) == await story(3)
    assert await story(3) != await story(4)
