"""Any other service, from configuration alone: how its words are spelled and where in its JSON they stand.

A source of this provider has an instance of its own, made from its table. It does not submit: what a service wants to
be told differs too much to be said in a table.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import Any

from receiver.errors import MalformedDelivery
from receiver.model.delivery import Headers, Parsed
from receiver.model.event import COMPLETED, FAILED, TERMINAL, TEST
from receiver.providers.addresses import audio_fields, files_of, is_at_home, temporary
from receiver.providers.answers import Asked, open_answer, still_running
from receiver.providers.asking import get, segment
from receiver.providers.base import AudioRequest, header_word, read_json_object, usable_word
from receiver.providers.defaults import ProviderDefaults
from receiver.providers.fields import Trouble, is_address, read_error, status_word, trouble_of, views, web_addresses
from receiver.providers.places import Place, fill, find, first, with_lists
from receiver.providers.shape import JOB_ID, Shape
from receiver.providers.wire import Account, Capabilities, Ended, Invalid, Request, Response, Speech, Status, Submitted

RETRY_SECONDS = 72 * 3600.0
"""How long after its first attempt a delivery may come again: the longest that is usual, for we do not know."""


class Generic(ProviderDefaults):
    """The provider named `generic`, as one source's table describes it.

    Args:
        base_url: the service's address; empty for one that is neither asked nor fetched from with a key.
    """

    def __init__(self, shape: Shape, base_url: str = "") -> None:
        self.name = "generic"
        self.shape = shape
        self.base_url = base_url
        self.scheme = shape.scheme
        self.retry_window_seconds = RETRY_SECONDS if shape.scheme else 0.0
        self.kept_headers: tuple[str, ...] = (shape.event_header.lower(),) if shape.event_header else ()
        self.capabilities = Capabilities(
            webhooks=shape.scheme is not None,
            polling=shape.status_path is not None,
            submit=False,
            several_outputs=True,
            min_poll_seconds=shape.min_poll_seconds,
        )

    def submit_request(self, account: Account, speech: Speech, idempotency_key: str) -> Request:
        """Refuse.

        Raises:
            Invalid: always.
        """
        raise _no_submit()

    def read_submit(self, account: Account, response: Response) -> Submitted:
        """Refuse: there was no submit that this could be the answer to.

        Raises:
            ProviderError: always.
        """
        open_answer(Asked(self.name, account), response)
        raise _no_submit()

    def status_request(self, account: Account, job_id: str) -> Request:
        """`GET` of the configured address.

        Raises:
            Invalid: none is configured.
        """
        if self.shape.status_path is None:
            raise Invalid("This source has no status_url: its jobs cannot be asked about.")
        path = self.shape.status_path.replace(JOB_ID, segment(job_id))
        return get(account, path, self._credentials(account.api_key))

    def read_status(self, account: Account, job_id: str, response: Response) -> Status:
        """Read the answer by the status word alone; one that is in neither list means still running."""
        asked = Asked(self.name, account, job_id)
        document = open_answer(asked, response)
        value = first(document, self.shape.status)
        word = status_word(value)
        type_ = self._meaning(word)
        if type_ is not None:
            return Ended(Parsed(type_, job_id, self._payload(type_, document)))
        return still_running(asked, response, document, value, progress=first(document, self.shape.progress))

    def parse_delivery(self, headers: Headers, body: bytes) -> Parsed:
        """Read a delivery by the configured places.

        The signed body says what happened, by its event word and its status. Without an event word the status is the
        event's word. Where the body has neither, the unsigned event header may name a `test`, and nothing else.

        A status that means an end, beside another event word and without a job id, means none.

        Raises:
            InvalidJson: not a JSON object.
            MalformedDelivery: no usable word, a terminal event without a usable job id, or a source
                that has no webhooks.
        """
        if self.scheme is None:
            raise MalformedDelivery("This source names no scheme: it has no webhooks.", reason="no_event")
        document = read_json_object(body)
        shape = self.shape
        value = first(document, shape.event)
        word, status = usable_word(value), status_word(first(document, shape.status))
        header_event = header_word(headers, shape.event_header.lower().encode()) if shape.event_header else None
        type_ = self._meaning(word and word.lower(), status)
        if value is None and type_ is None:
            word = status or (TEST if header_event == TEST else None)
        notes = (
            ["event_header_mismatch"] if header_event is not None and self._differs(header_event, word, type_) else []
        )
        if type_ is None and word is None:
            raise MalformedDelivery("The signed body has neither an event word nor a status.", reason="no_event")
        job_id = usable_word(first(document, shape.job_id))
        if job_id is None and word is not None and self._meaning(word.lower()) is None:
            type_ = None  # an event of another kind, whose status is not a job's
        if type_ is None:
            if word != TEST:
                notes.append("unknown_event")
            return Parsed(str(word), job_id, document, tuple(notes))
        if job_id is None:
            raise MalformedDelivery(f"{type_} without a usable job id.", reason="no_job_id")
        return Parsed(type_, job_id, self._payload(type_, document), tuple(notes))

    def delivery_headers(self, event: str, delivery_id: str) -> list[tuple[str, str]]:
        """The configured event header, unless the signature's headers include it."""
        if self.scheme is None:
            raise _no_delivery()
        name = self.shape.event_header
        return [(name, self._spelled(event))] if name and name.lower() not in self.shape.signed_headers else []

    def sample_body(
        self, event: str, job_id: str, created_at: str, metadata: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """A body with the configured places filled, and nothing else in it.

        Raises:
            Invalid: metadata, and no place for it or an event that is not the end of a job.
        """
        if self.scheme is None:
            raise _no_delivery()
        if metadata and event not in TERMINAL:
            raise Invalid(f"Only the end of a job has metadata, not {event}: add --event {COMPLETED}.")
        if metadata and not self.shape.metadata:
            raise Invalid("This source names no place for it: set metadata in the source's generic table.")
        shape, word = self.shape, self._spelled(event)
        values: list[tuple[tuple[Place, ...], Any]] = [(shape.event, word), (shape.job_id, job_id)]
        if event in (COMPLETED, FAILED) or not shape.event:
            values.append((shape.status, word))
        if event == FAILED:
            values += [(shape.error_code, "GENERATION_FAILED"), (shape.error_message, "sent by hand")]
        if metadata:
            values.append((shape.metadata, dict(metadata)))
        body: dict[str, Any] = {}
        for places, value in values:
            if places:
                fill(body, places[0], value)
        return {name: with_lists(value) for name, value in body.items()}

    def audio_requests(
        self, base_url: str, api_key: str | None, job_id: str, payload: Mapping[str, Any]
    ) -> list[list[AudioRequest]]:
        """Each file's addresses from all configured places. The key is for those at the service's own origin: at
        once where audio needs it, else after a refusal without it."""
        key = self._credentials(api_key)

        def request(url: str) -> AudioRequest:
            if key and self.shape.audio_needs_key and is_at_home(url, base_url):
                return AudioRequest(url, key, durable=True)
            return temporary(url, base_url, key)

        return [[request(url) for url in ways] for ways in files_of(payload, base_url)]

    def _credentials(self, api_key: str | None) -> dict[str, str]:
        return {} if api_key is None else {self.shape.auth_header: f"{self.shape.auth_prefix}{api_key}"}

    def _meaning(self, *words: str | None) -> str | None:
        """The terminal event that one of these words means, in lower case. A word for a failure counts for more."""
        if any(word in self.shape.failed_words or word == FAILED for word in words):
            return FAILED
        if any(word in self.shape.completed_words or word == COMPLETED for word in words):
            return COMPLETED
        return None

    def _differs(self, header_event: str, word: str | None, type_: str | None) -> bool:
        """Whether the event header says something else than the body."""
        header_type = self._meaning(header_event.lower())
        return (word is not None and header_event != word) or (
            (word is None or header_type is not None) and header_type != type_
        )

    def _spelled(self, event: str) -> str:
        """An event word as the service would write it."""
        words = {COMPLETED: self.shape.completed_words, FAILED: self.shape.failed_words}.get(event)
        return words[0] if words else event

    def _payload(self, type_: str, document: Mapping[str, Any]) -> dict[str, Any]:
        payload: dict[str, Any] = {"status": "completed" if type_ == COMPLETED else "failed"}
        if type_ == COMPLETED:
            found = [urls for place in self.shape.audio_url if (urls := web_addresses(find(document, place)))]
            found = [urls for urls in found if is_address(urls[0])] or found
            payload |= audio_fields(found[0] if found else (), chain.from_iterable(found[1:]))
        else:
            payload["error"] = self._trouble(document)._asdict()
        metadata = first(document, self.shape.metadata)
        if metadata is not None:
            payload["metadata"] = metadata
        return payload

    def _trouble(self, document: Mapping[str, Any]) -> Trouble:
        """What went wrong: from the configured places, else from wherever services usually say so."""
        code, message = (first(document, places) for places in (self.shape.error_code, self.shape.error_message))
        said = Trouble(
            _text(code), _text(message) or read_error(message if isinstance(message, dict) else None).message
        )
        return said if any(said) else trouble_of(*views(document))


def _text(value: object) -> str:
    return str(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else ""


def _no_submit() -> Invalid:
    return Invalid(
        "A generic source cannot submit; submit as you do now, and watch the job with `tts-receiver jobs watch`."
    )


def _no_delivery() -> ValueError:
    return ValueError("This generic source sends no webhooks: there is no delivery to make.")
