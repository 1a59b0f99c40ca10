"""The API of `finevoice`: submits of tasks of every kind, and one address at which all of them are polled.

Written from the provider's documentation. What it leaves open is marked "not documented".
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from .documents import SUFFIXES, TRANSCRIPT_TEXT, transcript_file
from .jobs import Job, JobState, Submission
from .polled import PolledApi, PolledApiError, bearer
from .response_faults import UNKNOWN_NUMBER
from .responses import drop_connection
from .submissions import undocumented
from .voices import FINEVOICE_VOICES

TRANSCRIPT = "speech_to_text"
"""The kind of task that ends without audio. The field of its text is not documented: `text` here."""
OUTPUTS = {
    "voice_conversion": 1,
    "sound_effects": 1,
    "separation": 2,
    "podcast": 3,
    "voice_design": 2,
    "cloning": 1,
    "music": 2,
    "background_music": 1,
    "music_cover": 1,
    "enhancement": 1,
    TRANSCRIPT: 0,
}
"""The other kinds of task, and how many audio files each ends with. Their paths, their fields and the number of their
files are not documented: `POST /v1/…/voice-conversion`, and so on."""


class Finevoice(PolledApi):
    """`POST /v1/audio/speech-synthesis`, a `POST` for each kind of `OUTPUTS`, and `GET /v1/task/{task_id}`.

    Provider's documentation: tasks of every kind (voice conversion, separation, podcast, …) answer a `taskId`, and are
    polled at the same address. `Simulator.create_task` creates one without a request.
    """

    provider = "finevoice"
    invalid_status = 422

    def routes(self) -> list[Route]:
        """The routes under the provider's base URL."""
        return [
            Route("/v1/audio/speech-synthesis", self._wrap("submit", self._submit), methods=["POST"]),
            Route("/v1/{group}/{category}", self._wrap("submit", self._submit_task), methods=["POST"]),
            Route("/v1/voices", self._wrap("voices", self._voices)),
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

    async def _submit_task(self, request: Request) -> ASGIApp:
        """A task of another kind, from any JSON object. A transcript has a file in each of its `formats`."""
        kind = str(request.path_params["category"]).replace("-", "_")
        if kind not in OUTPUTS:
            raise PolledApiError(404, "NOT_FOUND", "There is no such address.")
        body = await self._json_object(request)
        formats = body.get("formats", [])
        if not isinstance(formats, list) or not set(map(str, formats)) <= set(SUFFIXES):
            raise self._invalid(f"formats must be a list of some of {', '.join(SUFFIXES)}")
        submission = Submission(text=str(body.get("text", "")), voice_id="", output_format="mp3")
        job = self._create_job(submission, request, kind=kind, outputs=max(1, OUTPUTS[kind]))
        job.documents = tuple(transcript_file(str(suffix)) for suffix in formats)
        job.transcript = TRANSCRIPT_TEXT if kind == TRANSCRIPT else None
        return await self._submit_response(job, JSONResponse(self._task_body(job, at="finevoice.submit")))

    async def _voices(self, request: Request) -> Response:
        """A list of voices. Not documented."""
        return JSONResponse({"code": 0, "result": {"voices": list(FINEVOICE_VOICES)}})

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
        if job.state is JobState.COMPLETED and job.kind == TRANSCRIPT and not job.documents:
            return {"status": 200, "taskId": job.id, **_transcript(job)}
        if job.state is JobState.COMPLETED:
            urls = self._state.temporary_urls(job, at=at)
            result = {"url": urls[0]} if len(urls) == 1 else {"urls": urls}
            return {"status": 200, "taskId": job.id, **result, **_transcript(job)}
        if job.state is JobState.FAILED:
            error = job.error if isinstance(job.error, dict) else {"code": "FAILED", "message": job.error_message}
            return {"status": 500, "taskId": job.id, "error": error}
        return {"status": 202, "taskId": job.id}


def _transcript(job: Job) -> dict[str, str]:
    return {} if job.transcript is None else {"text": job.transcript}
