"""Submit speech: responds with the job, or with the provider's refusal."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated

from pydantic import Field, JsonValue
from starlette.types import ASGIApp

from receiver.engine.audit import Auditor
from receiver.engine.jobs.commands import describe_request
from receiver.engine.jobs.service import NoApiAccess
from receiver.model.budget import BudgetExceeded
from receiver.outbound.live_audio import StreamFailed
from receiver.providers.pass_through import MAX_BYTES, MAX_OPTIONS
from receiver.providers.types import Invalid, Speech, StreamedJob
from receiver.store.jobs import ClientKeyReused
from receiver.store.states import JobState
from receiver.web.api.budgets import over_budget
from receiver.web.api.context import ApiContext, Row
from receiver.web.api.fields import INTEGER, IdempotencyKey, RequestModel, SourceName, StrictRequestModel
from receiver.web.api.jobs import location_header, redacted_job, require_source
from receiver.web.api.operations import ApiResponse
from receiver.web.api.problems import ProblemError
from receiver.web.api.speech_stream import open_audio_response

SUBMIT_WAIT_SECONDS = 5.0
"""How long to wait for the provider's response; a later one is reported by the job."""

STATUS_BY_REASON = {
    "provider_unauthorized": 502,
    "provider_credits": 402,
    "provider_invalid": 422,
    "provider_refused": 422,
}
"""The status for a refusal by the provider, by its reason; 502 for any other."""


class SpeechRequest(StrictRequestModel):
    """What to synthesize. The service chooses what is not given, and refuses what it does not support."""

    source: Annotated[SourceName, Field(description="The configured source to submit it to.")]
    text: Annotated[str, Field(min_length=1)]
    voice: Annotated[str, Field(min_length=1, max_length=500, description="An id of `GET /v1/voices`.")]
    format: Annotated[str | None, Field(min_length=1, max_length=20, description="Such as `mp3`.")] = None
    sample_rate: Annotated[int | None, Field(ge=1, le=1_000_000, description="Hz."), INTEGER] = None
    bitrate_kbps: Annotated[int | None, Field(ge=1, le=100_000), INTEGER] = None
    speed: Annotated[float | None, Field(gt=0, le=100, description="1.0 is the voice's normal speed.")] = None
    model: Annotated[str | None, Field(min_length=1, max_length=200)] = None
    metadata: Annotated[
        dict[str, JsonValue] | None, Field(description="Returned with the event, if the service supports it.")
    ] = None
    webhook_url: Annotated[str | None, Field(min_length=1, max_length=2000)] = None
    options: Annotated[
        dict[str, JsonValue] | None,
        Field(
            description="Parameters of the service that are none of these fields, sent as they are: up to "
            f"{MAX_OPTIONS}, together {MAX_BYTES:,} bytes of JSON. The service may ignore one that it does not know."
        ),
    ] = None
    stream: Annotated[
        bool, Field(description="Respond with the audio while it is made, if the service streams this speech.")
    ] = False


class SubmitHeaders(RequestModel):
    """The idempotency key, which makes it safe to repeat the request."""

    key: Annotated[
        IdempotencyKey | None,
        Field(
            alias="Idempotency-Key",
            description="Yours: the same key with the same body is the same job. A service with idempotency keys gets "
            "it as it is if it is a UUID v4, otherwise a UUID that is stored for it.",
        ),
    ] = None


async def speak(
    context: ApiContext, audit: Auditor, headers: SubmitHeaders, body: SpeechRequest
) -> ApiResponse | ASGIApp:
    """Submit speech to a service. The job is stored before the request is sent, and survives a crash.

    The response waits a few seconds for the service's. If the service refuses, or if it is unknown whether it accepted
    the job (`unknown`), the response is a problem with the job in `job`. The audio is available once the job has ended:
    see `event_id` of `GET /v1/jobs/{id}`, or follow `GET /v1/stream`.

    With `stream` the response is the audio, as it is made; `Job-Id` is the job. A stream that breaks does not complete
    the response, and does not end the job. Where there is no stream, the response is the job, as without `stream`: the
    request must wait for the rate limit, the stream cannot be opened, or the idempotency key was used before.
    """
    require_source(context, body.source)
    speech = Speech(**body.model_dump(exclude={"source", "stream"}))
    recorder = audit.single(**describe_request(body.source, speech))
    row: Row
    stream: StreamedJob | None = None
    try:
        if body.stream:
            row, new, stream = await context.submit_stream(recorder, body.source, speech, headers.key)
        else:
            row, new = await context.submit(recorder, body.source, speech, headers.key)
    except BudgetExceeded as error:
        raise over_budget(error) from None
    except (NoApiAccess, ClientKeyReused, Invalid) as error:
        raise ProblemError(422, str(error), reason=error.reason) from None
    if stream is not None:
        with suppress(StreamFailed):  # logged; the job continues
            return await open_audio_response(context, row, stream, location_header(context, row))
    if not body.stream or not new:
        row = await context.wait_until_submitted(row["id"], SUBMIT_WAIT_SECONDS)
    return submitted_response(context, row, new=new)


def submitted_response(context: ApiContext, row: Row, *, new: bool) -> ApiResponse:
    """The response for a job that was submitted, or is about to be.

    Raises:
        ProblemError: the service refused it, or it is unknown whether it was accepted.
    """
    if row["job_id"] is None and row["state"] in (JobState.FAILED, JobState.UNKNOWN):
        raise _refused(context, row)
    return ApiResponse(202 if new else 200, redacted_job(context, row), location_header(context, row))


def _refused(context: ApiContext, row: Row) -> ProblemError:
    code = row["error_code"] or "provider_error"
    return ProblemError(
        STATUS_BY_REASON.get(code, 502) if row["state"] == JobState.FAILED else 502,
        row["error"] or "The provider refused the job.",
        reason=code,
        headers=location_header(context, row),
        extensions={"job": redacted_job(context, row).model_dump(mode="json")},
    )
