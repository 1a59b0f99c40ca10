"""The tools: each makes one or a few requests to the receiver's API, and returns bounded, structured results."""

from __future__ import annotations

import asyncio
import base64
import re
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from receiver.cli.mcp.models import (
    MAX_FILES,
    AudioFile,
    AudioInput,
    AudioResult,
    Event,
    EventsInput,
    EventsResult,
    JobInput,
    JobResult,
    SpeechInput,
    ToolOutput,
    Voice,
    VoicesInput,
    VoicesResult,
    bounded,
)
from receiver.cli.mcp.receiver_api import ApiError, ApiUnavailable, ReceiverApi, ToolError
from receiver.clock import Clock

MAX_INLINE_BYTES = 512 * 1024
"""Larger audio is returned as a link: clients limit a message to about 1 MiB, and base64 takes a third more."""
FIRST_POLL_SECONDS, MAX_POLL_SECONDS = 0.25, 3.0
OPEN_STATES = ("submitting", "watching")
SEARCHED = ("id", "name", "language")
"""What a text is searched in, of a voice."""

Progress = Callable[[float, float, str], Awaitable[None]]
"""Reports how many of how many seconds have passed, and what is waited for."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls a tool.

    Attributes:
        token: of the API; None for a receiver without tokens.
        progress: reports to the client, if it wants to know.
    """

    token: str | None
    progress: Progress


@dataclass(frozen=True, slots=True)
class ToolAnswer:
    """The result of a tool; `audio` if it has audio content, with its media type."""

    result: ToolOutput
    audio: tuple[str, str] | None = None
    link: AudioFile | None = None


class Tools:
    """The tools, over one receiver."""

    def __init__(self, api: ReceiverApi, clock: Clock, rng: Random) -> None:
        self._api = api
        self._clock = clock
        self._rng = rng

    async def generate_speech(self, caller: Caller, given: SpeechInput) -> ToolAnswer:
        """Submit a text to a speech service; the receiver stores the audio when the service has made it.

        This spends the account's characters or credits. With wait_seconds the result names the stored audio. Without,
        or if the service takes longer, ask job_status. Fetch the audio by get_audio.
        """
        source = given.source or await self._only_source(caller)
        names = {"text", "voice", "format", "model", "speed", "sample_rate", "bitrate_kbps", "metadata", "options"}
        speech = given.model_dump(include=names, exclude_none=True) | {"source": source}
        key = given.idempotency_key or f"mcp-{uuid.UUID(int=self._rng.getrandbits(128), version=4)}"
        try:
            job = await self._api.submit(caller.token, speech, key)
        except (ApiError, ApiUnavailable) as error:
            if error.changed_nothing:
                raise
            raise ToolError(
                f"{error} It is unknown whether the receiver took the job. Repeat the call with the same arguments "
                f'and idempotency_key "{key}": then it is submitted once.'
            ) from error
        return ToolAnswer(await self._until_stored(caller, job, given.wait_seconds))

    async def search_voices(self, caller: Caller, given: VoicesInput) -> ToolAnswer:
        """List the voices of a speech service, as it reports them now. Filter by query, or by the service's words.

        Not every service supports every filter; the error says which. query works with all.
        """
        source = given.source or await self._only_source(caller)
        filters = given.model_dump(include={"language", "gender", "model", "provider"})
        found = (await self._api.get(caller.token, "/v1/voices", source=source, **filters))["items"]
        if given.query is not None:
            text = given.query.casefold()
            found = [voice for voice in found if any(text in str(voice[name] or "").casefold() for name in SEARCHED)]
        voices = [
            Voice.model_validate({name: bounded(voice[name]) for name in Voice.model_fields})
            for voice in found[: given.limit]
        ]
        return ToolAnswer(VoicesResult(source=source, voices=voices, matching=len(found)))

    async def job_status(self, caller: Caller, given: JobInput) -> ToolAnswer:
        """The state of a speech job, why it failed, and which audio is stored of it."""
        job = await self._with_failure(caller, await self._job(caller, given))
        return ToolAnswer(self._result(job, await self._event(caller, job)))

    async def get_audio(self, caller: Caller, given: AudioInput) -> ToolAnswer:
        """The audio of a job that has completed: its content if it is small, otherwise a link, and its place."""
        if re.fullmatch(r"evt_[0-9a-f]{32}", given.job_id):
            event_id = given.job_id
        else:
            event_id = await self._event_of(caller, given)
        event = await self._api.get(caller.token, f"/v1/events/{event_id}")
        file = next((one for one in self._files(event) if one.n == given.n), None)
        if file is None:
            raise ToolError(_why_no_audio(event, given.n))
        facts = file.model_dump()
        if file.bytes > MAX_INLINE_BYTES:
            return ToolAnswer(AudioResult(**facts, inline=False), link=file)
        content, content_type = await self._api.audio(caller.token, event_id, given.n)
        return ToolAnswer(AudioResult(**facts, inline=True), audio=(base64.b64encode(content).decode(), content_type))

    async def recent_events(self, caller: Caller, given: EventsInput) -> ToolAnswer:
        """The newest events: what speech services reported, such as job.failed, and how far handlers are."""
        query = given.model_dump(mode="json")
        if given.since is not None and given.since.tzinfo is None:
            query["since"] += "Z"
        page = await self._api.get(caller.token, "/v1/events", **query)
        events = [
            Event.model_validate({name: bounded(item[name]) for name in Event.model_fields}) for item in page["items"]
        ]
        return ToolAnswer(EventsResult(events=events, next=page["next"]))

    async def _only_source(self, caller: Caller) -> str:
        """The name of the only source that can submit.

        Raises:
            ToolError: there is none, or several.
        """
        found = await self._api.get(caller.token, "/v1/sources")
        names = [str(source["name"]) for source in found["items"] if source["api_key"]]
        if len(names) == 1:
            return names[0]
        if not names:
            raise ToolError("No source of the receiver has an api_key, so nothing can be submitted. Ask its operator.")
        raise ToolError(f"The receiver has several sources: name one of {', '.join(names[:20])} as source.")

    async def _job(self, caller: Caller, given: JobInput) -> Mapping[str, Any]:
        """The job with the receiver's id, or the service's.

        Raises:
            ToolError: there is none, or several.
        """
        if re.fullmatch(r"job_[0-9a-f]{32}", given.job_id):
            return await self._api.get(caller.token, f"/v1/jobs/{given.job_id}")
        found = await self._api.get(caller.token, "/v1/jobs", job_id=given.job_id, source=given.source, limit=5)
        jobs: list[Mapping[str, Any]] = found["items"]
        if not jobs:
            raise ApiError(
                f"The receiver has no job {given.job_id}. Use the id that generate_speech returned, or find the job by "
                "recent_events.",
                404,
                "not_found",
            )
        if len(jobs) > 1:
            names = ", ".join(f"{job['id']} ({job['source']})" for job in jobs)
            raise ToolError(
                f"Several jobs have the id {given.job_id}: {names}. Use the first id of one, or add source."
            )
        return jobs[0]

    async def _event_of(self, caller: Caller, given: JobInput) -> str:
        """The event with a job's end. A job that was submitted elsewhere, and is not watched, has only its event.

        Raises:
            ToolError: there is none yet.
        """
        try:
            job = await self._job(caller, given)
        except ApiError as error:
            if error.slug != "not_found" or given.job_id.startswith("job_"):
                raise
            query = {"job_id": given.job_id, "source": given.source, "type": "job.completed", "limit": 1}
            events = (await self._api.get(caller.token, "/v1/events", **query))["items"]
            if not events:
                raise
            return str(events[0]["id"])
        if job["event_id"] is None or job["state"] == "failed":
            job = await self._with_failure(caller, job)
            raise ToolError(f"The job {job['id']} has no audio. {_next_step(job, None, [])}")
        return str(job["event_id"])

    async def _until_stored(self, caller: Caller, job: Mapping[str, Any], seconds: float) -> JobResult:
        """The job once it has ended and its audio is stored, or after these seconds.

        No error is raised: the job is submitted, and a caller that does not get its id might submit it again.
        """
        started, pause = self._clock.monotonic(), FIRST_POLL_SECONDS
        event: Mapping[str, Any] | None = None
        while True:
            what = _progress_text(job)
            try:
                if pause > FIRST_POLL_SECONDS:
                    job = await self._api.get(caller.token, f"/v1/jobs/{job['id']}")
                event = await self._event(caller, job)
                job = await self._with_failure(caller, job)
                if job["state"] not in OPEN_STATES and not (event is not None and _fetches_audio(event)):
                    break
                what = _progress_text(job)
            except (ApiError, ApiUnavailable) as error:
                if isinstance(error, ApiError) and error.status < 500:
                    break  # it stays so: the token is no longer accepted, or the job was deleted
                what = bounded(error) or ""
            passed = self._clock.monotonic() - started
            if passed >= seconds:
                break
            await caller.progress(round(passed, 2), seconds, what)
            await self._clock.wait(asyncio.Event(), min(pause, seconds - passed))
            pause = min(pause * 1.5, MAX_POLL_SECONDS)
        return self._result(job, event)

    async def _event(self, caller: Caller, job: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The event of a job that has completed."""
        if job["event_id"] is None or job["state"] != "completed":
            return None
        return await self._api.get(caller.token, f"/v1/events/{job['event_id']}")

    async def _with_failure(self, caller: Caller, job: Mapping[str, Any]) -> Mapping[str, Any]:
        """The job; if the service reported that it failed, with the reason, which only the event has."""
        if job["event_id"] is None or job["state"] != "failed" or job["error"]:
            return job
        payload = (await self._api.get(caller.token, f"/v1/events/{job['event_id']}"))["payload"]
        reported = payload.get("error") if isinstance(payload, dict) else None
        if not isinstance(reported, dict):
            return job
        code, message = (reported[key] if isinstance(reported.get(key), str) else None for key in ("code", "message"))
        return {**job, "error_code": code, "error": message}

    def _result(self, job: Mapping[str, Any], event: Mapping[str, Any] | None) -> JobResult:
        files = self._files(event) if event is not None else []
        same = {name: job[name] for name in ("id", "source", "state", "progress", "created_at", "ended_at", "event_id")}
        return JobResult(
            **same,
            provider_job_id=bounded(job["job_id"]),
            error_code=bounded(job["error_code"]),
            error=bounded(job["error"]),
            chars_charged=job.get("chars_charged"),  # an earlier release has neither
            credits_used=job.get("credits_used"),
            audio=files[:MAX_FILES],
            next_step=_next_step(job, event, files),
        )

    def _files(self, event: Mapping[str, Any]) -> list[AudioFile]:
        names = ("n", "format", "content_type", "bytes", "duration_seconds", "sha256")
        return [
            AudioFile(
                **{name: file[name] for name in names},
                event_id=event["id"],
                stored_at=file["address"],
                link=self._api.audio_link(event["id"], file["n"]),
            )
            for file in event["artifacts"]
        ]


def _fetches_audio(event: Mapping[str, Any]) -> bool:
    """Whether a handler may still fetch an event's audio."""
    return event["state"] == "open" and not event["artifacts"]


def _next_step(job: Mapping[str, Any], event: Mapping[str, Any] | None, files: list[AudioFile]) -> str:
    """What to do next, by the job's state."""
    state = job["state"]
    if state in OPEN_STATES:
        return f"It is {state}. Call job_status with {job['id']} again in some seconds."
    if files:
        return f"Call get_audio with {job['id']}."
    if state == "completed":
        if event is None or _fetches_audio(event):
            return f"It has completed, and its audio is being fetched. Call job_status with {job['id']} again."
        return _why_no_audio(event, 0)
    if state == "unknown":
        return "It is unknown whether the service accepted (and charged for) it: ask an operator, and do not repeat it."
    why = f": {job['error'] or job['error_code']}" if job["error"] or job["error_code"] else ""
    return (
        bounded(f"It is {state}{why}".rstrip(".") + ". Repair the cause before you call generate_speech again.") or ""
    )


def _progress_text(job: Mapping[str, Any]) -> str:
    percent = f", {job['progress']} %" if job["progress"] is not None else ""
    if job["state"] in OPEN_STATES:
        return f"{job['id']} is {job['state']}{percent}"
    return f"{job['id']} is {job['state']}; its audio is being fetched"


def _why_no_audio(event: Mapping[str, Any], n: int) -> str:
    """Why an event's n-th file is not stored."""
    files = len(event["artifacts"])
    if files:
        return f"The event {event['id']} has {files} file{'s' * (files > 1)}, numbered from 0: there is no file {n}."
    failed = next((run for run in event["runs"] if run["state"] == "dead" and run["error"]), None)
    if failed is not None:
        return (
            bounded(
                f"The handler {failed['handler']} has given up on the event {event['id']}: {failed['error']}".rstrip(
                    "."
                )
                + ". An operator can replay it."
            )
            or ""
        )
    if event["state"] == "open":
        return f"The audio of the event {event['id']} is being fetched: try again in some seconds."
    return (
        f"No handler has fetched audio for the event {event['id']}, of type {event['type']}. The handler save_audio "
        "fetches it; an operator can configure it and replay the event."
    )
