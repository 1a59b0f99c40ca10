"""AI TTS Microservice: webhooks and a durable, redirecting audio endpoint.

Wire facts: the service's founding documents and its public webhook documentation, read 2026-11.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urljoin

from receiver.errors import MalformedDelivery
from receiver.model.charge import read_charge
from receiver.model.delivery import Headers, Parsed
from receiver.model.event import COMPLETED, FAILED, TERMINAL, TEST
from receiver.providers.aitts_account import AccountWebhook
from receiver.providers.aitts_errors import CODES, SUBMIT_CODES
from receiver.providers.audio_urls import file_urls, temporary_request
from receiver.providers.base import AudioRequest, header_word, origin_of, read_json_object, usable_word
from receiver.providers.fields import read_error, status_word
from receiver.providers.outcomes import running, submitted
from receiver.providers.requests import bearer, get, path_segment, post_json, with_query
from receiver.providers.responses import RequestContext, read_object, read_rows
from receiver.providers.tasks import JsonTasks, Task, task_request
from receiver.providers.types import (
    Account,
    Capabilities,
    Ended,
    Invalid,
    Request,
    Response,
    Speech,
    Status,
    StreamedJob,
    Submitted,
    Voice,
    VoiceQuery,
)
from receiver.providers.validation import check_speech
from receiver.providers.voices import parse_voices

_RATES = (8000, 12000, 16000, 22050, 24000, 44100, 48000)
_OPUS_RATES = (8000, 16000, 24000, 48000)
_STREAM = Capabilities(
    formats=("wav", "mp3", "ogg_opus"),
    options=("sample_rate",),
    sample_rates={"": _RATES, "wav": _RATES, "mp3": _RATES, "ogg_opus": _OPUS_RATES},
    pass_through=True,
)
"""What a request for a stream accepts."""
_NOT_STREAMED = ("output_bitrate_kbps", "speed", "model_type", "webhook_url", "metadata")
"""The fields of a submit that a stream does not have, and which are therefore not options of it either."""
_OUTCOME_FIELDS = ("status", "metadata")
_COMPLETED_FIELDS = (*_OUTCOME_FIELDS, "audio_endpoint", "audio_url", "audio_url_expires_at", "chars_charged")
_SUBMIT_PATH = "/api/v1/tts"
_OUTCOMES = {"completed": COMPLETED, "failed": FAILED}


class Aitts(AccountWebhook, JsonTasks):
    """The provider `aitts`."""

    name = "aitts"
    base_url = "https://aitts.theproductivepixel.com"
    scheme = "tts"
    kept_headers: tuple[str, ...] = ("x-tts-event", "x-tts-delivery-id")
    retry_window_seconds = 38 * 3600.0
    capabilities = Capabilities(
        idempotent_submit=True,
        formats=("wav", "mp3", "ogg_opus"),
        options=("sample_rate", "bitrate_kbps", "speed", "model", "webhook_url"),
        sample_rates={"": _RATES, "wav": _RATES, "mp3": _RATES, "ogg_opus": _OPUS_RATES},
        bitrates={"mp3": (32, 320), "ogg_opus": (6, 320)},
        pass_through=True,
    )

    def credentials(self, account: Account) -> dict[str, str]:
        """`Authorization: Bearer`."""
        return bearer(account)

    def submit_request(self, account: Account, speech: Speech, idempotency_key: str) -> Request:
        """`POST /api/v1/tts`; the same key and speech get the same response."""
        check_speech(self.name, speech, self.capabilities)
        fields = {
            "text": speech.text,
            "voice_id": speech.voice,
            "output_format": speech.format,
            "sample_rate_hertz": speech.sample_rate,
            "output_bitrate_kbps": speech.bitrate_kbps,
            "speed": speech.speed,
            "model_type": speech.model,
            "webhook_url": speech.webhook_url,
            "metadata": None if speech.metadata is None else dict(speech.metadata),
        }
        headers = bearer(account) | {"Idempotency-Key": idempotency_key}
        return post_json(account, _SUBMIT_PATH, headers, fields, speech.options)

    def read_submit(self, account: Account, response: Response) -> Submitted:
        """Read the 202 `{"success", "data": {"job_id", "status", "chars_charged", …}}`."""
        context = RequestContext(self.name, account, codes=SUBMIT_CODES)
        document = read_object(context, response)
        accepted = submitted(
            context,
            response,
            document,
            _data(document).get("job_id"),
            lambda job_id: _read(context, job_id, response, document),
        )
        return replace(accepted, charge=read_charge(_data(document)))

    def stream_request(self, account: Account, speech: Speech) -> Request:
        """`POST /api/v1/tts/stream`: short texts only, and no other options. It has no idempotency key."""
        check_speech(f"A stream of {self.name}", speech, _STREAM)
        if speech.metadata is not None:
            raise Invalid(f"A stream of {self.name} does not accept metadata: its webhook would not return them.")
        fields = {
            "text": speech.text,
            "voice_id": speech.voice,
            "output_format": speech.format,
            "sample_rate_hertz": speech.sample_rate,
        } | dict.fromkeys(_NOT_STREAMED)
        return post_json(account, "/api/v1/tts/stream", bearer(account), fields, speech.options)

    def read_stream(self, account: Account, response: Response) -> StreamedJob:
        """Read `{"success", "data": {"job_id", "stream_url", "transport_format"}}`.

        Whether the address needs the API key is not documented. It gets the key at the account's own origin only.
        """
        context = RequestContext(self.name, account, codes=SUBMIT_CODES)
        document = read_object(context, response)
        data = _data(document)
        accepted = submitted(
            context,
            response,
            document,
            data.get("job_id"),
            lambda _: running(context, response, document, data.get("status")),
        )
        url = _absolute(account.base_url, data.get("stream_url"))
        own = url is not None and origin_of(url) == origin_of(account.base_url)
        headers = bearer(account) if own else {}
        return StreamedJob(accepted.job_id, url, headers, usable_word(data.get("transport_format")))

    def task_request(self, account: Account, task: Task, idempotency_key: str) -> Request:
        """`POST` of the body to the path, with an idempotency key where the service documents one."""
        key = {"Idempotency-Key": idempotency_key} if self.is_idempotent_task(task) else {}
        return task_request(account, task, bearer(account) | key)

    def is_idempotent_task(self, task: Task) -> bool:
        """Return whether it is a speech job: no other request is documented to take a key."""
        return task.path == _SUBMIT_PATH

    def status_request(self, account: Account, job_id: str) -> Request:
        """`GET /api/v1/tts/{job_id}`."""
        return get(account, f"/api/v1/tts/{path_segment(job_id)}", bearer(account))

    def read_status(self, account: Account, job_id: str, response: Response) -> Status:
        """Read `{"success", "data": {"status", …}}`; an ended job has the same payload as its delivery."""
        context = RequestContext(self.name, account, job_id, CODES)
        document = read_object(context, response)
        return _read(context, job_id, response, document)

    def voices_request(self, account: Account, query: VoiceQuery) -> Request:
        """`GET /api/v1/voices?language=&provider=&model_type=&gender=`."""
        given = {
            "language": query.language,
            "provider": query.provider,
            "model_type": query.model,
            "gender": query.gender,
        }
        wanted = {name: value for name, value in given.items() if value is not None}
        return get(account, with_query("/api/v1/voices", wanted), bearer(account))

    def read_voices(self, account: Account, response: Response) -> list[Voice]:
        """Read `{"success", "data": {"voices": […]}}`, or the list as `data`: the form is not documented."""
        return parse_voices(read_rows(RequestContext(self.name, account, codes=CODES), response, "voices"))

    def parse_delivery(self, headers: Headers, body: bytes) -> Parsed:
        """Read `{"event", "data": {…}}`, or the flat form without `data` that is also in public use.

        The signed body decides, by its event, else by its status. The body of a test is not documented: if the
        body has neither, the unsigned `X-TTS-Event` may name a `test`, and nothing else.

        Raises:
            InvalidJson: not a JSON object.
            MalformedDelivery: no event word, or a terminal event without a usable job id.
        """
        document = read_json_object(body)
        data = _data(document)
        header_event = header_word(headers, b"x-tts-event")
        if document.get("event") is not None:
            word = usable_word(document["event"])
        else:
            word = _OUTCOMES.get(status_word(data.get("status")) or "") or (TEST if header_event == TEST else None)
        if word is None:
            raise MalformedDelivery(
                "The signed body has neither an event nor the status of an ended job.", reason="no_event"
            )
        notes = ["event_header_mismatch"] if header_event is not None and word != header_event else []
        job_id = usable_word(data.get("job_id"))
        if word not in TERMINAL:
            if word != TEST:
                notes.append("unknown_event")
            return Parsed(word, job_id, document, tuple(notes))
        if job_id is None:
            raise MalformedDelivery(f"{word} without a usable job_id.", reason="no_job_id")
        return Parsed(word, job_id, _job_payload(word, document, data), tuple(notes))

    def delivery_headers(self, event: str, delivery_id: str) -> list[tuple[str, str]]:
        """Return the two unsigned headers of each delivery."""
        return [("X-TTS-Event", event), ("X-TTS-Delivery-ID", delivery_id)]

    def sample_body(
        self, event: str, job_id: str, created_at: str, metadata: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return a delivery's body in the documented form.

        Raises:
            Invalid: metadata of an event that is not the end of a job.
        """
        if metadata and event not in TERMINAL:
            raise Invalid(f"Only the end of a job has metadata, not {event}: add --event {COMPLETED}.")
        data: dict[str, Any] = {"job_id": job_id}
        if event == COMPLETED:
            data |= {"status": "completed", "audio_endpoint": audio_path(job_id)}
        elif event == FAILED:
            data |= {"status": "failed", "error": {"code": "GENERATION_FAILED", "message": "sent by hand"}}
        if event in TERMINAL:
            data["metadata"] = dict(metadata or {})
        return {"event": event, "created_at": created_at, "data": data}

    def audio_requests(
        self, base_url: str, api_key: str | None, job_id: str, payload: Mapping[str, Any]
    ) -> list[list[AudioRequest]]:
        """Return one file: the durable endpoint with the API key, then the temporary signed URL without it.

        A temporary URL gets the key only if it is at the source's own origin and refuses a request without it. An
        `audio_endpoint` at any other origin is not used: the path is then derived from the job id.
        """
        requests = []
        headers = bearer(Account(base_url, api_key))
        if headers:
            requests.append(AudioRequest(_endpoint(base_url, job_id, payload), headers, durable=True))
        requests += [temporary_request(urls[0], base_url, headers) for urls in file_urls(payload, base_url)[:1]]
        return [requests] if requests else []


def audio_path(job_id: str) -> str:
    """Return the documented path of a job's durable audio."""
    return f"/api/v1/tts/{path_segment(job_id)}/audio"


def _endpoint(base_url: str, job_id: str, payload: Mapping[str, Any]) -> str:
    given = _absolute(base_url, payload.get("audio_endpoint"))
    if given is not None and origin_of(given) == origin_of(base_url):
        return given
    return base_url.rstrip("/") + audio_path(job_id)


def _absolute(base_url: str, given: object) -> str | None:
    """Return an address from outside as an absolute one; None if it is not usable."""
    if not isinstance(given, str) or not given or not given.isascii() or not given.isprintable():
        return None
    try:
        resolved = urljoin(base_url.rstrip("/") + "/", given)
    except ValueError:
        return None
    return resolved if origin_of(resolved) is not None else None


def _read(context: RequestContext, job_id: str, response: Response, document: Mapping[str, Any]) -> Status:
    data = _data(document)
    event = _OUTCOMES.get(status_word(data.get("status")) or "")
    if event is None:
        return running(context, response, document, data.get("status"))
    return Ended(Parsed(event, job_id, _job_payload(event, document, data)))


def _data(document: Mapping[str, Any]) -> Mapping[str, Any]:
    nested = document.get("data")
    return nested if isinstance(nested, dict) else document


def _job_payload(word: str, document: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, Any]:
    names = _COMPLETED_FIELDS if word == COMPLETED else _OUTCOME_FIELDS
    payload: dict[str, Any] = {name: value for name in names if (value := data.get(name)) is not None}
    if isinstance(payload.get("status"), str):
        payload["status"] = payload["status"].strip().lower()
    if word == FAILED:
        payload["error"] = read_error(data.get("error"))._asdict()
    if document.get("created_at") is not None:
        payload["created_at"] = document["created_at"]
    return payload
