"""What a job requests of a provider: speech, or a task of any kind. As JSON values in its row, and as a request."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from receiver.engine.jobs.source import JobSource
from receiver.engine.provider_calls import call_provider
from receiver.providers.protocols import TaskProvider, require_submitting, require_tasks
from receiver.providers.tasks import Task
from receiver.providers.types import Request, Response, Speech, Submitted
from receiver.store.job_leases import JobClaim
from receiver.store.states import JobKind

JobRequest = Speech | Task


def request_of(request: JobRequest) -> dict[str, Any]:
    """The request as JSON values, without what the service decides. No options are the same as an empty object."""
    given = {name: value for name, value in asdict(request).items() if value is not None}
    if isinstance(request, Speech) and not request.options:
        given.pop("options", None)
    return given


def characters_of(request: JobRequest) -> int:
    """How many characters a text has that a provider may charge for; 0 for a task without a `text`."""
    text = request.body.get("text") if isinstance(request, Task) else request.text
    return len(text) if isinstance(text, str) else 0


def kind_of(request: JobRequest) -> JobKind:
    """What a request is."""
    return JobKind.TASK if isinstance(request, Task) else JobKind.SPEECH


def read_request(claim: JobClaim) -> JobRequest:
    """The request of a claimed job."""
    given = claim.request or {}
    return Task(**given) if claim.kind == JobKind.TASK else Speech(**given)


def build_request(source: JobSource, request: JobRequest, key: str) -> Request:
    """The provider's request for a job.

    Args:
        key: the idempotency key.

    Raises:
        ProviderError: the provider does not accept it.
    """
    if isinstance(request, Task):
        return call_provider(require_tasks(source.provider).task_request, source.account, request, key)
    return call_provider(require_submitting(source.provider).submit_request, source.account, request, key)


def read_submitted(source: JobSource, request: JobRequest, response: Response) -> Submitted:
    """The job that the provider's response is about.

    Raises:
        ProviderError: the response is an error, or unreadable.
    """
    if isinstance(request, Task):
        return call_provider(require_tasks(source.provider).read_task, source.account, response)
    return call_provider(require_submitting(source.provider).read_submit, source.account, response)


def is_idempotent(source: JobSource, request: JobRequest) -> bool:
    """Whether the provider's request can be repeated under the same key without being charged twice."""
    if not isinstance(request, Task):
        return source.capabilities.idempotent_submit
    provider = source.provider
    return isinstance(provider, TaskProvider) and call_provider(provider.is_idempotent_task, request)
