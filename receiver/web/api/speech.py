"""Submit speech: the job at once, and a refusal by the provider as a refusal."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, JsonValue, StringConstraints

from receiver.engine.jobs.service import NotAskable
from receiver.providers.types import Invalid, Speech
from receiver.store.jobs import ClientKeyReused
from receiver.store.states import JobState
from receiver.web.api.context import ApiContext, Row
from receiver.web.api.fields import INTEGER, Incoming, SourceName, StrictIncoming
from receiver.web.api.jobs import location, require_source, show
from receiver.web.api.operations import Reply
from receiver.web.api.problems import Refusal

SETTLE_SECONDS = 5.0
"""How long the provider's answer is waited for; a slower one is told by the job."""

STATUS = {
    "provider_unauthorized": 502,
    "provider_credits": 402,
    "provider_invalid": 422,
    "provider_refused": 422,
}
"""What a refusal by the provider is answered with, by its reason; 502 for any other."""


class SpeechRequest(StrictIncoming):
    """What is to be spoken. What is not given is left to the service; what it does not take is refused."""

    source: Annotated[SourceName, Field(description="The configured source to submit it to.")]
    text: Annotated[str, Field(min_length=1)]
    voice: Annotated[str, Field(min_length=1, max_length=500, description="An id of `GET /v1/voices`.")]
    format: Annotated[str | None, Field(min_length=1, max_length=20, description="Such as `mp3`.")] = None
    sample_rate: Annotated[int | None, Field(ge=1, le=1_000_000, description="Hz."), INTEGER] = None
    bitrate_kbps: Annotated[int | None, Field(ge=1, le=100_000), INTEGER] = None
    speed: Annotated[float | None, Field(gt=0, le=100, description="1.0 is the voice's own.")] = None
    model: Annotated[str | None, Field(min_length=1, max_length=200)] = None
    metadata: Annotated[
        dict[str, JsonValue] | None, Field(description="Given back with the end, where the service does.")
    ] = None
    webhook_url: Annotated[str | None, Field(min_length=1, max_length=2000)] = None


class SpeechHeaders(Incoming):
    """What makes it safe to ask again."""

    key: Annotated[
        str | None,
        StringConstraints(pattern=r"^[!-~]([ -~]*[!-~])?$", max_length=255),
        Field(alias="Idempotency-Key", description="Yours: the same key with the same body is the same job."),
    ] = None


async def speak(context: ApiContext, headers: SpeechHeaders, body: SpeechRequest) -> Reply:
    """Submit speech to a service. The job is written down before the service is asked, and survives a crash.

    The answer waits a few seconds for the service's: what it refuses is answered with its refusal, and the job in the
    problem's `job`; so is a job of which nobody can say whether the service took it on (`unknown`). The audio is there
    when the job has ended: see `event_id` of `GET /v1/jobs/{id}`, or follow `GET /v1/stream`.
    """
    require_source(context, body.source)
    speech = Speech(**body.model_dump(exclude={"source"}))
    try:
        row, new = await context.submit(body.source, speech, headers.key)
    except (NotAskable, ClientKeyReused, Invalid) as error:
        raise Refusal(422, str(error), reason=error.reason) from None
    row = await context.wait_until_submitted(row["id"], SETTLE_SECONDS)
    if row["job_id"] is None and row["state"] in (JobState.FAILED, JobState.UNKNOWN):
        raise _refused(context, row)
    return Reply(202 if new else 200, show(context, row), location(context, row))


def _refused(context: ApiContext, row: Row) -> Refusal:
    code = row["error_code"] or "provider_error"
    return Refusal(
        STATUS.get(code, 502) if row["state"] == JobState.FAILED else 502,
        row["error"] or "The provider refused it.",
        reason=code,
        headers=location(context, row),
        more={"job": show(context, row).model_dump(mode="json")},
    )
