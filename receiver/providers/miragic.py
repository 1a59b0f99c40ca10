"""Miragic: polling only.

Wire facts: the service's founding documents. They have four names for the field of the audio's URL; all are read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from receiver.model.charge import CREDITS
from receiver.providers.audio_urls import AudioUrls
from receiver.providers.fields import error_detail, pick, status_word, unwrap, web_addresses
from receiver.providers.outcomes import completed, failed, running, submitted
from receiver.providers.requests import get, key_header, path_segment, post_form
from receiver.providers.responses import RequestContext, read_object
from receiver.providers.tasks import JsonTasks
from receiver.providers.types import Account, Capabilities, Ended, Request, Response, Speech, Status, Submitted
from receiver.providers.validation import check_speech

_VOICES = (
    "alloy", "amuch", "ash", "ballad", "coral", "dan", "echo",
    "elan", "fable", "nova", "onyx", "sage", "shimmer", "verse",
)  # fmt: skip
"""All fourteen documented voices; a submit may accept others."""
_AUDIO_FIELDS = ("audioUrl", "audio_link", "download_signed_url")


class Miragic(AudioUrls, JsonTasks):
    """The provider `miragic`."""

    name = "miragic"
    base_url = "https://backend.miragic.ai"
    capabilities = Capabilities(known_voices=_VOICES, pass_through=True)

    def credentials(self, account: Account) -> dict[str, str]:
        """`X-API-Key`. The audio's URL is at the API's own origin; whether it requires the key is not documented."""
        return key_header(account, "X-API-Key")

    def submit_request(self, account: Account, speech: Speech, idempotency_key: str) -> Request:
        """`POST /api/v1/text-to-speech/generate`, a multipart form. There is no idempotency key."""
        check_speech(self.name, speech, self.capabilities)
        fields = {"text": speech.text, "voice": speech.voice}
        path = "/api/v1/text-to-speech/generate"
        return post_form(account, path, self.credentials(account), fields, speech.options)

    def read_submit(self, account: Account, response: Response) -> Submitted:
        """Read `{"success", "data": {"jobId", "status"}, "message"}`."""
        context = RequestContext(self.name, account)
        document = read_object(context, response)
        value = pick(unwrap(document), "jobId", "id")
        return submitted(context, response, document, value, lambda job_id: _read(context, job_id, response, document))

    def status_request(self, account: Account, job_id: str) -> Request:
        """`GET /api/v1/text-to-speech/jobs/{jobId}`."""
        return get(account, f"/api/v1/text-to-speech/jobs/{path_segment(job_id)}", self.credentials(account))

    def read_status(self, account: Account, job_id: str, response: Response) -> Status:
        """Read `PENDING`, with `progress` if it is given; `COMPLETED`; `FAILED` with `errorMessage`."""
        context = RequestContext(self.name, account, job_id)
        document = read_object(context, response)
        return _read(context, job_id, response, document)


def _read(context: RequestContext, job_id: str, response: Response, document: Mapping[str, Any]) -> Status:
    objects = unwrap(document)
    value = pick(objects, "status")
    match status_word(value):
        case "completed":
            urls = _audio_urls(objects)
            return _with_credits(completed(job_id, urls[:1], urls[1:]), objects)
        case "failed":
            return _with_credits(failed(job_id, error_detail(*objects)), objects)
    return running(context, response, document, value, progress=pick(objects, "progress"))


def _with_credits(ended: Ended, objects: tuple[Mapping[str, Any], ...]) -> Ended:
    """Add `creditsUsed` to the payload, if it is given."""
    used = pick(objects, "creditsUsed")
    if used is None:
        return ended
    return replace(ended, parsed=ended.parsed._replace(payload={**ended.parsed.payload, CREDITS: used}))


def _audio_urls(objects: tuple[Mapping[str, Any], ...]) -> list[str]:
    """Return every URL of the audio, `audioUrl` first, as documented."""
    metadata = pick(objects, "metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    inner = metadata.get("apiResponse")
    candidates = (inner if isinstance(inner, dict) else {}, *objects, metadata)
    return web_addresses(*(item.get(name) for name in _AUDIO_FIELDS for item in candidates))
