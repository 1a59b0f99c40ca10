"""The API of `aitts` under /api/v1: submit, stream, status, durable audio, voices.

Written from the provider's documentation. What it leaves open is marked "not documented".
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from .envelope import (
    ApiError,
    generation_failed,
    insufficient_credits,
    maintenance,
    not_found,
    rate_limited,
    success,
    unauthorized,
)
from .idempotency import IdempotencyStore
from .jobs import AITTS, Job, JobState
from .response_faults import apply_response_faults, delay_response, hide_new_job, status_text
from .responses import drop_connection
from .signing import iso
from .state import SimulatorState
from .streams import Streams, refuse_bitrate
from .submissions import read_object, read_submission
from .voices import filter_voices

Endpoint = Callable[[Request], Awaitable[ASGIApp]]
PRIVATE_ADDRESSES = (
    "http://10.0.0.1/audio.wav",
    "http://169.254.169.254/computeMetadata/v1/",
)


class Aitts:
    """The endpoints for one account. `on_submit` is called with each new job."""

    def __init__(self, state: SimulatorState, on_submit: Callable[[Job], None], streams: Streams) -> None:
        self._state = state
        self._streams = streams
        self._on_submit = on_submit
        self._idempotency = IdempotencyStore()
        self._gate = asyncio.Event()
        self._gate.set()

    def routes(self) -> list[Route]:
        """The routes of the API's origin."""
        job = "/api/v1/tts/{job_id}"
        return [
            Route("/api/v1/tts", self._wrap("submit", self._submit), methods=["POST"]),
            Route("/api/v1/tts/stream", self._wrap("stream", self._stream), methods=["POST"]),
            Route(job, self._wrap("status", self._status)),
            Route(f"{job}/audio", self._wrap("audio", self._audio)),
            Route("/api/v1/voices", self._wrap("voices", self._voices)),
        ]

    @contextlib.contextmanager
    def hold_submits(self) -> Iterator[None]:
        """Inside the block, submits are received and not answered."""
        self._gate.clear()
        try:
            yield
        finally:
            self._gate.set()

    def _wrap(self, name: str, endpoint: Endpoint) -> Endpoint:
        """Add injected errors, authentication and the rate limit with its headers to an endpoint."""

        async def wrapped(request: Request) -> ASGIApp:
            state, job_id = self._state, request.path_params.get("job_id", "")
            at, limit = f"{AITTS}.{name}", state.limit_of(name)
            state.count_request(name, job_id, provider=AITTS)
            response: ASGIApp
            try:
                self._inject_error(at, job_id)
                if name not in state.settings.public_endpoints:
                    self._authenticate(request)
                if not limit.take(state.now()):
                    raise rate_limited(limit.seconds_left(state.now()))
                response = await endpoint(request)
            except ApiError as error:
                response = error.response()
            except ClientDisconnect:
                response = drop_connection
            if isinstance(response, Response):
                response.headers.update(limit.headers(state.now()))
                if response.status_code == 429:
                    response.headers["X-RateLimit-Remaining"] = "0"
            return await apply_response_faults(state, response, at=at, job_id=job_id) if name == "status" else response

        return wrapped

    def _inject_error(self, at: str, job_id: str) -> None:
        state = self._state
        if fault := state.injector.trigger("error_503", at=at, job_id=job_id):
            raise maintenance(int(fault.number(state.settings.maintenance_retry_after)))
        if state.injector.trigger("error_500", at=at, job_id=job_id):
            raise generation_failed()
        if fault := state.injector.trigger("error_429", at=at, job_id=job_id):
            raise rate_limited(int(fault.number(state.limit.seconds_left(state.now()))))
        if at.endswith((".submit", ".stream")) and (fault := state.injector.trigger("refused_submit", at=at)):
            raise insufficient_credits(int(fault.number(402)))

    def _authenticate(self, request: Request) -> None:
        authorization = request.headers.get("authorization", "").encode()
        if not hmac.compare_digest(authorization, f"Bearer {self._state.account.api_key}".encode()):
            raise unauthorized()

    async def _submit(self, request: Request) -> ASGIApp:
        body = read_object(await request.body())
        key = request.headers.get("idempotency-key")
        if key is None:
            return await self._submit_response(await self._create_job(request, body))
        self._state.idempotency_keys.append(key)
        earlier = self._idempotency.begin(key, body)
        if earlier is not None:
            return await self._submit_response(dict(earlier))
        try:
            data = await self._create_job(request, body)
            self._idempotency.finish(key, data)
        finally:
            self._idempotency.abandon(key)
        return await self._submit_response(data)

    async def _submit_response(self, data: dict[str, Any], *, at: str = "aitts.submit") -> ASGIApp:
        await delay_response(self._state, at=at, job_id=data["job_id"])
        if self._state.injector.trigger("lost_answer", at=at, job_id=data["job_id"]):
            return drop_connection
        return success(data, 202)

    async def _stream(self, request: Request) -> ASGIApp:
        """Create a job with a one-time address of its audio. An idempotency key is not documented here: ignored.

        The status of the response is not documented: 202, as for a submit.
        """
        body = read_object(await request.body())
        refuse_bitrate(body)
        data = await self._create_job(request, body, at="aitts.stream")
        job = self._state.jobs[data["job_id"]]
        data |= {
            "stream_url": self._streams.issue(job),
            "transport_format": self._state.settings.stream_format or job.submission.output_format,
        }
        if self._state.injector.trigger("no_stream_url", at="aitts.stream", job_id=job.id):
            del data["stream_url"]
        return await self._submit_response(data, at="aitts.stream")

    async def _create_job(self, request: Request, body: dict[str, Any], *, at: str = "aitts.submit") -> dict[str, Any]:
        state = self._state
        allow_loopback = state.settings.allow_loopback_webhooks
        submission = read_submission(body, state.voices, allow_loopback=allow_loopback)
        await self._gate.wait()
        credits = state.account.credits
        if credits is not None:
            if credits < len(submission.text):
                raise insufficient_credits(402)
            state.account.credits = credits - len(submission.text)
        job = state.jobs.create(submission, state.now(), root_path=request.scope.get("root_path", ""))
        job.extra_characters = state.settings.extra_characters
        hide_new_job(state, job, at=at)
        self._on_submit(job)
        return {
            "job_id": job.id,
            "status": JobState.PENDING.value,
            "poll_url": state.poll_url(job),
            "audio_endpoint": state.audio_endpoint(job),
            "chars_charged": job.chars_charged,
        }

    async def _status(self, request: Request) -> Response:
        """Provider's documentation: `audio_url` expires after 24 h; a failed job has an `error`."""
        state, job = self._state, self._job(request)
        word = status_text(state, job.state.value, at="aitts.status", job_id=job.id)
        data: dict[str, Any] = {"job_id": job.id, "status": word}
        if job.state is JobState.COMPLETED:
            expires = int(state.now() + state.settings.audio_url_seconds)
            data |= {
                "audio_url": state.signed_url(job, expires),
                "audio_url_expires_at": iso(expires),
                "audio_endpoint": state.audio_endpoint(job),
                "chars_charged": job.chars_charged,
            }
        elif job.state is JobState.FAILED:
            data["error"] = job.error
        return success(data)

    async def _audio(self, request: Request) -> Response:
        """307 to a new signed address. 404 before the job has completed: not documented."""
        state, job = self._state, self._job(request)
        gone = state.injector.trigger("audio_gone", at="aitts.audio", job_id=job.id)
        if job.state is not JobState.COMPLETED or gone:
            message = "The audio of this job is not available."
            raise ApiError(int(gone.number(404)) if gone else 404, "NOT_FOUND", message)
        job.audio_urls_issued += 1
        return RedirectResponse(self._location(job), 307)

    def _location(self, job: Job) -> str:
        state, injector = self._state, self._state.injector
        if fault := injector.trigger("redirect_to", at="aitts.audio", job_id=job.id):
            return fault.text(state.base_url)
        if injector.trigger("redirect_loop", at="aitts.audio", job_id=job.id):
            return f"{state.storage_url}/loop/1"
        if fault := injector.trigger("redirect_private", at="aitts.audio", job_id=job.id):
            return fault.text(PRIVATE_ADDRESSES[injector.injected["redirect_private"] % 2])
        first = job.audio_urls_issued == 1
        expired = injector.trigger("expired_url", at="aitts.audio", job_id=job.id, chance=first)
        seconds = -60.0 if expired else state.settings.signed_url_seconds
        return state.signed_url(job, int(state.now() + seconds))

    async def _voices(self, request: Request) -> Response:
        """The filters are documented; the fields of a voice are not."""
        rows = filter_voices(self._state.voices, dict(request.query_params))
        return success({"voices": rows})

    def _job(self, request: Request) -> Job:
        job = self._state.jobs.get(request.path_params["job_id"])
        if job is None or job.provider != AITTS or self._state.now() < job.visible_from:
            message = "There is no such job."
            raise not_found(message)
        return job
