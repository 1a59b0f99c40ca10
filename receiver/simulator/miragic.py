"""The API of `miragic`: a submit as a multipart form, and the status of a job.

Written from the provider's documentation; what that leaves open is said where it is decided.
"""

from __future__ import annotations

import hmac
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from .forms import FormError, read_form
from .jobs import Job, JobState, Submission
from .polled import PolledApi, Refusal, no_such_job
from .signing import iso
from .statuses import status_text

BASE = "/api/v1/text-to-speech"


class Miragic(PolledApi):
    """`POST …/generate` and `GET …/jobs/{jobId}`."""

    provider = "miragic"
    invalid_status = 400  # not documented
    no_credits_status = 200  # not documented: the body decides

    def routes(self) -> list[Route]:
        """The routes under the provider's base URL."""
        return [
            Route(f"{BASE}/generate", self._guarded("submit", self._submit), methods=["POST"]),
            Route(f"{BASE}/jobs/{{job_id}}", self._guarded("status", self._status)),
            Route(f"{BASE}/audio/{{job_id}}.mp3", self._audio),
        ]

    def _given_key(self, request: Request) -> str:
        return request.headers.get("x-api-key", "")

    def _refused(self, refusal: Refusal) -> Response:
        """The form of an error is not documented: the envelope of the other answers here."""
        body = {"success": False, "message": refusal.message}
        return JSONResponse(body, refusal.status, refusal.headers)

    async def _submit(self, request: Request) -> ASGIApp:
        """Provider's documentation: a multipart form with `text` and `voice`. Any voice is taken."""
        try:
            form = read_form(request.headers.get("content-type", ""), await request.body())
        except FormError as error:
            raise self._invalid(str(error)) from error
        text, voice = self._text(form, "text"), self._text(form, "voice")
        job = self._create(Submission(text=text, voice_id=voice, output_format="mp3"), request)
        data = {"jobId": job.id, "status": "PENDING"}
        answer = JSONResponse({"success": True, "data": data, "message": "The job was accepted."})
        return await self._submitted(job, answer)

    async def _status(self, request: Request) -> ASGIApp:
        job = self._find(self._job_id(request))
        word = job.state.name if job.ended else JobState.PENDING.name
        data: dict[str, Any] = {
            "id": job.id,
            "status": status_text(self._shared, word, at="miragic.status", job_id=job.id),
            "errorMessage": job.error_message if job.state is JobState.FAILED else None,
            "metadata": {},
            "creditsUsed": 1 if job.state is JobState.COMPLETED else 0,
            "createdAt": iso(job.created_at),
            "updatedAt": iso(job.created_at if job.ended_at is None else job.ended_at),
        }
        if job.ended_at is not None:
            data["metadata"]["processingTimeMs"] = max(0, round((job.ended_at - job.created_at) * 1000))
        if job.state is JobState.COMPLETED:
            settings = self._shared.settings
            [url] = self._shared.temporary_urls(job, at="miragic.status")
            home = f"{self._shared.base_urls[self.provider]}{BASE}/audio/{job.id}.mp3"
            _put(data, settings.miragic_audio_at, url if settings.miragic_audio == "storage" else home)
            for path in settings.miragic_more_at:
                _put(data, path, url)
        elif not job.ended and self._shared.settings.miragic_progress:
            data["progress"] = self._progress(job)
        return JSONResponse({"success": True, "data": data})

    async def _audio(self, request: Request) -> ASGIApp:
        """The audio at the API's own origin."""
        job_id = self._job_id(request)
        self._shared.count("audio", job_id, provider=self.provider)
        wanted, right = self._shared.settings.miragic_audio == "key", self._shared.api_keys[self.provider]
        if wanted and not hmac.compare_digest(self._given_key(request).encode(), right.encode()):
            return self._refused(Refusal(401, "UNAUTHORIZED", "Missing or invalid API key."))
        job = self._shared.jobs.get(job_id)
        gone = self._shared.injector.draw("audio_gone", at="miragic.audio", job_id=job_id)
        if job is None or job.provider != self.provider or job.state is not JobState.COMPLETED or gone:
            return self._refused(no_such_job())
        return Response(b"".join(job.audio.pieces(0, job.audio.size)), media_type=job.audio.content_type)

    def _progress(self, job: Job) -> int:
        """Provider's documentation: 0 to 99."""
        seconds = self._shared.settings.job_seconds
        if not seconds:
            return 0
        whole = seconds * self._shared.jobs.jitter(job)
        return max(0, min(99, int(100 * (self._shared.now() - job.created_at) / whole)))


def _put(data: dict[str, Any], path: str, value: str) -> None:
    *outer, last = path.split(".")
    for name in outer:
        data = data.setdefault(name, {})
    data[last] = value
