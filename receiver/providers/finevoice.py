"""FineVoice: polling only; all kinds of tasks have the same status address.

Wire facts: the service's founding documents and its public documentation, read 2026-11. The HTTP status of a response
about a task is 200; the HTTP-like `status` in its body counts. Whether an error's status is also the HTTP status is not
documented: both are read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from receiver.providers.audio_urls import AudioUrls
from receiver.providers.fields import error_detail, pick, status_word, unwrap, web_addresses
from receiver.providers.outcomes import completed, failed, running, submitted
from receiver.providers.requests import bearer, get, path_segment, post_json
from receiver.providers.responses import RequestContext, error_response, read_object
from receiver.providers.tasks import JsonTasks
from receiver.providers.types import Account, Capabilities, Request, Response, Speech, Status, Submitted
from receiver.providers.validation import check_speech

_DONE = 200
_OWN_FIELDS = frozenset({"status", "taskId", "url", "urls", "audio_url", "error"})
_REQUEST_STATUSES = frozenset({401, 403, 404, 408, 410, 429, 502, 503, 504})
"""Body statuses that concern the request. Any other error concerns the task, and is final."""


class Finevoice(AudioUrls, JsonTasks):
    """The provider `finevoice`."""

    name = "finevoice"
    base_url = "https://apis.finevoice.ai"
    capabilities = Capabilities(several_outputs=True, pass_through=True)

    def credentials(self, account: Account) -> dict[str, str]:
        """`Authorization: Bearer`."""
        return bearer(account)

    def submit_request(self, account: Account, speech: Speech, idempotency_key: str) -> Request:
        """`POST /v1/audio/speech-synthesis`, asynchronous. There is no idempotency key."""
        check_speech(self.name, speech, self.capabilities)
        fields = {"voice": speech.voice, "text": speech.text, "useAsync": True}
        return post_json(account, "/v1/audio/speech-synthesis", self.credentials(account), fields, speech.options)

    def read_submit(self, account: Account, response: Response) -> Submitted:
        """Read `{"status": 202, "taskId"}`; a fast job may have completed: status 200, with its `url`.

        For a completed job without a task id, an id is derived from its URL: its audio has been charged for.
        """
        context = RequestContext(self.name, account)
        document = read_object(context, response)
        objects = unwrap(document)
        status = _http_like(pick(objects, "status"))
        if status >= 300:
            raise error_response(context, response, document, status=status)
        task_id, addresses = pick(objects, "taskId"), _addresses(objects)
        if task_id is None and status == _DONE and addresses:
            task_id = "url-" + hashlib.sha256(addresses[0].encode()).hexdigest()[:32]
        return submitted(
            context, response, document, task_id, lambda job_id: self.read_status(account, job_id, response)
        )

    def status_request(self, account: Account, job_id: str) -> Request:
        """`GET /v1/task/{task_id}`."""
        return get(account, f"/v1/task/{path_segment(job_id)}", self.credentials(account))

    def read_status(self, account: Account, job_id: str, response: Response) -> Status:
        """Read the body's status: 200 is completed, with `url` or `urls`; 202 is running; others have an `error`.

        An error status without an `error` does not mean that the task has ended: it is polled again.
        """
        context = RequestContext(self.name, account, job_id)
        document = read_object(context, response)
        objects = unwrap(document)
        value = pick(objects, "status")
        status = _http_like(value)
        if status == _DONE:
            return completed(job_id, _addresses(objects), result=_result(document))
        if status in _REQUEST_STATUSES:
            raise error_response(context, response, document, status=status)
        if status_word(value) and pick(objects, "error") is not None and not 100 <= status <= 299:
            return failed(job_id, error_detail(*objects))
        if status >= 400:
            raise error_response(context, response, document, status=status)
        return running(context, response, document, value)


def _http_like(value: object) -> int:
    """Return the body's status as a number of three digits; 0 if it is not one."""
    word = status_word(value) or ""
    return int(word) if word.isascii() and word.isdigit() and len(word) == 3 else 0


def _result(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a completed task reports beside its files, such as a transcript; its fields are not documented."""
    return {name: value for name, value in document.items() if name not in _OWN_FIELDS and value is not None}


def _addresses(objects: tuple[Mapping[str, Any], ...]) -> list[str]:
    return web_addresses(pick(objects, "url", "audio_url"), pick(objects, "urls"))
