"""Audixa AI, versions 2 and 3 of its API: polling only.

Wire facts: the founding documents describe `/v2`; the service's public documentation and its Python SDK describe `/v3`
(read 2026-11). Which one an account uses is its `api_version`. The answers differ in words only and are read alike.
"""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import urlencode

from receiver.providers.answers import Asked, open_answer, still_running
from receiver.providers.asking import get, key_header
from receiver.providers.fields import Trouble, pick, status_word, trouble_of, views, web_addresses
from receiver.providers.poll_only import PollOnly, completed, failed
from receiver.providers.wire import Account, Capabilities, Invalid, Request, Response, Status

_V2 = Capabilities(min_poll_seconds=1.0, id_lifetime_seconds=24 * 3600.0)
_V3 = replace(_V2, formats=("wav", "mp3"), history=True)
_STATUS_PATHS = {"v2": "/v2/status", "v3": "/v3/tts"}


class Audixa(PollOnly):
    """The provider named `audixa`."""

    name = "audixa"
    base_url = "https://api.audixa.ai"
    capabilities = replace(_V2, versions={"v2": _V2, "v3": _V3})

    def status_request(self, account: Account, job_id: str) -> Request:
        """`GET /v2/status?generation_id=`, or `GET /v3/tts?generation_id=`.

        Raises:
            Invalid: the account's `api_version` is not one of ours.
        """
        path = _STATUS_PATHS.get(account.api_version or "v2")
        if path is None:
            raise Invalid(f"audixa has no api_version {account.api_version!r}; there is: v2, v3.")
        query = urlencode({"generation_id": job_id}, errors="surrogatepass")
        return get(account, f"{path}?{query}", key_header(account, "x-api-key"))

    def read_status(self, account: Account, job_id: str, response: Response) -> Status:
        """v2: `Generating` / `Completed` / `Failed`; v3: `IN_QUEUE` / … / `EXPIRED`. In any case of letters.

        An expired job has no audio any more, so it has failed: its code is then `EXPIRED`.
        """
        asked = Asked(self.name, account, job_id)
        document = open_answer(asked, response)
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
