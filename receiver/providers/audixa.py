"""Audixa AI, versions 2 and 3 of its API: polling only.

Wire facts: the founding documents describe `/v2`; the service's public documentation and its Python SDK describe `/v3`
(read 2026-11). Which one an account uses is its `api_version`. The answers differ in words only and are read alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from receiver.providers.answers import Asked, open_answer, open_rows, still_running, submitted
from receiver.providers.asking import get, key_header, post_json, with_query
from receiver.providers.base import usable_word
from receiver.providers.checking import check_speech
from receiver.providers.fields import Trouble, pick, status_word, trouble_of, views, web_addresses
from receiver.providers.poll_only import PollOnly, completed, failed
from receiver.providers.voices import voices_of
from receiver.providers.wire import (
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

_V2 = Capabilities(
    options=("speed", "model"),
    models=("base", "advance"),
    voices=True,
    min_poll_seconds=1.0,
    id_lifetime_seconds=24 * 3600.0,
)
_V3 = replace(_V2, formats=("wav", "mp3"), models=("base", "advanced"), history=True)
_STATUS_PATHS = {"v2": "/v2/status", "v3": "/v3/tts"}
_SUBMIT_PATHS = {"v2": "/v2/tts", "v3": "/v3/tts"}
_VOICES_PAGE = 500
"""The most that the SDK documents for one call of v3."""
_VOICE_FIELDS = {"v2": "voice", "v3": "voice_id"}


class Audixa(PollOnly):
    """The provider named `audixa`."""

    name = "audixa"
    base_url = "https://api.audixa.ai"
    capabilities = replace(_V2, versions={"v2": _V2, "v3": _V3})

    def credentials(self, account: Account) -> dict[str, str]:
        """`x-api-key`."""
        return key_header(account, "x-api-key")

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
        return post_json(account, _SUBMIT_PATHS[version], self.credentials(account), fields)

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
        path = with_query(_STATUS_PATHS[_version(account)], {"generation_id": job_id})
        return get(account, path, self.credentials(account))

    def read_status(self, account: Account, job_id: str, response: Response) -> Status:
        """v2: `Generating` / `Completed` / `Failed`; v3: `IN_QUEUE` / … / `EXPIRED`. In any case of letters.

        An expired job has no audio any more, so it has failed: its code is then `EXPIRED`.
        """
        asked = Asked(self.name, account, job_id)
        document = open_answer(asked, response)
        return _read(asked, job_id, response, document)

    def voices_request(self, account: Account, query: VoiceQuery) -> Request:
        """`GET /v2/voices?model=`, or `GET /v3/voices`, which takes a `model`, too.

        Raises:
            Invalid: a filter by language, gender or provider, or an unknown model.
        """
        version = _version(account)
        if any(word is not None for word in (query.language, query.gender, query.provider)):
            raise Invalid(f"{self.name} lists its voices by model only, not by language, gender or provider.")
        models = self.capabilities.of(account).models
        if query.model is not None and query.model not in models:
            raise Invalid(f"{self.name} has no model {query.model!r}; there is: {', '.join(models)}.")
        wanted = {"limit": str(_VOICES_PAGE)} if version == "v3" else {}
        wanted |= {} if query.model is None else {"model": query.model}
        return get(account, with_query(f"/{version}/voices", wanted), self.credentials(account))

    def read_voices(self, account: Account, response: Response) -> list[Voice]:
        """Read `{"voices": […]}`; what v2 answers is not documented, so a bare list is read as well."""
        return voices_of(open_rows(Asked(self.name, account), response, "voices"))

    def history_request(self, account: Account, offset: int) -> Request:
        """`GET /v3/history?limit=&offset=`. That the newest are first is not documented.

        Raises:
            Invalid: v2 has no history.
        """
        if not self.capabilities.of(account).history:
            raise self._no_history(account)
        _version(account)
        query = {"limit": str(HISTORY_PAGE), "offset": str(max(0, offset))}
        return get(account, with_query("/v3/history", query), self.credentials(account))

    def read_history(self, account: Account, response: Response) -> dict[str, Status]:
        """Read `{"history": [{"generation_id", "status", …}]}`, each row like an answer to a question for its status.

        Raises:
            Invalid: v2 has no history.
        """
        if not self.capabilities.of(account).history:
            raise self._no_history(account)
        asked = Asked(self.name, account)
        found: dict[str, Status] = {}
        for row in open_rows(asked, response, "history"):
            job_id = usable_word(pick((row,), "generation_id", "id")) if isinstance(row, dict) else None
            if job_id is None:
                continue
            try:
                status = _read(asked, job_id, response, row)
                found.setdefault(job_id, replace(status, document=row) if isinstance(status, Ended) else status)
            except ProviderError:  # a row that cannot be read is asked about alone
                continue
        return found


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
            urls = web_addresses(pick(places, "audio_url"), pick(places, "url"))
            return completed(job_id, urls[:1], urls[1:])
        case "failed":
            return failed(job_id, trouble_of(*places))
        case "expired":
            said = trouble_of(*places)
            return failed(job_id, Trouble(said.code or "EXPIRED", said.message))
    return still_running(asked, response, document, value)
