"""Any other service, by configuration alone: its words, and the paths of values in its JSON.

Each source of this provider has its own instance, which `generic_provider` creates from the source's table. Speech
cannot be submitted: the requests of services differ too much to be described in a table. Tasks can: their body is the
user's.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import Any

from receiver.errors import MalformedDelivery
from receiver.model.delivery import Headers, Parsed
from receiver.model.event import COMPLETED, FAILED, TERMINAL, TEST
from receiver.model.scheme import Scheme
from receiver.providers.audio_urls import audio_payload, file_urls, is_own_origin, temporary_request
from receiver.providers.base import AudioRequest, header_word, read_json_object, usable_word
from receiver.providers.fields import (
    ErrorDetail,
    error_detail,
    is_address,
    read_error,
    status_word,
    unwrap,
    web_addresses,
)
from receiver.providers.generic_spec import JOB_ID, GenericSpec
from receiver.providers.json_path import JsonPath, find, find_first, numbered_to_lists, set_value
from receiver.providers.outcomes import running, submitted
from receiver.providers.requests import get, path_segment
from receiver.providers.responses import RequestContext, read_object
from receiver.providers.tasks import Task, task_request
from receiver.providers.types import (
    Account,
    Capabilities,
    Ended,
    Invalid,
    Request,
    Response,
    Running,
    Status,
    Submitted,
)

RETRY_WINDOW_SECONDS = 72 * 3600.0
"""How long after the first attempt a service may retry a delivery, seconds: unknown, so the longest usual time."""


def generic_provider(spec: GenericSpec, base_url: str = "") -> Generic:
    """Return the provider that a source's table describes, with the methods for what its service can do.

    Args:
        base_url: the service's address; empty if no request to it needs one.
    """
    if spec.signature is not None:
        kind = GenericPolledWebhooks if spec.status_path is not None else GenericWebhooks
        return kind(spec, base_url, spec.signature)
    return GenericPolled(spec, base_url) if spec.status_path is not None else Generic(spec, base_url)


class Generic:
    """The provider `generic`: what all of its sources have in common."""

    name = "generic"

    def __init__(self, spec: GenericSpec, base_url: str) -> None:
        self.spec = spec
        self.base_url = base_url
        self.capabilities = Capabilities(several_outputs=True, min_poll_seconds=spec.min_poll_seconds)

    def audio_requests(
        self, base_url: str, api_key: str | None, job_id: str, payload: Mapping[str, Any]
    ) -> list[list[AudioRequest]]:
        """Return a request for each URL of each file.

        The key is sent only to URLs at the service's own origin: with the first request if `audio_needs_key` is set,
        otherwise after a request without it was refused.
        """
        credentials = self.credentials(Account(base_url, api_key))

        def request(url: str) -> AudioRequest:
            if credentials and self.spec.audio_needs_key and is_own_origin(url, base_url):
                return AudioRequest(url, credentials, durable=True)
            return temporary_request(url, base_url, credentials)

        return [[request(url) for url in urls] for urls in file_urls(payload, base_url)]

    def credentials(self, account: Account) -> dict[str, str]:
        """Return the configured header with the account's key."""
        key = account.api_key
        return {} if key is None else {self.spec.auth_header: f"{self.spec.auth_prefix}{key}"}

    def _outcome(self, *words: str | None) -> str | None:
        """Return the terminal event that one of these lower-case words means. Words for failure take precedence."""
        if any(word in self.spec.failed_words or word == FAILED for word in words):
            return FAILED
        if any(word in self.spec.completed_words or word == COMPLETED for word in words):
            return COMPLETED
        return None

    def _payload(self, event_type: str, document: Mapping[str, Any]) -> dict[str, Any]:
        payload: dict[str, Any] = {"status": "completed" if event_type == COMPLETED else "failed"}
        if event_type == COMPLETED:
            found = [urls for path in self.spec.audio_url if (urls := web_addresses(find(document, path)))]
            found = [urls for urls in found if is_address(urls[0])] or found
            payload |= audio_payload(found[0] if found else (), chain.from_iterable(found[1:]))
        else:
            payload["error"] = self._error(document)._asdict()
        for name, paths in (("metadata", self.spec.metadata), ("result", self.spec.result)):
            value = find_first(document, paths)
            if value is not None:
                payload[name] = value
        return payload

    def _error(self, document: Mapping[str, Any]) -> ErrorDetail:
        """Return the error: from the configured paths, else from the usual fields."""
        code, message = (find_first(document, paths) for paths in (self.spec.error_code, self.spec.error_message))
        configured = ErrorDetail(
            _text(code), _text(message) or read_error(message if isinstance(message, dict) else None).message
        )
        return configured if any(configured) else error_detail(*unwrap(document))


class GenericPolled(Generic):
    """A source that is polled: its table has a `status_url`."""

    def status_request(self, account: Account, job_id: str) -> Request:
        """`GET` of the configured address."""
        path = (self.spec.status_path or "").replace(JOB_ID, path_segment(job_id))
        return get(account, path, self.credentials(account))

    def read_status(self, account: Account, job_id: str, response: Response) -> Status:
        """Read the response by its status word; a word in neither list means that the job is still running."""
        context = RequestContext(self.name, account, job_id)
        document = read_object(context, response)
        value = find_first(document, self.spec.status)
        event_type = self._outcome(status_word(value))
        if event_type is not None:
            return Ended(Parsed(event_type, job_id, self._payload(event_type, document)))
        return running(context, response, document, value, progress=find_first(document, self.spec.progress))

    def task_request(self, account: Account, task: Task, idempotency_key: str) -> Request:
        """`POST` of the body to the path, with the key in the configured header.

        Raises:
            Invalid: as `tasks.task_request`; or no path of the job's id is configured.
        """
        if not self.spec.job_id:
            raise Invalid("The source's generic table has no job_id: the path of a task's id in the response to it.")
        header = self.spec.idempotency_header
        key = {} if header is None else {header: idempotency_key}
        return task_request(account, task, self.credentials(account) | key)

    def read_task(self, account: Account, response: Response) -> Submitted:
        """Read the id by the configured paths, and the status if there is one."""
        context = RequestContext(self.name, account)
        document = read_object(context, response)
        job_id = find_first(document, self.spec.job_id)
        word = usable_word(job_id)
        if word is not None and document.get("success") is not False:
            has_status = status_word(find_first(document, self.spec.status)) is not None
            return Submitted(word, self.read_status(account, word, response) if has_status else Running("submitted"))
        return submitted(
            context, response, document, job_id, lambda job_id: self.read_status(account, job_id, response)
        )

    def is_idempotent_task(self, task: Task) -> bool:
        """Return whether a header for the key is configured."""
        return self.spec.idempotency_header is not None


class GenericWebhooks(Generic):
    """A source that receives webhooks: it has a `signature`."""

    def __init__(self, spec: GenericSpec, base_url: str, signature: Scheme) -> None:
        super().__init__(spec, base_url)
        self.scheme = signature.name
        self._signed_headers = signature.headers
        self.kept_headers: tuple[str, ...] = (spec.event_header.lower(),) if spec.event_header else ()
        self.retry_window_seconds = RETRY_WINDOW_SECONDS

    def parse_delivery(self, headers: Headers, body: bytes) -> Parsed:
        """Read a delivery by the configured paths.

        The signed body decides, by its event word and its status. Without an event word the status takes its
        place. If the body has neither, the unsigned event header may name a `test`, and nothing else.

        A terminal status is ignored if there is another event word and no job id.

        Raises:
            InvalidJson: not a JSON object.
            MalformedDelivery: no usable word, or a terminal event without a usable job id.
        """
        document = read_json_object(body)
        spec = self.spec
        value = find_first(document, spec.event)
        word, status = usable_word(value), status_word(find_first(document, spec.status))
        header_event = header_word(headers, spec.event_header.lower().encode()) if spec.event_header else None
        event_type = self._outcome(word and word.lower(), status)
        if value is None and event_type is None:
            word = status or (TEST if header_event == TEST else None)
        notes = (
            ["event_header_mismatch"]
            if header_event is not None and self._contradicts(header_event, word, event_type)
            else []
        )
        if event_type is None and word is None:
            raise MalformedDelivery("The signed body has neither an event word nor a status.", reason="no_event")
        job_id = usable_word(find_first(document, spec.job_id))
        if job_id is None and word is not None and self._outcome(word.lower()) is None:
            event_type = None  # an event of another kind, whose status is not a job's
        if event_type is None:
            if word != TEST:
                notes.append("unknown_event")
            event_id = find_first(document, spec.event_id)
            if event_id is not None and usable_word(event_id) is None:
                notes.append("unusable_event_id")
            return Parsed(str(word), job_id, document, tuple(notes), usable_word(event_id))
        if job_id is None:
            raise MalformedDelivery(f"{event_type} without a usable job id.", reason="no_job_id")
        return Parsed(event_type, job_id, self._payload(event_type, document), tuple(notes))

    def delivery_headers(self, event: str, delivery_id: str) -> list[tuple[str, str]]:
        """Return the configured event header, unless the signature's headers include it."""
        name = self.spec.event_header
        return [(name, self._event_word(event))] if name and name.lower() not in self._signed_headers else []

    def sample_body(
        self, event: str, job_id: str, created_at: str, metadata: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return a body with a value at each configured path and nothing else.

        Raises:
            Invalid: metadata without a path for it, or with an event that is not the end of a job.
        """
        if metadata and event not in TERMINAL:
            raise Invalid(f"Only the end of a job has metadata, not {event}: add --event {COMPLETED}.")
        if metadata and not self.spec.metadata:
            raise Invalid("This source has no path for metadata: set metadata in the source's generic table.")
        spec, word = self.spec, self._event_word(event)
        values: list[tuple[tuple[JsonPath, ...], Any]] = [(spec.event, word), (spec.job_id, job_id)]
        if event in (COMPLETED, FAILED) or not spec.event:
            values.append((spec.status, word))
        if event == FAILED:
            values += [(spec.error_code, "GENERATION_FAILED"), (spec.error_message, "sent by hand")]
        if metadata:
            values.append((spec.metadata, dict(metadata)))
        body: dict[str, Any] = {}
        for paths, value in values:
            if paths:
                set_value(body, paths[0], value)
        return {name: numbered_to_lists(value) for name, value in body.items()}

    def _contradicts(self, header_event: str, word: str | None, event_type: str | None) -> bool:
        """Return whether the event header contradicts the body."""
        header_type = self._outcome(header_event.lower())
        return (word is not None and header_event != word) or (
            (word is None or header_type is not None) and header_type != event_type
        )

    def _event_word(self, event: str) -> str:
        """Return the service's own word for an event."""
        words = {COMPLETED: self.spec.completed_words, FAILED: self.spec.failed_words}.get(event)
        return words[0] if words else event


class GenericPolledWebhooks(GenericWebhooks, GenericPolled):
    """A source that receives webhooks and is polled."""


def _text(value: object) -> str:
    return str(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else ""
