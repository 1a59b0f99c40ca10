"""Submit a task of any kind: responds with the job, or with the provider's refusal."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, JsonValue

from receiver.engine.audit import Auditor
from receiver.engine.jobs.commands import describe_request
from receiver.engine.jobs.service import NoApiAccess
from receiver.model.budget import BudgetExceeded
from receiver.providers.tasks import MAX_BODY_BYTES, MAX_PATH, Task
from receiver.providers.types import Invalid
from receiver.store.jobs import ClientKeyReused
from receiver.web.api.budgets import over_budget
from receiver.web.api.context import ApiContext
from receiver.web.api.fields import SourceName, StrictRequestModel
from receiver.web.api.jobs import require_source
from receiver.web.api.operations import ApiResponse
from receiver.web.api.problems import ProblemError
from receiver.web.api.speech import SUBMIT_WAIT_SECONDS, SubmitHeaders, submitted_response


class TaskRequest(StrictRequestModel):
    """A request to a service, in the service's own words."""

    source: Annotated[SourceName, Field(description="The configured source to submit it to.")]
    path: Annotated[
        str,
        Field(
            min_length=1,
            max_length=MAX_PATH,
            description="Below the source's `base_url`, such as `/v1/audio/speech-to-text`; without scheme and host.",
        ),
    ]
    body: Annotated[
        dict[str, JsonValue],
        Field(description=f"The JSON object to send, unchanged; at most {MAX_BODY_BYTES:,} bytes."),
    ]
    metadata: Annotated[
        dict[str, JsonValue] | None, Field(description="Returned with the event; not sent to the service.")
    ] = None


async def submit_task(context: ApiContext, audit: Auditor, headers: SubmitHeaders, body: TaskRequest) -> ApiResponse:
    """Submit a task of any kind to a service that answers it with an id, as for `POST /v1/speech`.

    The job is stored before the request is sent. The service's status is polled, and its end becomes an event. Its
    files are fetched as audio is, and may be audio, JSON, subtitles or text; a transcript that the service reports is
    in the event's `payload.result`. A task without an idempotency key at the service is never sent twice: if the
    response is lost, the job is `unknown`.
    """
    require_source(context, body.source)
    task = Task(path=body.path, body=body.body, metadata=body.metadata)
    recorder = audit.single(**describe_request(body.source, task))
    try:
        row, new = await context.submit(recorder, body.source, task, headers.key)
    except BudgetExceeded as error:
        raise over_budget(error) from None
    except (NoApiAccess, ClientKeyReused, Invalid) as error:
        raise ProblemError(422, str(error), reason=error.reason) from None
    row = await context.wait_until_submitted(row["id"], SUBMIT_WAIT_SECONDS)
    return submitted_response(context, row, new=new)
