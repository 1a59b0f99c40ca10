"""The API of `miragic`: a submit as a multipart form, and the status of a job.

Written from the provider's documentation. What it leaves open is marked "not documented".
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from .forms import FormError, read_form
from .jobs import Job, JobState, Submission
from .polled import PolledApi, PolledApiError, no_such_job
from .response_faults import status_text
from .signing import iso
from .submissions import undocumented

BASE = "/api/v1/text-to-speech"


class Miragic(PolledApi):
    """`POST …/generate` and `GET …/jobs/{jobId}`."""

    provider = "miragic"
    invalid_status = 400  # not documented
    insufficient_credits_status = 200  # not documented: the body decides

    def routes(self) -> list[Route]:
        """The routes under the provider's base URL."""
        return [
            Route(f"{BASE}/generate", self._wrap("submit", self._submit), methods=["POST"]),
            Route(f"{BASE}/jobs/{{job_id}}", self._wrap("status", self._status)),
            Route(f"{BASE}/audio/{{job_id}}.mp3", self._audio),
        ]

    def _api_key_of(self, request: Request) -> str:
        return request.headers.get("x-api-key", "")

    def _error_response(self, error: PolledApiError) -> Response:
        """The form of an error is not documented: the envelope of the other responses here."""
        body = {"success": False, "message": error.message}
        return JSONResponse(body, error.status, error.headers)

    async def _submit(self, request: Request) -> ASGIApp:
        """Provider's documentation: a multipart form with `text` and `voice`. Any voice is accepted here."""
        try:
            form = read_form(request.headers.get("content-type", ""), await request.body())
        except FormError as error:
            raise self._invalid(str(error)) from error
        text, voice = self._required_text(form, "text"), self._required_text(form, "voice")
        parameters = undocumented(form, ("text", "voice"))
        job = self._create_job(
            Submission(text=text, voice_id=voice, output_format="mp3", parameters=parameters), request
        )
        data = {"jobId": job.id, "status": "PENDING"}
        response = JSONResponse({"success": True, "data": data, "message": "The job was accepted."})
        return await self._submit_response(job, response)

    async def _status(self, request: Request) -> ASGIApp:
        job = self._get_job(self._job_id(request))
        word = job.state.name if job.ended else JobState.PENDING.name
        data: dict[str, Any] = {
            "id": job.id,
            "status": status_text(self._state, word, at="miragic.status", job_id=job.id),
            "errorMessage": job.error_message if job.state is JobState.FAILED else None,
            "metadata": {},
            "creditsUsed": self._state.settings.miragic_credits if job.state is JobState.COMPLETED else 0,
            "createdAt": iso(job.created_at),
            "updatedAt": iso(job.created_at if job.ended_at is None else job.ended_at),
        }
        if job.ended_at is not None:
            data["metadata"]["processingTimeMs"] = max(0, round((job.ended_at - job.created_at) * 1000))
        if job.state is JobState.COMPLETED:
            settings = self._state.settings
            [url] = self._state.temporary_urls(job, at="miragic.status")
            own_url = f"{self._state.base_urls[self.provider]}{BASE}/audio/{job.id}.mp3"
            _put(data, settings.miragic_audio_path, url if settings.miragic_audio == "storage" else own_url)
            for path in settings.miragic_more_paths:
                _put(data, path, url)
        elif not job.ended and self._state.settings.miragic_progress:
            data["progress"] = self._progress(job)
        return JSONResponse({"success": True, "data": data})

    async def _audio(self, request: Request) -> ASGIApp:
        """Serve the audio at the API's own origin."""
        job_id = self._job_id(request)
        self._state.count_request("audio", job_id, provider=self.provider)
        if self._state.settings.miragic_audio == "key":
            try:
                self._authenticate(request)
            except PolledApiError as error:
                return self._error_response(error)
        job = self._state.jobs.get(job_id)
        gone = self._state.injector.trigger("audio_gone", at="miragic.audio", job_id=job_id)
        if job is None or job.provider != self.provider or job.state is not JobState.COMPLETED or gone:
            return self._error_response(no_such_job())
        return Response(b"".join(job.audio.chunks(0, job.audio.size)), media_type=job.audio.content_type)

    def _progress(self, job: Job) -> int:
        """Provider's documentation: 0 to 99."""
        seconds = self._state.settings.job_seconds
        if not seconds:
            return 0
        duration = seconds * self._state.jobs.jitter(job)
        return max(0, min(99, int(100 * (self._state.now() - job.created_at) / duration)))


def _put(data: dict[str, Any], path: str, value: str) -> None:
    *outer, last = path.split(".")
    for name in outer:
        data = data.setdefault(name, {})
    data[last] = value
