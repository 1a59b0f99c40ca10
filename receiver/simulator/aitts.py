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

from .idempotency import IdempotencyBook
from .jobs import AITTS, Job, JobState
from .replies import no_reply
from .signing import iso
from .statuses import disturbed, lately, slowly, spoken
from .submissions import read_object, read_submission
from .voices import filter_voices
from .wire import (
    WireError,
    broken,
    maintenance,
    no_credits,
    not_found,
    success,
    too_many,
    unauthorized,
)
from .world import World

Endpoint = Callable[[Request], Awaitable[ASGIApp]]
PRIVATE_ADDRESSES = (
    "http://10.0.0.1/audio.wav",
    "http://169.254.169.254/computeMetadata/v1/",
)


class Aitts:
    """The endpoints for one account. `on_submit` is called with each new job."""

    def __init__(self, world: World, on_submit: Callable[[Job], None]) -> None:
        self._world = world
        self._on_submit = on_submit
        self._idempotency = IdempotencyBook()
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
            world, job_id = self._world, request.path_params.get("job_id", "")
            at = f"{AITTS}.{name}"
            world.count(name, job_id, provider=AITTS)
            answer: ASGIApp
            try:
                self._fault(at, job_id)
                if name not in world.settings.public_endpoints:
                    self._authenticate(request)
                if not world.limit.take(world.now()):
                    raise too_many(world.limit.seconds_left(world.now()))
                answer = await endpoint(request)
            except WireError as error:
                answer = error.response()
            except ClientDisconnect:
                answer = no_reply
            if isinstance(answer, Response):
                answer.headers.update(world.limit.headers(world.now()))
                if answer.status_code == 429:
                    answer.headers["X-RateLimit-Remaining"] = "0"
            return await disturbed(world, answer, at=at, job_id=job_id) if name == "status" else answer

        return guarded

    def _fault(self, at: str, job_id: str) -> None:
        world = self._world
        if hit := world.dice.roll("error_503", at=at, job_id=job_id):
            raise maintenance(int(hit.number(world.settings.maintenance_retry_after)))
        if world.dice.roll("error_500", at=at, job_id=job_id):
            raise broken()
        if hit := world.dice.roll("error_429", at=at, job_id=job_id):
            raise too_many(int(hit.number(world.limit.seconds_left(world.now()))))
        if at.endswith(".submit") and (hit := world.dice.roll("refused_submit", at=at)):
            raise no_credits(int(hit.number(402)))

    def _authenticate(self, request: Request) -> None:
        given = request.headers.get("authorization", "").encode()
        if not hmac.compare_digest(given, f"Bearer {self._world.account.api_key}".encode()):
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
        await slowly(self._world, at="aitts.submit", job_id=data["job_id"])
        if self._world.dice.roll("lost_answer", at="aitts.submit", job_id=data["job_id"]):
            return no_reply
        return success(data, 202)

    async def _create(self, request: Request, body: dict[str, Any]) -> dict[str, Any]:
        world = self._world
        allow = world.settings.allow_loopback_webhooks
        submission = read_submission(body, world.voices, allow_loopback=allow)
        await self._gate.wait()
        left = world.account.credits
        if left is not None:
            if left < len(submission.text):
                raise no_credits(402)
            world.account.credits = left - len(submission.text)
        job = world.jobs.create(submission, world.now(), mount=request.scope.get("root_path", ""))
        lately(world, job, at="aitts.submit")
        self._on_submit(job)
        return {
            "job_id": job.id,
            "status": JobState.PENDING.value,
            "poll_url": world.poll_url(job),
            "audio_endpoint": world.audio_endpoint(job),
            "chars_charged": job.chars_charged,
        }

    async def _status(self, request: Request) -> Response:
        """Provider's documentation: the address expires after 24 h; a failed job has `error`."""
        world, job = self._world, self._job(request)
        word = spoken(world, job.state.value, at="aitts.status", job_id=job.id)
        data: dict[str, Any] = {"job_id": job.id, "status": word}
        if job.state is JobState.COMPLETED:
            expires = int(world.now() + world.settings.audio_url_seconds)
            data |= {
                "audio_url": world.signed_url(job, expires),
                "audio_url_expires_at": iso(expires),
                "audio_endpoint": world.audio_endpoint(job),
                "chars_charged": job.chars_charged,
            }
        elif job.state is JobState.FAILED:
            data["error"] = job.error
        return success(data)

    async def _audio(self, request: Request) -> Response:
        """307 to a fresh signed address. Before the end of the job (not documented): 404."""
        world, job = self._world, self._job(request)
        gone = world.dice.roll("audio_gone", at="aitts.audio", job_id=job.id)
        if job.state is not JobState.COMPLETED or gone:
            message = "The audio of this job is not available."
            raise WireError(int(gone.number(404)) if gone else 404, "NOT_FOUND", message)
        job.audio_fetches += 1
        return RedirectResponse(self._location(job), 307)

    def _location(self, job: Job) -> str:
        world, dice = self._world, self._world.dice
        if hit := dice.roll("redirect_to", at="aitts.audio", job_id=job.id):
            return hit.text(world.base_url)
        if dice.roll("redirect_loop", at="aitts.audio", job_id=job.id):
            return f"{world.storage_url}/loop/1"
        if hit := dice.roll("redirect_private", at="aitts.audio", job_id=job.id):
            return hit.text(PRIVATE_ADDRESSES[dice.injected["redirect_private"] % 2])
        first = job.audio_fetches == 1
        late = dice.roll("expired_url", at="aitts.audio", job_id=job.id, chance=first)
        life = -60.0 if late else world.settings.signed_url_seconds
        return world.signed_url(job, int(world.now() + life))

    async def _voices(self, request: Request) -> Response:
        """The filters are documented; the form of a voice is not."""
        rows = filter_voices(self._world.voices, dict(request.query_params))
        return success({"voices": rows})

    def _job(self, request: Request) -> Job:
        job = self._world.jobs.get(request.path_params["job_id"])
        if job is None or job.provider != AITTS or self._world.now() < job.known_from:
            message = "There is no such job."
            raise not_found(message)
        return job
