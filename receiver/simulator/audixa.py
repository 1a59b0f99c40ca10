"""The API of `audixa`, v2 and v3: submit, status, voices, and v3's history.

Written from the provider's documentation and its official SDK. What they leave open is marked "not documented".
Both versions have the same account and the same jobs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from .jobs import Job, JobState, Submission
from .limits import PollLimiter
from .polled import PolledApi, PolledApiError, no_such_job
from .response_faults import status_text
from .state import SimulatorState
from .submissions import undocumented
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
DEFAULT_HISTORY_LIMIT = 20
MAX_HISTORY_LIMIT = 100
DEFAULT_VOICES_LIMIT = 100
MAX_VOICES_LIMIT = 500


class Audixa(PolledApi):
    """Everything under /v2 and /v3."""

    provider = "audixa"
    invalid_status = 422  # not documented

    def __init__(self, state: SimulatorState, on_submit: Callable[[Job], None]) -> None:
        super().__init__(state, on_submit)
        self._polls = PollLimiter()

    def routes(self) -> list[Route]:
        """The routes under the provider's base URL."""
        return [
            Route("/v2/tts", self._wrap("submit", self._submit_v2), methods=["POST"]),
            Route("/v2/status", self._wrap("status", self._status_v2)),
            Route("/v2/voices", self._wrap("voices", self._voices)),
            Route("/v3/tts", self._wrap("submit", self._submit_v3), methods=["POST"]),
            Route("/v3/tts", self._wrap("status", self._status_v3)),
            Route("/v3/voices", self._wrap("voices", self._voices)),
            Route("/v3/history", self._wrap("history", self._history)),
        ]

    def _api_key_of(self, request: Request) -> str:
        return request.headers.get("x-api-key", "")

    def _error_response(self, error: PolledApiError) -> Response:
        """Provider's documentation: `{"detail": …}`."""
        return JSONResponse({"detail": error.message}, error.status, error.headers)

    def _job_id(self, request: Request) -> str:
        return request.query_params.get("generation_id", "")

    async def _submit_v2(self, request: Request) -> ASGIApp:
        """Provider's documentation: 201 with the id alone; some pages call `voice` `voice_id`."""
        body = await self._json_object(request)
        submission = self._submission(body, ("voice", "voice_id"), ("base", "advance"))
        job = self._create_job(submission, request)
        return await self._submit_response(job, JSONResponse({"generation_id": job.id}, 201))

    async def _submit_v3(self, request: Request) -> ASGIApp:
        """The status is 200: the official SDK accepts no other as success."""
        body = await self._json_object(request)
        submission = self._submission(body, ("voice_id",), ("base", "advanced"))
        job = self._create_job(submission, request)
        return await self._submit_response(
            job, JSONResponse({"generation_id": job.id, "status": V3_WORDS[JobState.PENDING]})
        )

    def _submission(self, body: Mapping[str, Any], voice: tuple[str, ...], models: tuple[str, str]) -> Submission:
        model, speed, audio_format = body.get("model", "base"), body.get("speed"), body.get("audio_format", "wav")
        if model not in models:
            raise self._invalid(f"model must be one of {', '.join(models)}")
        if speed is not None and (isinstance(speed, bool) or not isinstance(speed, int | float)):
            raise self._invalid("speed must be a number")
        if audio_format not in FORMATS:
            raise self._invalid(f"audio_format must be one of {', '.join(FORMATS)}")
        return Submission(
            text=self._required_text(body, "text"),
            voice_id=self._required_text(body, *voice),
            output_format=audio_format,
            speed=speed,
            model_type=model,
            parameters=undocumented(body, ("text", *voice, "model", "speed", "audio_format")),
        )

    async def _status_v2(self, request: Request) -> ASGIApp:
        job = self._poll(request)
        if self._expired(job):
            raise no_such_job()
        body = {"status": self._word(job, V2_WORDS[job.state], at="status")}
        if job.state is JobState.COMPLETED:
            [body[self._state.settings.audixa_v2_url]] = self._state.temporary_urls(job, at="audixa.status")
        elif job.state is JobState.FAILED:
            body["detail"] = job.error_message
        return JSONResponse(body)

    async def _status_v3(self, request: Request) -> ASGIApp:
        job = self._poll(request)
        if self._expired(job) and self._state.settings.audixa_expired == "404":
            raise no_such_job()
        return JSONResponse(self._job_body_v3(job, at="status"))

    async def _history(self, request: Request) -> ASGIApp:
        """Provider's documentation: up to 100 jobs in one call. The order is not documented: newest first here."""
        self._limit_polls()
        query = request.query_params
        limit = self._number(query, "limit", DEFAULT_HISTORY_LIMIT, MAX_HISTORY_LIMIT)
        offset, status = self._number(query, "offset", 0, None), query.get("status", "").upper()
        jobs = [job for job in reversed(self._state.jobs.of(self.provider)) if status in ("", self._word_v3(job))]
        rows = [self._job_body_v3(job, at="history") for job in jobs[offset : offset + limit]]
        return JSONResponse({"history": rows})

    async def _voices(self, request: Request) -> ASGIApp:
        """The rows are those that the official SDK documents; the rows of v2 are not documented."""
        query, model = request.query_params, request.query_params.get("model", "")
        limit = self._number(query, "limit", DEFAULT_VOICES_LIMIT, MAX_VOICES_LIMIT)
        offset = self._number(query, "offset", 0, None)
        wanted = "advanced" if model == "advance" else model
        rows = [voice for voice in AUDIXA_VOICES if wanted in ("", voice["model"])]
        return JSONResponse({"voices": rows[offset : offset + limit]})

    def _job_body_v3(self, job: Job, *, at: str) -> dict[str, str]:
        word = self._word_v3(job)
        body = {"generation_id": job.id, "status": self._word(job, word, at=at)}
        if word == V3_WORDS[JobState.COMPLETED]:
            [body["audio_url"]] = self._state.temporary_urls(job, at=f"audixa.{at}")
        elif word == V3_WORDS[JobState.FAILED]:
            body["error_message"] = job.error_message
        return body

    def _word_v3(self, job: Job) -> str:
        return EXPIRED if self._expired(job) else V3_WORDS[job.state]

    def _word(self, job: Job, word: str, *, at: str) -> str:
        return status_text(self._state, word, at=f"audixa.{at}", job_id=job.id)

    def _expired(self, job: Job) -> bool:
        return self._state.now() >= job.created_at + self._state.settings.audixa_id_seconds

    def _poll(self, request: Request) -> Job:
        self._limit_polls()
        return self._get_job(self._job_id(request))

    def _limit_polls(self) -> None:
        """Provider's documentation: at most one poll a second. A refused poll does not count."""
        interval = self._state.settings.audixa_poll_seconds
        early = 0.0 if interval is None else self._polls.seconds_early(self._state.now(), interval)
        if early > 0:
            raise PolledApiError(429, "TOO_MANY_REQUESTS", "Too many requests.", retry_after=early)

    def _number(self, query: Mapping[str, str], name: str, default: int, maximum: int | None) -> int:
        text, minimum = query.get(name, str(default)), 0 if maximum is None else 1
        if not (text.isascii() and text.isdecimal() and len(text) < 10) or int(text) < minimum:
            raise self._invalid(f"{name} must be a number from {minimum}")
        if maximum is not None and int(text) > maximum:
            raise self._invalid(f"{name} must be at most {maximum}")
        return int(text)
