"""Returns the outcome of a job that a response reports: submitted, running, completed or failed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from receiver.model.delivery import Parsed
from receiver.model.event import COMPLETED, FAILED
from receiver.providers.audio_urls import audio_payload
from receiver.providers.base import usable_word
from receiver.providers.fields import ErrorDetail, error_detail, pick, status_word, unwrap
from receiver.providers.responses import RequestContext, error_response, unreadable_response
from receiver.providers.types import Ended, Response, Running, Status, Submitted


def submitted(
    context: RequestContext,
    response: Response,
    document: Mapping[str, Any],
    job_id: object,
    read: Callable[[str], Status],
) -> Submitted:
    """Return a job that the service has accepted.

    Args:
        document: the response's body.
        job_id: the value of the job's id in the body.
        read: reads the body as a status of the job with this id; called only if the body has a status.

    Raises:
        ProviderError: the response reports an error, or has no job id.
    """
    usable_id = usable_word(job_id)
    if usable_id is None:
        if document.get("success") is False or any(error_detail(*unwrap(document))):
            raise error_response(context, response, document)
        raise unreadable_response(context, response, "no job id in it")
    if document.get("success") is not False and status_word(pick(unwrap(document), "status")) is None:
        return Submitted(usable_id, Running("submitted"))
    return Submitted(usable_id, read(usable_id))


def running(
    context: RequestContext,
    response: Response,
    document: Mapping[str, Any],
    status: object,
    *,
    progress: object = None,
) -> Running:
    """Return a job that has not ended, with the provider's own status word.

    Args:
        status: the value of the status in the body.
        progress: the value of the progress, percent; ignored unless it is a number from 0 to 100.

    Raises:
        ProviderError: the response reports an error, or has no readable status.
    """
    readable = status_word(status) is not None
    if document.get("success") is False or (not readable and any(error_detail(*unwrap(document)))):
        raise error_response(context, response, document)
    if not readable:
        raise unreadable_response(context, response, "no status in it")
    word = str(status).strip()
    if isinstance(progress, int | float) and not isinstance(progress, bool) and 0 <= progress <= 100:
        return Running(word, int(progress))
    return Running(word)


def completed(
    job_id: str, urls: Iterable[str], alternatives: Iterable[str] = (), *, result: Mapping[str, Any] | None = None
) -> Ended:
    """Return a job that ended with success; `urls` and `alternatives` as for `audio_payload`.

    Args:
        result: what the service reports beside its files, such as a transcript.
    """
    payload = {"status": "completed"} | audio_payload(urls, alternatives)
    return Ended(Parsed(COMPLETED, job_id, payload | ({"result": dict(result)} if result else {})))


def failed(job_id: str, error: ErrorDetail) -> Ended:
    """Return a job that ended without audio."""
    return Ended(Parsed(FAILED, job_id, {"status": "failed", "error": error._asdict()}))
