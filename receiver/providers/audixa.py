"""Audixa AI, versions 2 and 3 of its API: polling only.

Wire facts: the founding documents describe `/v2`; the service's public documentation and its Python SDK describe `/v3`
(read 2026-11). The responses of both have the same structure with different words, and are read by the same code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from receiver.providers.audio_urls import AudioUrls
from receiver.providers.base import usable_word
from receiver.providers.fields import ErrorDetail, error_detail, pick, status_word, unwrap, web_addresses
from receiver.providers.outcomes import completed, failed, running, submitted
from receiver.providers.requests import get, key_header, post_json, with_query
from receiver.providers.responses import RequestContext, read_object, read_rows
from receiver.providers.tasks import JsonTasks
from receiver.providers.types import (
    HISTORY_PAGE,
    Account,
    Capabilities,
    Ended,
    Invalid,
    ProviderError,
    Request,
    Response,
    Speech,
    Status,
    Submitted,
    Voice,
    VoiceQuery,
)
from receiver.providers.validation import check_speech
from receiver.providers.voices import parse_voices

_VOICES_PAGE = 500
"""The maximum for one call of v3, by the SDK's documentation."""


class AudixaV2(AudioUrls, JsonTasks):
    """Version 2, the default of a source."""

    name = "audixa"
    base_url = "https://api.audixa.ai"
    capabilities = Capabilities(options=("speed", "model"), models=("base", "advance"), pass_through=True)
    submit_path = "/v2/tts"
    status_path = "/v2/status"
    voices_path = "/v2/voices"
    voices_page: Mapping[str, str] = {}
    voice_field = "voice"

    def credentials(self, account: Account) -> dict[str, str]:
        """`x-api-key`."""
        return key_header(account, "x-api-key")

    def submit_request(self, account: Account, speech: Speech, idempotency_key: str) -> Request:
        """`POST /v2/tts` or `/v3/tts`. There is no idempotency key: after a lost response a charged job may exist."""
        check_speech(self.name, speech, self.capabilities)
        fields = {
            "text": speech.text,
            "voice_id": None,  # v2 takes it as well: not an option in either version
            self.voice_field: speech.voice,
            "model": speech.model,
            "speed": speech.speed,
        }
        if self.capabilities.formats:
            fields["audio_format"] = speech.format
        return post_json(account, self.submit_path, self.credentials(account), fields, speech.options)

    def read_submit(self, account: Account, response: Response) -> Submitted:
        """Read `{"generation_id"}`, with a `status` in v3."""
        context = RequestContext(self.name, account)
        document = read_object(context, response)
        value = pick(unwrap(document), "generation_id")
        return submitted(context, response, document, value, lambda job_id: _read(context, job_id, response, document))

    def status_request(self, account: Account, job_id: str) -> Request:
        """`GET /v2/status?generation_id=`, or `GET /v3/tts?generation_id=`."""
        return get(account, with_query(self.status_path, {"generation_id": job_id}), self.credentials(account))

    def read_status(self, account: Account, job_id: str, response: Response) -> Status:
        """Read `Generating` / `Completed` / `Failed` (v2), or `IN_QUEUE` / … / `EXPIRED` (v3), in any letter case.

        An expired job no longer has audio, so it is reported as failed, with the code `EXPIRED`.
        """
        context = RequestContext(self.name, account, job_id)
        document = read_object(context, response)
        return _read(context, job_id, response, document)

    def voices_request(self, account: Account, query: VoiceQuery) -> Request:
        """`GET /v2/voices?model=`, or `GET /v3/voices`, which accepts a `model`, too (SDK).

        Raises:
            Invalid: a filter by language, gender or provider, or an unknown model.
        """
        if any(word is not None for word in (query.language, query.gender, query.provider)):
            raise Invalid(f"{self.name} filters its voices by model only, not by language, gender or provider.")
        models = self.capabilities.models
        if query.model is not None and query.model not in models:
            raise Invalid(f"{self.name} has no model {query.model!r}; its models: {', '.join(models)}.")
        fields = {**self.voices_page} | ({} if query.model is None else {"model": query.model})
        return get(account, with_query(self.voices_path, fields), self.credentials(account))

    def read_voices(self, account: Account, response: Response) -> list[Voice]:
        """Read `{"voices": […]}`; the response of v2 is not documented, so a bare list is read as well."""
        return parse_voices(read_rows(RequestContext(self.name, account), response, "voices"))


class AudixaV3(AudixaV2):
    """Version 3: formats can be chosen, and there is a history."""

    capabilities = replace(AudixaV2.capabilities, formats=("wav", "mp3"), models=("base", "advanced"))
    submit_path = "/v3/tts"
    status_path = "/v3/tts"
    voices_path = "/v3/voices"
    voices_page: Mapping[str, str] = {"limit": str(_VOICES_PAGE)}
    voice_field = "voice_id"

    def history_request(self, account: Account, offset: int) -> Request:
        """`GET /v3/history?limit=&offset=`. The order is not documented; newest first is assumed."""
        query = {"limit": str(HISTORY_PAGE), "offset": str(max(0, offset))}
        return get(account, with_query("/v3/history", query), self.credentials(account))

    def read_history(self, account: Account, response: Response) -> dict[str, Status]:
        """Read `{"history": [{"generation_id", "status", …}]}`; each row is read like a response about one job."""
        context = RequestContext(self.name, account)
        found: dict[str, Status] = {}
        for row in read_rows(context, response, "history"):
            job_id = usable_word(pick((row,), "generation_id", "id")) if isinstance(row, dict) else None
            if job_id is None:
                continue
            try:
                status = _read(context, job_id, response, row)
                found.setdefault(job_id, replace(status, document=row) if isinstance(status, Ended) else status)
            except ProviderError:  # this job is polled on its own
                continue
        return found


class Audixa(AudixaV2):
    """The provider `audixa`."""

    versions = {"v2": AudixaV2(), "v3": AudixaV3()}  # noqa: RUF012 - never changed


def _read(context: RequestContext, job_id: str, response: Response, document: Mapping[str, Any]) -> Status:
    objects = unwrap(document)
    value = pick(objects, "status")
    match status_word(value):
        case "completed":
            urls = web_addresses(pick(objects, "audio_url"), pick(objects, "url"))
            return completed(job_id, urls[:1], urls[1:])
        case "failed":
            return failed(job_id, error_detail(*objects))
        case "expired":
            error = error_detail(*objects)
            return failed(job_id, ErrorDetail(error.code or "EXPIRED", error.message))
    return running(context, response, document, value)
