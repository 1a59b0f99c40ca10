"""Services that are not built in, by configuration alone: two that push, one that is polled, and the real receiver."""

from __future__ import annotations

import base64
import hashlib
import hmac
import io
import json
import time
import wave
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from handlers.save_audio import save_audio
from receiver import Context, JobCompleted, JobFailed, OtherEvent, Settings, handler
from receiver.providers.types import Invalid, Speech
from receiver.simulator.serving import LoopServer
from tests.integration.engine_support import Signal, receiving
from tests.integration.intake_support import Lines, Running, configured, logged
from tests.recording import recorder
from tests.stores import query

pytestmark = pytest.mark.anyio

KEY = "voices_api_key_0123456789"
ELEVEN_SECRET = "wsec_0123456789abcdef0123456789abcdef"
STANDARD_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture
def lines() -> Iterator[Lines]:
    with logged(secrets=(KEY, ELEVEN_SECRET, STANDARD_SECRET)) as lines:
        yield lines


@handler(on=(JobFailed, OtherEvent))
def notes(event: JobFailed | OtherEvent, ctx: Context[Any]) -> str:
    return f"{event.code}: {event.message}" if isinstance(event, JobFailed) else event.type


def wav() -> bytes:
    """A tenth of a second of silence."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(8000)
        out.writeframes(bytes(1600))
    return file.getvalue()


class VoiceService:
    """A made-up service on a real port: jobs that are asked for, and files.

    Attributes:
        answers: what a job's status is next; the last one stays.
        keys: each request's path, and the `X-Voice-Key` that came with it.
        asked: how often each job was asked for.
    """

    def __init__(self) -> None:
        self.answers: dict[str, list[tuple[int, Any]]] = {}
        self.keys: list[tuple[str, str | None]] = []
        self.polls: Counter[str] = Counter()
        self.app = Starlette(routes=[Route("/v1/jobs/{id}", self._status), Route("/files/{name}", self._file)])

    async def _status(self, request: Request) -> Response:
        self.keys.append((request.url.path, request.headers.get("x-voice-key")))
        id = request.path_params["id"]
        self.polls[id] += 1
        left = self.answers.get(id, [(404, {"problem": {"text": "no such job"}})])
        status, body = left.pop(0) if len(left) > 1 else left[0]
        return JSONResponse(body, status)

    async def _file(self, request: Request) -> Response:
        self.keys.append((request.url.path, request.headers.get("x-voice-key")))
        return Response(wav(), media_type="audio/wav")


@pytest.fixture
async def service() -> AsyncIterator[tuple[VoiceService, str]]:
    made = VoiceService()
    async with LoopServer(made.app, "127.0.0.1", 0) as server:
        yield made, server.url


@pytest.fixture
async def elsewhere() -> AsyncIterator[tuple[VoiceService, str]]:
    """Another service, such as the one that files lie at."""
    made = VoiceService()
    async with LoopServer(made.app, "127.0.0.1", 0) as server:
        yield made, server.url


def polled(folder: Path, base_url: str, secrets: tuple[str, ...] = (), preset: str = "", **table: Any) -> Settings:
    """A source of the made-up service, as quick as it may be; `table` adds to its generic table."""
    generic = {
        "status": "job.state",
        "completed_words": ["finished"],
        "failed_words": ["broken"],
        "audio_url": "job.outputs",
        "error_code": "job.problem.code",
        "error_message": "job.problem.text",
        "metadata": "job.labels",
        "progress": "job.percent",
        "status_url": "/v1/jobs/{job_id}",
        "auth_header": "X-Voice-Key",
        "auth_prefix": "Key ",
        "min_poll_seconds": 0.01,
    }
    source = {
        "provider": "generic",
        "base_url": base_url,
        "api_key": KEY,
        "allow_private_addresses": True,
        "signing_secrets": list(secrets),
        "poll": {"first_seconds": 0, "max_seconds": 0.02, "requests_per_second": 1000},
        "generic": generic | table,
    }
    if preset:
        source["signature"] = {"preset": preset}
    return configured(folder, sources={"voices": source})


def pushed(folder: Path, secret: str, signature: dict[str, str], **table: Any) -> Settings:
    """A source that is only heard of by its webhooks."""
    source = {
        "provider": "generic",
        "signing_secrets": [secret],
        "allow_private_addresses": True,
        "signature": signature,
        "generic": table,
    }
    return configured(folder, sources={"voices": source})


def rows(settings: Settings, table: str) -> list[dict[str, Any]]:
    return query(settings.base / "data" / "receiver.db", f"SELECT * FROM {table}")


async def succeeded(lines: Lines, signal: Signal, runs: int) -> None:
    await signal.until(lambda: len(lines.of("run.succeeded")) == runs)


# ElevenLabs-style deliveries

ELEVEN: dict[str, Any] = {
    "event": "type",
    "job_id": "data.request_id",
    "status": "data.status",
    "completed_words": ["done"],
    "failed_words": ["failed"],
    "audio_url": "data.audio_url",
    "error_message": "data.failure_reason",
    "metadata": "data.metadata",
}


def eleven_body(status: str, **data: Any) -> bytes:
    body = {
        "type": "post_call_audio",
        "event_timestamp": 1739537297,
        "data": {"request_id": "req_0123", "status": status, **data},
    }
    return json.dumps(body).encode()


def eleven_headers(body: bytes, secret: str = ELEVEN_SECRET, at: int | None = None) -> dict[str, str]:
    """The sender's header, by the standard library."""
    t = int(time.time()) if at is None else at
    made = hmac.new(secret.encode(), f"{t}.".encode() + body, hashlib.sha256).hexdigest()
    return {"ElevenLabs-Signature": f"t={t},v0={made}"}


async def post(service: Running, body: bytes, headers: dict[str, str]) -> httpx.Response:
    return await service.client.post("/webhooks/voices", content=body, headers=headers)


async def test_an_elevenlabs_style_delivery_ends_the_job_and_its_audio_is_on_disk(
    tmp_path: Path, elsewhere: tuple[VoiceService, str], lines: Lines, signal: Signal
) -> None:
    files, url = elsewhere
    settings = pushed(tmp_path, ELEVEN_SECRET, {"preset": "elevenlabs"}, **ELEVEN)
    async with receiving(settings, save_audio, notes) as service:
        body = eleven_body("done", audio_url=f"{url}/files/a.wav", metadata={"chapter": 3})
        answer = await post(service, body, eleven_headers(body))
        assert (answer.status_code, answer.json()["status"]) == (202, "accepted")
        again = await post(service, body, eleven_headers(body))
        assert (again.status_code, again.json()["status"]) == (202, "duplicate")
        await succeeded(lines, signal, 1)
    [event], [artifact] = rows(settings, "events"), rows(settings, "artifacts")
    assert (event["type"], event["job_id"], event["origin"]) == ("job.completed", "req_0123", "webhook")
    assert event["payload"]["metadata"] == {"chapter": 3}
    assert Path(artifact["address"]).read_bytes() == wav()
    assert files.keys == [("/files/a.wav", None)]


async def test_an_elevenlabs_style_failure_and_another_event_reach_their_handlers(
    tmp_path: Path, lines: Lines, signal: Signal
) -> None:
    settings = pushed(tmp_path, ELEVEN_SECRET, {"preset": "elevenlabs"}, **ELEVEN)
    async with receiving(settings, notes) as service:
        body = eleven_body("failed", failure_reason="voice removed")
        assert (await post(service, body, eleven_headers(body))).status_code == 202
        other = json.dumps({"type": "voice_removal_notice", "data": {"voice_id": "v"}}).encode()
        assert (await post(service, other, eleven_headers(other))).status_code == 202
        await succeeded(lines, signal, 2)
    assert {event["type"]: event["job_id"] for event in rows(settings, "events")} == {
        "job.failed": "req_0123",
        "voice_removal_notice": None,
    }
    assert sorted(run["result"] for run in rows(settings, "runs")) == [
        ": voice removed",
        "voice_removal_notice",
    ]


async def test_what_the_secret_did_not_sign_is_refused_and_a_stale_one_is_kept_aside(tmp_path: Path) -> None:
    settings = pushed(tmp_path, ELEVEN_SECRET, {"preset": "elevenlabs"}, **ELEVEN)
    body = eleven_body("done")
    async with receiving(settings, notes) as service:
        assert (await post(service, body, {})).status_code == 401
        assert (await post(service, body, eleven_headers(body, "another"))).status_code == 401
        assert (await post(service, body + b" ", eleven_headers(body))).status_code == 401
        tts = {"X-TTS-Signature": eleven_headers(body)["ElevenLabs-Signature"].replace("v0=", "v1=")}
        assert (await post(service, body, tts)).status_code == 401
        stale = await post(service, body, eleven_headers(body, at=int(time.time()) - 3600))
        assert (stale.status_code, stale.json()["status"]) == (202, "quarantined")
    assert [event["status"] for event in rows(settings, "events")] == ["quarantined"]
    assert rows(settings, "runs") == []


# Standard Webhooks

STANDARD: dict[str, Any] = {
    "event": "type",
    "job_id": "data.prediction.id",
    "completed_words": ["prediction.succeeded"],
    "failed_words": ["prediction.failed", "prediction.canceled"],
    "audio_url": "data.prediction.output",
    "error_code": "data.prediction.error.code",
    "error_message": "data.prediction.error.message",
}


def standard_headers(body: bytes, id: str = "msg_1", secret: str = STANDARD_SECRET) -> dict[str, str]:
    """The sender's headers, by the specification and the standard library."""
    t = str(int(time.time()))
    key = base64.b64decode(secret.removeprefix("whsec_"))
    made = base64.b64encode(hmac.new(key, f"{id}.{t}.".encode() + body, hashlib.sha256).digest()).decode()
    return {"webhook-id": id, "webhook-timestamp": t, "webhook-signature": f"v1,{made}"}


def standard_body(word: str, **prediction: Any) -> bytes:
    body = {"type": word, "timestamp": "2026-11-02T10:00:00Z", "data": {"prediction": {"id": "p-1", **prediction}}}
    return json.dumps(body).encode()


async def test_standard_webhooks_deliveries_end_jobs_by_their_event_word(
    tmp_path: Path, elsewhere: tuple[VoiceService, str], lines: Lines, signal: Signal
) -> None:
    _, url = elsewhere
    settings = pushed(tmp_path, STANDARD_SECRET, {"preset": "standard-webhooks"}, **STANDARD)
    async with receiving(settings, save_audio, notes) as service:
        done = standard_body("prediction.succeeded", output=[f"{url}/files/0.wav", f"{url}/files/1.wav"])
        assert (await post(service, done, standard_headers(done))).status_code == 202
        failed = standard_body("prediction.canceled", id="p-2", error={"code": "CANCELED", "message": "By hand."})
        assert (await post(service, failed, standard_headers(failed, "msg_2"))).status_code == 202
        await succeeded(lines, signal, 2)
    assert {event["job_id"]: event["type"] for event in rows(settings, "events")} == {
        "p-1": "job.completed",
        "p-2": "job.failed",
    }
    assert "CANCELED: By hand." in [run["result"] for run in rows(settings, "runs")]
    assert all(Path(artifact["address"]).read_bytes() == wav() for artifact in rows(settings, "artifacts"))


async def test_the_signed_id_tells_two_other_events_with_one_body_apart(tmp_path: Path) -> None:
    settings = pushed(tmp_path, STANDARD_SECRET, {"preset": "standard-webhooks"}, **STANDARD)
    body = json.dumps({"type": "account.low", "data": {}}).encode()
    async with receiving(settings, notes) as service:
        outcomes = [(await post(service, body, standard_headers(body, id))).json()["status"] for id in ("a", "b", "a")]
    assert outcomes == ["accepted", "accepted", "duplicate"]
    assert sorted(event["key"] for event in rows(settings, "events")) == ["a", "b"]


async def test_an_id_in_the_signed_body_makes_a_retry_with_another_body_a_duplicate(tmp_path: Path) -> None:
    settings = pushed(tmp_path, ELEVEN_SECRET, {"preset": "elevenlabs"}, **{**ELEVEN, "event_id": "event.id"})
    async with receiving(settings, notes) as service:
        outcomes = []
        for id, attempt in (("evt_1", 1), ("evt_1", 2), ("evt_2", 1), (None, 1), (None, 2)):
            body = json.dumps({"type": "account.low", "event": {"id": id}, "attempt": attempt}).encode()
            outcomes.append((await post(service, body, eleven_headers(body))).json()["status"])
    assert outcomes == ["accepted", "duplicate", "accepted", "accepted", "accepted"]
    kept = {event["key"]: event["duplicates"] for event in rows(settings, "events")}
    assert (kept["evt_1"], kept["evt_2"], len(kept)) == (1, 0, 4)


async def test_a_published_vector_is_authentic_and_kept_aside_for_its_age(tmp_path: Path) -> None:
    """Of the Standard Webhooks libraries: secret, headers and body."""
    settings = pushed(tmp_path, STANDARD_SECRET, {"preset": "standard-webhooks"}, **{**STANDARD, "event": "test"})
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    async with receiving(settings, notes) as service:
        answer = await post(service, b'{"test": 2432232314}', headers)
        assert (answer.status_code, answer.json()["status"]) == (202, "quarantined")
        assert (await post(service, b'{"test": 2432232315}', headers)).status_code == 401
    [event] = rows(settings, "events")
    assert (event["type"], event["key"]) == ("2432232314", "msg_p5jXN8AQM9LWM0D4loKWxJek")


async def test_a_header_of_ones_own_can_carry_the_signature(tmp_path: Path) -> None:
    signature = {"preset": "stripe", "header": "Voices-Signature"}
    settings = pushed(tmp_path, ELEVEN_SECRET, signature, **ELEVEN)
    body = eleven_body("done")
    value = eleven_headers(body)["ElevenLabs-Signature"].replace("v0=", "v1=")
    async with receiving(settings, notes) as service:
        assert (await post(service, body, {"Voices-Signature": value})).status_code == 202
        assert (await post(service, body, {"ElevenLabs-Signature": value})).status_code == 401


# a polled API


async def test_a_polled_job_runs_completes_and_its_audio_is_on_disk(
    tmp_path: Path,
    service: tuple[VoiceService, str],
    elsewhere: tuple[VoiceService, str],
    lines: Lines,
    signal: Signal,
) -> None:
    api, url = service
    files, files_url = elsewhere
    job = {"id": "j-1", "labels": {"chapter": 3}}
    api.answers["j-1"] = [
        (200, {"job": {**job, "state": "queued"}}),
        (503, {"problem": {"text": "later"}}),
        (200, {"job": {**job, "state": "working", "percent": 60}}),
        (200, {"job": {**job, "state": "finished", "outputs": [f"{files_url}/files/a.wav"]}}),
    ]
    settings = polled(tmp_path, url, audio_needs_key=True)
    async with receiving(settings, save_audio, notes) as running:
        await running.receiver.jobs.watch(recorder(), "voices", "j-1")
        await succeeded(lines, signal, 1)
    [event], [row], [artifact] = rows(settings, "events"), rows(settings, "jobs"), rows(settings, "artifacts")
    assert (event["type"], event["origin"], event["job_id"]) == ("job.completed", "poll", "j-1")
    assert (row["state"], row["progress"]) == ("completed", 60)
    assert event["payload"]["metadata"] == {"chapter": 3}
    assert Path(artifact["address"]).read_bytes() == wav()
    assert api.polls["j-1"] == 4
    assert set(api.keys) == {("/v1/jobs/j-1", f"Key {KEY}")}
    assert files.keys == [("/files/a.wav", None)]  # another origin does not get the key
    assert KEY not in lines.text


async def test_audio_at_the_services_own_origin_is_fetched_with_the_key_if_it_needs_it(
    tmp_path: Path, service: tuple[VoiceService, str], lines: Lines, signal: Signal
) -> None:
    api, url = service
    api.answers["j-1"] = [(200, {"job": {"state": "Finished", "outputs": f"{url}/files/a.wav"}})]
    settings = polled(tmp_path, url, audio_needs_key=True)
    async with receiving(settings, save_audio) as running:
        await running.receiver.jobs.watch(recorder(), "voices", "j-1")
        await succeeded(lines, signal, 1)
    assert api.keys[-1] == ("/files/a.wav", f"Key {KEY}")
    [artifact] = rows(settings, "artifacts")
    assert Path(artifact["address"]).read_bytes() == wav()


async def test_a_path_instead_of_an_address_is_one_at_the_service(
    tmp_path: Path, service: tuple[VoiceService, str], lines: Lines, signal: Signal
) -> None:
    api, url = service
    api.answers["j-1"] = [(200, {"job": {"state": "finished", "outputs": "/files/a.wav"}})]
    async with receiving(polled(tmp_path, url), save_audio) as running:
        await running.receiver.jobs.watch(recorder(), "voices", "j-1")
        await succeeded(lines, signal, 1)
        [artifact] = running.rows("artifacts")
    assert Path(artifact["address"]).read_bytes() == wav()


@pytest.mark.parametrize("address", ["ftp://files.example/a.wav", "data:audio/wav;base64,UklGRg==", "a.wav"])
async def test_audio_at_an_address_that_cannot_be_used_is_not_taken_for_no_audio(
    tmp_path: Path, service: tuple[VoiceService, str], lines: Lines, signal: Signal, address: str
) -> None:
    api, url = service
    api.answers["j-1"] = [(200, {"job": {"state": "finished", "outputs": address}})]
    async with receiving(polled(tmp_path, url), save_audio) as running:
        await running.receiver.jobs.watch(recorder(), "voices", "j-1")
        await signal.until(lambda: len(lines.of("run.dead")) == 1)
    [line] = lines.of("run.dead")
    assert "address of the audio cannot be used" in line["error"]
    assert address[:20] in line["error"]


async def test_a_handler_is_given_the_whole_answer_or_delivery_beside_the_mapped_fields(
    tmp_path: Path, service: tuple[VoiceService, str], lines: Lines, signal: Signal
) -> None:
    @handler(on=JobCompleted)
    def account(event: JobCompleted, ctx: Context[Any]) -> dict[str, Any]:
        return {"origin": event.origin, "body": event.body, "mapped": sorted(event.payload)}

    api, url = service
    polled_body = {"job": {"state": "finished", "creditsUsed": 3}, "odd": [{"unknown": None}]}
    api.answers["j-1"] = [(200, polled_body)]
    sent = {"type": "speech", "data": {"job": {"id": "j-2", "state": "finished"}}, "chars_charged": 42}
    body = json.dumps(sent).encode()
    table = {
        "preset": "elevenlabs",
        "event": "type",
        "job_id": "data.job.id",
        "status": ["data.job.state", "job.state"],
    }
    async with receiving(polled(tmp_path, url, (ELEVEN_SECRET,), **table), account) as running:
        await running.receiver.jobs.watch(recorder(), "voices", "j-1")
        assert (await post(running, body, eleven_headers(body))).status_code == 202
        await succeeded(lines, signal, 2)
    # A line is written before its row: the rows are read after the stop.
    results = [run["result"] for run in running.rows("runs")]
    assert sorted(results, key=lambda result: str(result["origin"])) == [
        {"origin": "poll", "body": polled_body, "mapped": ["status"]},
        {"origin": "webhook", "body": sent, "mapped": ["status"]},
    ]


async def test_a_polled_job_that_fails_says_why_and_one_that_is_not_known_is_given_up(
    tmp_path: Path, service: tuple[VoiceService, str], lines: Lines, signal: Signal
) -> None:
    api, url = service
    problem = {"code": "TEXT_TOO_LONG", "text": "The text is too long."}
    api.answers["j-1"] = [(200, {"job": {"state": "broken", "problem": problem}})]
    settings = polled(tmp_path, url)
    async with receiving(settings, notes) as running:
        await running.receiver.jobs.watch(recorder(), "voices", "j-1")
        await running.receiver.jobs.watch(recorder(), "voices", "gone")
        await succeeded(lines, signal, 2)
    results = sorted(run["result"] for run in rows(settings, "runs"))
    assert results[1] == "TEXT_TOO_LONG: The text is too long."
    assert results[0].startswith("JOB_UNKNOWN: ")
    assert {row["job_id"]: row["state"] for row in rows(settings, "jobs")} == {"j-1": "failed", "gone": "expired"}
    assert api.polls == {"j-1": 1, "gone": 5}


async def test_a_submit_is_refused_in_words_and_nothing_is_stored(
    tmp_path: Path, service: tuple[VoiceService, str]
) -> None:
    api, url = service
    settings = polled(tmp_path, url)
    async with receiving(settings, notes) as running:
        with pytest.raises(Invalid, match="cannot be submitted"):
            await running.receiver.jobs.submit(recorder(), "voices", Speech(text="Hello", voice="v"))
    assert rows(settings, "jobs") == []
    assert api.keys == []


async def test_whichever_comes_first_makes_the_event_and_the_other_is_a_duplicate(
    tmp_path: Path, service: tuple[VoiceService, str], lines: Lines, signal: Signal
) -> None:
    api, url = service
    api.answers["j-1"] = [(200, {"job": {"id": "j-1", "state": "finished"}})]
    settings = polled(
        tmp_path,
        url,
        (ELEVEN_SECRET,),
        preset="elevenlabs",
        event="type",
        job_id="data.job.id",
        status=["data.job.state", "job.state"],
    )
    async with receiving(settings, notes) as running:
        await running.receiver.jobs.watch(recorder(), "voices", "j-1")
        await signal.until(lambda: lines.of("job.ended"))
        body = json.dumps({"type": "speech", "data": {"job": {"id": "j-1", "state": "finished"}}}).encode()
        answer = await post(running, body, eleven_headers(body))
        assert (answer.status_code, answer.json()["status"]) == (202, "duplicate")
    [event] = rows(settings, "events")
    assert (event["origin"], event["duplicates"], event["conflict"]) == ("poll", 1, None)
