"""The API of `aitts` under /api/v1: submit, status, durable audio, voices.

Written from the provider's documentation; what that leaves open is said where it is decided.
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
    broken,
    maintenance,
    no_credits,
    not_found,
    success,
    too_many,
    unauthorized,
)
from .idempotency import IdempotencyStore
from .jobs import AITTS, Job, JobState
from .replies import no_reply
from .shared import SharedState
from .signing import iso
from .statuses import apply_response_faults, delay_response, hide_new_job, status_text
from .submissions import read_object, read_submission
from .voices import filter_voices

Endpoint = Callable[[Request], Awaitable[ASGIApp]]
PRIVATE_ADDRESSES = (
    "http://10.0.0.1/audio.wav",
    "http://169.254.169.254/computeMetadata/v1/",
)


class Aitts:
    """The endpoints for one account. `on_submit` is called with each new job."""

    def __init__(self, shared: SharedState, on_submit: Callable[[Job], None]) -> None:
        self._shared = shared
        self._on_submit = on_submit
        self._idempotency = IdempotencyStore()
        self._gate = asyncio.Event()
        self._gate.set()

    def routes(self) -> list[Route]:
        """The routes of the API's origin."""
        job = "/api/v1/tts/{job_id}"
        return [
            Route("/api/v1/tts", self._guarded("submit", self._submit), methods=["POST"]),
            Route(job, self._guarded("status", self._status)),
            Route(f"{job}/audio", self._guarded("audio", self._audio)),
            Route("/api/v1/voices", self._guarded("voices", self._voices)),
        ]

    @contextlib.contextmanager
    def hold_submits(self) -> Iterator[None]:
        """While inside, submits are begun and not ended."""
        self._gate.clear()
        try:
            yield
        finally:
            self._gate.set()

    def _guarded(self, name: str, endpoint: Endpoint) -> Endpoint:
        """`endpoint` behind faults, authentication and rate limit, with the limit's headers."""

        async def guarded(request: Request) -> ASGIApp:
            shared, job_id = self._shared, request.path_params.get("job_id", "")
            at = f"{AITTS}.{name}"
            shared.count(name, job_id, provider=AITTS)
            answer: ASGIApp
            try:
                self._fault(at, job_id)
                if name not in shared.settings.public_endpoints:
                    self._authenticate(request)
                if not shared.limit.take(shared.now()):
                    raise too_many(shared.limit.seconds_left(shared.now()))
                answer = await endpoint(request)
            except ApiError as error:
                answer = error.response()
            except ClientDisconnect:
                answer = no_reply
            if isinstance(answer, Response):
                answer.headers.update(shared.limit.headers(shared.now()))
                if answer.status_code == 429:
                    answer.headers["X-RateLimit-Remaining"] = "0"
            return await apply_response_faults(shared, answer, at=at, job_id=job_id) if name == "status" else answer

        return guarded

    def _fault(self, at: str, job_id: str) -> None:
        shared = self._shared
        if fault := shared.injector.draw("error_503", at=at, job_id=job_id):
            raise maintenance(int(fault.number(shared.settings.maintenance_retry_after)))
        if shared.injector.draw("error_500", at=at, job_id=job_id):
            raise broken()
        if fault := shared.injector.draw("error_429", at=at, job_id=job_id):
            raise too_many(int(fault.number(shared.limit.seconds_left(shared.now()))))
        if at.endswith(".submit") and (fault := shared.injector.draw("refused_submit", at=at)):
            raise no_credits(int(fault.number(402)))

    def _authenticate(self, request: Request) -> None:
        given = request.headers.get("authorization", "").encode()
        if not hmac.compare_digest(given, f"Bearer {self._shared.account.api_key}".encode()):
            raise unauthorized()

    async def _submit(self, request: Request) -> ASGIApp:
        body = read_object(await request.body())
        key = request.headers.get("idempotency-key")
        if key is None:
            return await self._submitted(await self._create(request, body))
        known = self._idempotency.begin(key, body)
        if known is not None:
            return await self._submitted(dict(known))
        try:
            data = await self._create(request, body)
            self._idempotency.finish(key, data)
        finally:
            self._idempotency.abandon(key)
        return await self._submitted(data)

    async def _submitted(self, data: dict[str, Any]) -> ASGIApp:
        await delay_response(self._shared, at="aitts.submit", job_id=data["job_id"])
        if self._shared.injector.draw("lost_answer", at="aitts.submit", job_id=data["job_id"]):
            return no_reply
        return success(data, 202)

    async def _create(self, request: Request, body: dict[str, Any]) -> dict[str, Any]:
        shared = self._shared
        allow = shared.settings.allow_loopback_webhooks
        submission = read_submission(body, shared.voices, allow_loopback=allow)
        await self._gate.wait()
        left = shared.account.credits
        if left is not None:
            if left < len(submission.text):
                raise no_credits(402)
            shared.account.credits = left - len(submission.text)
        job = shared.jobs.create(submission, shared.now(), mount=request.scope.get("root_path", ""))
        hide_new_job(shared, job, at="aitts.submit")
        self._on_submit(job)
        return {
            "job_id": job.id,
            "status": JobState.PENDING.value,
            "poll_url": shared.poll_url(job),
            "audio_endpoint": shared.audio_endpoint(job),
            "chars_charged": job.chars_charged,
        }

    async def _status(self, request: Request) -> Response:
        """Provider's documentation: the address expires after 24 h; a failed job has `error`."""
        shared, job = self._shared, self._job(request)
        word = status_text(shared, job.state.value, at="aitts.status", job_id=job.id)
        data: dict[str, Any] = {"job_id": job.id, "status": word}
        if job.state is JobState.COMPLETED:
            expires = int(shared.now() + shared.settings.audio_url_seconds)
            data |= {
                "audio_url": shared.signed_url(job, expires),
                "audio_url_expires_at": iso(expires),
                "audio_endpoint": shared.audio_endpoint(job),
                "chars_charged": job.chars_charged,
            }
        elif job.state is JobState.FAILED:
            data["error"] = job.error
        return success(data)

    async def _audio(self, request: Request) -> Response:
        """307 to a fresh signed address. Before the end of the job (not documented): 404."""
        shared, job = self._shared, self._job(request)
        gone = shared.injector.draw("audio_gone", at="aitts.audio", job_id=job.id)
        if job.state is not JobState.COMPLETED or gone:
            message = "The audio of this job is not available."
            raise ApiError(int(gone.number(404)) if gone else 404, "NOT_FOUND", message)
        job.audio_fetches += 1
        return RedirectResponse(self._location(job), 307)

    def _location(self, job: Job) -> str:
        shared, injector = self._shared, self._shared.injector
        if fault := injector.draw("redirect_to", at="aitts.audio", job_id=job.id):
            return fault.text(shared.base_url)
        if injector.draw("redirect_loop", at="aitts.audio", job_id=job.id):
            return f"{shared.storage_url}/loop/1"
        if fault := injector.draw("redirect_private", at="aitts.audio", job_id=job.id):
            return fault.text(PRIVATE_ADDRESSES[injector.injected["redirect_private"] % 2])
        first = job.audio_fetches == 1
        late = injector.draw("expired_url", at="aitts.audio", job_id=job.id, chance=first)
        life = -60.0 if late else shared.settings.signed_url_seconds
        return shared.signed_url(job, int(shared.now() + life))

    async def _voices(self, request: Request) -> Response:
        """The filters are documented; the form of a voice is not."""
        rows = filter_voices(self._shared.voices, dict(request.query_params))
        return success({"voices": rows})

    def _job(self, request: Request) -> Job:
        job = self._shared.jobs.get(request.path_params["job_id"])
        if job is None or job.provider != AITTS or self._shared.now() < job.known_from:
            message = "There is no such job."
            raise not_found(message)
        return job
