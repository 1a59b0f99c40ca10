"""The API of `finevoice`: a submit, and one address at which tasks of every kind are polled.

Written from the provider's documentation; what that leaves open is said where it is decided.
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from .jobs import Job, JobState, Submission
from .polled import PolledApi, Refusal, bearer
from .replies import no_reply
from .statuses import UNKNOWN_NUMBER

TRANSCRIPT = "speech_to_text"
"""The kind of task that ends without audio. The field of its text is not documented, so none is sent."""


class Finevoice(PolledApi):
    """`POST /v1/audio/speech-synthesis` and `GET /v1/task/{task_id}`.

    Provider's documentation: tasks of every kind (voice conversion, separation, podcast, …) are
    polled at the same address. Only speech can be submitted here; `Simulator.create_task` makes others.
    """

    provider = "finevoice"
    invalid_status = 422

    def routes(self) -> list[Route]:
        """The routes under the provider's base URL."""
        return [
            Route("/v1/audio/speech-synthesis", self._guarded("submit", self._submit), methods=["POST"]),
            Route("/v1/task/{job_id}", self._guarded("status", self._status)),
        ]

    def _given_key(self, request: Request) -> str:
        return bearer(request)

    def _refused(self, refusal: Refusal) -> Response:
        """Provider's documentation: 401, 404, 422; `error {code,message}` beside the body's `status`."""
        body = {"status": refusal.status, "error": {"code": refusal.code, "message": refusal.message}}
        in_body = self._shared.settings.finevoice_errors == "body"
        return JSONResponse(body, 200 if in_body else refusal.status, refusal.headers)

    async def _submit(self, request: Request) -> ASGIApp:
        """Provider's documentation: with `useAsync` 202 at once, or 200 if fast; without, 200 in the end."""
        shared, body = self._shared, await self._object(request)
        voice = self._text(body, "voice")
        submission = Submission(text=self._text(body, "text"), voice_id=voice, output_format="mp3")
        job = self._create(submission, request)
        if body.get("useAsync") is not True or shared.settings.finevoice_fast:
            await shared.changes.wait_until(lambda: job.ended or shared.closing.closed)
            if not job.ended:
                return no_reply
        return await self._submitted(job, JSONResponse(self._task_body(job, at="finevoice.submit")))

    async def _status(self, request: Request) -> ASGIApp:
        job = self._find(self._job_id(request))
        body = self._task_body(job, at="finevoice.status")
        if fault := self._shared.injector.draw("unknown_status", at="finevoice.status", job_id=job.id):
            body = {"status": int(fault.number(UNKNOWN_NUMBER)), "taskId": job.id}
        return JSONResponse(body)

    def _task_body(self, job: Job, *, at: str) -> dict[str, Any]:
        """The body for a task: 202 running, 200 with `url` or `urls`, anything else with `error`.

        Which number a failed task has is not documented: 500 here.
        """
        if job.state is JobState.COMPLETED and job.kind == TRANSCRIPT:
            return {"status": 200, "taskId": job.id}
        if job.state is JobState.COMPLETED:
            urls = self._shared.temporary_urls(job, at=at)
            result = {"url": urls[0]} if len(urls) == 1 else {"urls": urls}
            return {"status": 200, "taskId": job.id, **result}
        if job.state is JobState.FAILED:
            error = job.error if isinstance(job.error, dict) else {"code": "FAILED", "message": job.error_message}
            return {"status": 500, "taskId": job.id, "error": error}
        return {"status": 202, "taskId": job.id}
