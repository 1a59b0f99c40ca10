"""The description of a service that is not built in, as its source's table configures it."""

from __future__ import annotations

from dataclasses import dataclass

from receiver.model.scheme import Scheme
from receiver.providers.api_path import check_api_path
from receiver.providers.json_path import JsonPath

JOB_ID = "{job_id}"
"""The placeholder of the job id in a status address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GenericSpec:
    """The checked description of a service. Paths that are not configured are empty.

    Attributes:
        signature: how deliveries are signed; None for a service that sends no webhooks.
        event_header: an unsigned header with the event word; it can name a `test`, and nothing else.
        event: paths of the event word; of several paths the first with a value counts. The same for the other paths.
        event_id: paths of the id of an event that ends no job.
        completed_words: event and status words that mean `job.completed`, in lower case.
        failed_words: likewise for `job.failed`; they take precedence.
        status_path: the path of a job's status below the base address, with `{job_id}` in it; None for a service
            that cannot be polled.
        auth_header: the header for the API key, whose value begins with `auth_prefix`.
        min_poll_seconds: the service's limit between two polls of one job, seconds.
        result: paths of what an event has beside its files, such as a transcript.
        idempotency_header: the header of a task's idempotency key; None for a service that takes none.
        audio_needs_key: whether audio at the service's own origin is fetched with the API key.
    """

    signature: Scheme | None = None
    event_header: str | None = None
    event: tuple[JsonPath, ...] = ()
    event_id: tuple[JsonPath, ...] = ()
    job_id: tuple[JsonPath, ...] = ()
    status: tuple[JsonPath, ...] = ()
    audio_url: tuple[JsonPath, ...] = ()
    error_code: tuple[JsonPath, ...] = ()
    error_message: tuple[JsonPath, ...] = ()
    metadata: tuple[JsonPath, ...] = ()
    progress: tuple[JsonPath, ...] = ()
    completed_words: tuple[str, ...] = ()
    failed_words: tuple[str, ...] = ()
    status_path: str | None = None
    auth_header: str = "Authorization"
    auth_prefix: str = "Bearer "
    min_poll_seconds: float = 1.0
    result: tuple[JsonPath, ...] = ()
    idempotency_header: str | None = None
    audio_needs_key: bool = False


def status_path(template: str, base_url: str) -> str:
    """Return the part of a status address below the base address.

    Args:
        template: a path with `{job_id}` in it, or a whole address that begins with the base address.

    Raises:
        ValueError: it leaves the base address, or has no job id; the message follows the setting's name.
    """
    base = base_url.rstrip("/")
    path = template.removeprefix(base) if base and template.startswith(f"{base}/") else template
    if path.count(JOB_ID) != 1:
        raise ValueError(f"must contain {JOB_ID} once, as in /v1/jobs/{JOB_ID}")
    check_api_path(path.replace(JOB_ID, "id"))
    return path
