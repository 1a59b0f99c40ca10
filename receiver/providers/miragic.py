"""Miragic: polling only.

Wire facts: the service's founding documents. They name the audio's address in four ways; all are read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from receiver.providers.answers import Asked, open_answer, still_running, submitted
from receiver.providers.asking import get, key_header, post_form, segment
from receiver.providers.checking import check_speech
from receiver.providers.fields import pick, status_word, trouble_of, views, web_addresses
from receiver.providers.poll_only import PollOnly, completed, failed
from receiver.providers.wire import Account, Capabilities, Request, Response, Speech, Status, Submitted

_VOICES = (
    "alloy", "amuch", "ash", "ballad", "coral", "dan", "echo",
    "elan", "fable", "nova", "onyx", "sage", "shimmer", "verse",
)  # fmt: skip
"""All fourteen documented voices; a submit may accept others."""
_AUDIO_FIELDS = ("audioUrl", "audio_link", "download_signed_url")


class Miragic(PollOnly):
    """The provider named `miragic`."""

    name = "miragic"
    base_url = "https://backend.miragic.ai"
    capabilities = Capabilities(known_voices=_VOICES)

    def credentials(self, account: Account) -> dict[str, str]:
        """`X-API-Key`. The audio's address is at the API's own origin; whether it needs the key is not documented."""
        return key_header(account, "X-API-Key")

    def submit_request(self, account: Account, speech: Speech, idempotency_key: str) -> Request:
        """`POST /api/v1/text-to-speech/generate`, a multipart form. There is no idempotency key."""
        check_speech(self.name, speech, self.capabilities)
        fields = {"text": speech.text, "voice": speech.voice}
        return post_form(account, "/api/v1/text-to-speech/generate", self.credentials(account), fields)

    def read_submit(self, account: Account, response: Response) -> Submitted:
        """Read `{"success", "data": {"jobId", "status"}, "message"}`."""
        asked = Asked(self.name, account)
        document = open_answer(asked, response)
        value = pick(views(document), "jobId", "id")
        return submitted(asked, response, document, value, lambda job_id: _read(asked, job_id, response, document))

    def status_request(self, account: Account, job_id: str) -> Request:
        """`GET /api/v1/text-to-speech/jobs/{jobId}`."""
        return get(account, f"/api/v1/text-to-speech/jobs/{segment(job_id)}", self.credentials(account))

    def read_status(self, account: Account, job_id: str, response: Response) -> Status:
        """`PENDING`, with `progress` where it is given; `COMPLETED`; `FAILED` with `errorMessage`."""
        asked = Asked(self.name, account, job_id)
        document = open_answer(asked, response)
        return _read(asked, job_id, response, document)


def _read(asked: Asked, job_id: str, response: Response, document: Mapping[str, Any]) -> Status:
    places = views(document)
    value = pick(places, "status")
    match status_word(value):
        case "completed":
            urls = _audio_addresses(places)
            return completed(job_id, urls[:1], urls[1:])
        case "failed":
            return failed(job_id, trouble_of(*places))
    return still_running(asked, response, document, value, progress=pick(places, "progress"))


def _audio_addresses(places: tuple[Mapping[str, Any], ...]) -> list[str]:
    """Every address of the audio, the documented first choice first."""
    metadata = pick(places, "metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    inner = metadata.get("apiResponse")
    everywhere = (inner if isinstance(inner, dict) else {}, *places, metadata)
    return web_addresses(*(place.get(name) for name in _AUDIO_FIELDS for place in everywhere))
