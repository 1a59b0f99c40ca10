"""Audixa AI, versions 2 and 3 of its API: polling only.

Wire facts: the founding documents describe `/v2`; the service's public documentation and its Python SDK describe `/v3`
(read 2026-11). Which one an account uses is its `api_version`. The answers differ in words only and are read alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

from receiver.providers.answers import Asked, open_answer, still_running, submitted
from receiver.providers.asking import check_speech, get, key_header, post_json
from receiver.providers.fields import Trouble, pick, status_word, trouble_of, views, web_addresses
from receiver.providers.poll_only import PollOnly, completed, failed
from receiver.providers.wire import Account, Capabilities, Invalid, Request, Response, Speech, Status, Submitted

_V2 = Capabilities(options=("speed", "model"), min_poll_seconds=1.0, id_lifetime_seconds=24 * 3600.0)
_V3 = replace(_V2, formats=("wav", "mp3"), history=True)
_STATUS_PATHS = {"v2": "/v2/status", "v3": "/v3/tts"}
_SUBMIT_PATHS = {"v2": "/v2/tts", "v3": "/v3/tts"}
_VOICE_FIELDS = {"v2": "voice", "v3": "voice_id"}


class Audixa(PollOnly):
    """The provider named `audixa`."""

    name = "audixa"
    base_url = "https://api.audixa.ai"
    capabilities = replace(_V2, versions={"v2": _V2, "v3": _V3})

    def submit_request(self, account: Account, speech: Speech, idempotency_key: str) -> Request:
        """`POST /v2/tts` or `/v3/tts`. There is no idempotency key: one answer lost may be one job paid for."""
        version = _version(account)
        check_speech(self.name, speech, self.capabilities.of(account))
        fields = {
            "text": speech.text,
            _VOICE_FIELDS[version]: speech.voice,
            "model": speech.model,
            "speed": speech.speed,
            "audio_format": speech.format,
        }
        return post_json(account, _SUBMIT_PATHS[version], key_header(account, "x-api-key"), fields)

    def read_submit(self, account: Account, response: Response) -> Submitted:
        """Read `{"generation_id"}`, with a `status` in v3."""
        asked = Asked(self.name, account)
        document = open_answer(asked, response)
        value = pick(views(document), "generation_id")
        return submitted(asked, response, document, value, lambda job_id: _read(asked, job_id, response, document))

    def status_request(self, account: Account, job_id: str) -> Request:
        """`GET /v2/status?generation_id=`, or `GET /v3/tts?generation_id=`.

        Raises:
            Invalid: the account's `api_version` is not one of ours.
        """
        query = urlencode({"generation_id": job_id}, errors="surrogatepass")
        return get(account, f"{_STATUS_PATHS[_version(account)]}?{query}", key_header(account, "x-api-key"))

    def read_status(self, account: Account, job_id: str, response: Response) -> Status:
        """v2: `Generating` / `Completed` / `Failed`; v3: `IN_QUEUE` / … / `EXPIRED`. In any case of letters.

        An expired job has no audio any more, so it has failed: its code is then `EXPIRED`.
        """
        asked = Asked(self.name, account, job_id)
        document = open_answer(asked, response)
        return _read(asked, job_id, response, document)


def _version(account: Account) -> str:
    version = account.api_version or "v2"
    if version not in _STATUS_PATHS:
        raise Invalid(f"audixa has no api_version {version!r}; there is: v2, v3.")
    return version


def _read(asked: Asked, job_id: str, response: Response, document: Mapping[str, Any]) -> Status:
    places = views(document)
    value = pick(places, "status")
    match status_word(value):
        case "completed":
            return completed(job_id, web_addresses(pick(places, "audio_url"), pick(places, "url"))[:1])
        case "failed":
            return failed(job_id, trouble_of(*places))
        case "expired":
            said = trouble_of(*places)
            return failed(job_id, Trouble(said.code or "EXPIRED", said.message))
    return still_running(asked, response, document, value)
