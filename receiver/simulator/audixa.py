"""The API of `audixa`, v2 and v3: submit, status, voices, and v3's history.

Written from the provider's documentation and its official SDK; what they leave open is said where
it is decided. Both versions speak of the same account and the same jobs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from .jobs import Job, JobState, Submission
from .limits import PollGuard
from .polled import PolledApi, Refusal, no_such_job
from .shared import SharedState
from .statuses import status_text
from .voices import AUDIXA_VOICES

V2_WORDS = {
    JobState.PENDING: "Generating",
    JobState.PROCESSING: "Generating",
    JobState.COMPLETED: "Completed",
    JobState.FAILED: "Failed",
}
V3_WORDS = {
    JobState.PENDING: "IN_QUEUE",
    JobState.PROCESSING: "GENERATING",
    JobState.COMPLETED: "COMPLETED",
    JobState.FAILED: "FAILED",
}
EXPIRED = "EXPIRED"
FORMATS = ("wav", "mp3")
HISTORY_LIMIT = 20
HISTORY_MOST = 100
VOICES_LIMIT = 100
VOICES_MOST = 500


class Audixa(PolledApi):
    """Everything under /v2 and /v3."""

    provider = "audixa"
    invalid_status = 422  # not documented

    def __init__(self, shared: SharedState, on_submit: Callable[[Job], None]) -> None:
        super().__init__(shared, on_submit)
        self._polls = PollGuard()

    def routes(self) -> list[Route]:
        """The routes under the provider's base URL."""
        return [
            Route("/v2/tts", self._guarded("submit", self._submit_v2), methods=["POST"]),
            Route("/v2/status", self._guarded("status", self._status_v2)),
            Route("/v2/voices", self._guarded("voices", self._voices)),
            Route("/v3/tts", self._guarded("submit", self._submit_v3), methods=["POST"]),
            Route("/v3/tts", self._guarded("status", self._status_v3)),
            Route("/v3/voices", self._guarded("voices", self._voices)),
            Route("/v3/history", self._guarded("history", self._history)),
        ]

    def _given_key(self, request: Request) -> str:
        return request.headers.get("x-api-key", "")

    def _refused(self, refusal: Refusal) -> Response:
        """Provider's documentation: `{"detail": …}`."""
        return JSONResponse({"detail": refusal.message}, refusal.status, refusal.headers)

    def _job_id(self, request: Request) -> str:
        return request.query_params.get("generation_id", "")

    async def _submit_v2(self, request: Request) -> ASGIApp:
        """Provider's documentation: 201 with the id alone; some pages say `voice_id` for `voice`."""
        body = await self._object(request)
        submission = self._submission(body, ("voice", "voice_id"), ("base", "advance"))
        job = self._create(submission, request)
        return await self._submitted(job, JSONResponse({"generation_id": job.id}, 201))

    async def _submit_v3(self, request: Request) -> ASGIApp:
        """Answered 200: the official SDK takes nothing else for success."""
        body = await self._object(request)
        submission = self._submission(body, ("voice_id",), ("base", "advanced"))
        job = self._create(submission, request)
        return await self._submitted(job, JSONResponse({"generation_id": job.id, "status": V3_WORDS[JobState.PENDING]}))

    def _submission(self, body: Mapping[str, Any], voice: tuple[str, ...], models: tuple[str, str]) -> Submission:
        model, speed, audio_format = body.get("model", "base"), body.get("speed"), body.get("audio_format", "wav")
        if model not in models:
            raise self._invalid(f"model must be one of {', '.join(models)}")
        if speed is not None and (isinstance(speed, bool) or not isinstance(speed, int | float)):
            raise self._invalid("speed must be a number")
        if audio_format not in FORMATS:
            raise self._invalid(f"audio_format must be one of {', '.join(FORMATS)}")
        return Submission(
            text=self._text(body, "text"),
            voice_id=self._text(body, *voice),
            output_format=audio_format,
            speed=speed,
            model_type=model,
        )

    async def _status_v2(self, request: Request) -> ASGIApp:
        job = self._polled(request)
        if self._expired(job):
            raise no_such_job()
        body = {"status": self._word(job, V2_WORDS[job.state], at="status")}
        if job.state is JobState.COMPLETED:
            [body[self._shared.settings.audixa_v2_url]] = self._shared.temporary_urls(job, at="audixa.status")
        elif job.state is JobState.FAILED:
            body["detail"] = job.error_message
        return JSONResponse(body)

    async def _status_v3(self, request: Request) -> ASGIApp:
        job = self._polled(request)
        if self._expired(job) and self._shared.settings.audixa_expired == "404":
            raise no_such_job()
        return JSONResponse(self._told_v3(job, at="status"))

    async def _history(self, request: Request) -> ASGIApp:
        """Provider's documentation: up to 100 in one call. The order is not documented: newest first."""
        self._guard_polls()
        query = request.query_params
        limit = self._number(query, "limit", HISTORY_LIMIT, HISTORY_MOST)
        offset, status = self._number(query, "offset", 0, None), query.get("status", "").upper()
        jobs = [job for job in reversed(self._shared.jobs.of(self.provider)) if status in ("", self._state_v3(job))]
        rows = [self._told_v3(job, at="history") for job in jobs[offset : offset + limit]]
        return JSONResponse({"history": rows})

    async def _voices(self, request: Request) -> ASGIApp:
        """The rows are those of the official SDK's documentation; v2's are not documented."""
        query, model = request.query_params, request.query_params.get("model", "")
        limit = self._number(query, "limit", VOICES_LIMIT, VOICES_MOST)
        offset = self._number(query, "offset", 0, None)
        wanted = "advanced" if model == "advance" else model
        rows = [voice for voice in AUDIXA_VOICES if wanted in ("", voice["model"])]
        return JSONResponse({"voices": rows[offset : offset + limit]})

    def _told_v3(self, job: Job, *, at: str) -> dict[str, str]:
        state = self._state_v3(job)
        body = {"generation_id": job.id, "status": self._word(job, state, at=at)}
        if state == V3_WORDS[JobState.COMPLETED]:
            [body["audio_url"]] = self._shared.temporary_urls(job, at=f"audixa.{at}")
        elif state == V3_WORDS[JobState.FAILED]:
            body["error_message"] = job.error_message
        return body

    def _state_v3(self, job: Job) -> str:
        return EXPIRED if self._expired(job) else V3_WORDS[job.state]

    def _word(self, job: Job, word: str, *, at: str) -> str:
        return status_text(self._shared, word, at=f"audixa.{at}", job_id=job.id)

    def _expired(self, job: Job) -> bool:
        return self._shared.now() >= job.created_at + self._shared.settings.audixa_id_seconds

    def _polled(self, request: Request) -> Job:
        self._guard_polls()
        return self._find(self._job_id(request))

    def _guard_polls(self) -> None:
        """Provider's documentation: never faster than 1/s. A poll that is refused does not count."""
        gap = self._shared.settings.audixa_poll_seconds
        early = 0.0 if gap is None else self._polls.seconds_too_soon(self._shared.now(), gap)
        if early > 0:
            raise Refusal(429, "TOO_MANY_REQUESTS", "Too many requests.", retry_after=early)

    def _number(self, query: Mapping[str, str], name: str, default: int, most: int | None) -> int:
        text, least = query.get(name, str(default)), 0 if most is None else 1
        if not (text.isascii() and text.isdecimal() and len(text) < 10) or int(text) < least:
            raise self._invalid(f"{name} must be a number from {least}")
        if most is not None and int(text) > most:
            raise self._invalid(f"{name} must be at most {most}")
        return int(text)
