"""The API of `finevoice`: a submit, and one address at which tasks of every kind are polled.

Written from the provider's documentation. What it leaves open is marked "not documented".
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from .jobs import Job, JobState, Submission
from .polled import PolledApi, PolledApiError, bearer
from .response_faults import UNKNOWN_NUMBER
from .responses import drop_connection
from .submissions import undocumented

TRANSCRIPT = "speech_to_text"
"""The kind of task that ends without audio. The field of its text is not documented, so it is not sent."""


class Finevoice(PolledApi):
    """`POST /v1/audio/speech-synthesis` and `GET /v1/task/{task_id}`.

    Provider's documentation: tasks of every kind (voice conversion, separation, podcast, …) are
    polled at the same address. Only speech can be submitted here; `Simulator.create_task` creates the others.
    """

    provider = "finevoice"
    invalid_status = 422

    def routes(self) -> list[Route]:
        """The routes under the provider's base URL."""
        return [
            Route("/v1/audio/speech-synthesis", self._wrap("submit", self._submit), methods=["POST"]),
            Route("/v1/task/{job_id}", self._wrap("status", self._status)),
        ]

    def _api_key_of(self, request: Request) -> str:
        return bearer(request)

    def _error_response(self, error: PolledApiError) -> Response:
        """Provider's documentation: 401, 404, 422; the body has `status` and `error {code,message}`."""
        body = {"status": error.status, "error": {"code": error.code, "message": error.message}}
        in_body = self._state.settings.finevoice_errors == "body"
        return JSONResponse(body, 200 if in_body else error.status, error.headers)

    async def _submit(self, request: Request) -> ASGIApp:
        """Provider's documentation: with `useAsync` 202, or 200 for a fast job; without, 200 once the job has ended."""
        state, body = self._state, await self._json_object(request)
        voice = self._required_text(body, "voice")
        text, parameters = self._required_text(body, "text"), undocumented(body, ("voice", "text", "useAsync"))
        submission = Submission(text=text, voice_id=voice, output_format="mp3", parameters=parameters)
        job = self._create_job(submission, request)
        if body.get("useAsync") is not True or state.settings.finevoice_fast:
            await state.changes.wait_until(lambda: job.ended or state.shutdown.started)
            if not job.ended:
                return drop_connection
        return await self._submit_response(job, JSONResponse(self._task_body(job, at="finevoice.submit")))

    async def _status(self, request: Request) -> ASGIApp:
        job = self._get_job(self._job_id(request))
        body = self._task_body(job, at="finevoice.status")
        if fault := self._state.injector.trigger("unknown_status", at="finevoice.status", job_id=job.id):
            body = {"status": int(fault.number(UNKNOWN_NUMBER)), "taskId": job.id}
        return JSONResponse(body)

    def _task_body(self, job: Job, *, at: str) -> dict[str, Any]:
        """Return the body for a task: 202 running, 200 with `url` or `urls`, any other status with `error`.

        The status of a failed task is not documented: 500 here.
        """
        if job.state is JobState.COMPLETED and job.kind == TRANSCRIPT:
            return {"status": 200, "taskId": job.id}
        if job.state is JobState.COMPLETED:
            urls = self._state.temporary_urls(job, at=at)
            result = {"url": urls[0]} if len(urls) == 1 else {"urls": urls}
            return {"status": 200, "taskId": job.id, **result}
        if job.state is JobState.FAILED:
            error = job.error if isinstance(job.error, dict) else {"code": "FAILED", "message": job.error_message}
            return {"status": 500, "taskId": job.id, "error": error}
        return {"status": 202, "taskId": job.id}
