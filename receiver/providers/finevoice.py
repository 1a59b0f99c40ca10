"""FineVoice: polling only; every kind of its tasks is asked for at one address.

Wire facts: the service's founding documents and its public documentation, read 2026-11. The HTTP status of an answer is
200 whatever it says; the body's own `status` is the HTTP-like one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from receiver.providers.answers import Asked, open_answer, refusal, still_running, submitted
from receiver.providers.asking import bearer, get, post_json, segment
from receiver.providers.checking import check_speech
from receiver.providers.fields import pick, status_word, trouble_of, views, web_addresses
from receiver.providers.poll_only import PollOnly, completed, failed
from receiver.providers.wire import Account, Capabilities, Request, Response, Speech, Status, Submitted

_DONE = 200
_ABOUT_THE_REQUEST = frozenset({401, 403, 404, 408, 410, 429, 502, 503, 504})
"""Body statuses that say something of our asking. Any other error is the task's own, and final."""


class Finevoice(PollOnly):
    """The provider named `finevoice`."""

    name = "finevoice"
    base_url = "https://apis.finevoice.ai"
    capabilities = Capabilities(several_outputs=True)

    def credentials(self, account: Account) -> dict[str, str]:
        """`Authorization: Bearer`."""
        return bearer(account)

    def submit_request(self, account: Account, speech: Speech, idempotency_key: str) -> Request:
        """`POST /v1/audio/speech-synthesis`, asynchronous. There is no idempotency key."""
        check_speech(self.name, speech, self.capabilities)
        fields = {"voice": speech.voice, "text": speech.text, "useAsync": True}
        return post_json(account, "/v1/audio/speech-synthesis", self.credentials(account), fields)

    def read_submit(self, account: Account, response: Response) -> Submitted:
        """Read `{"status": 202, "taskId"}`; a fast job may be done: status 200, with its `url`.

        One that is done and has no task id is given one made of its address: the audio is paid for.
        """
        asked = Asked(self.name, account)
        document = open_answer(asked, response)
        places = views(document)
        status = _http_like(pick(places, "status"))
        if status >= 300:
            raise refusal(asked, response, document, status=status)
        task_id, addresses = pick(places, "taskId"), _addresses(places)
        if task_id is None and status == _DONE and addresses:
            task_id = "url-" + hashlib.sha256(addresses[0].encode()).hexdigest()[:32]
        return submitted(asked, response, document, task_id, lambda job_id: self.read_status(account, job_id, response))

    def status_request(self, account: Account, job_id: str) -> Request:
        """`GET /v1/task/{task_id}`."""
        return get(account, f"/v1/task/{segment(job_id)}", self.credentials(account))

    def read_status(self, account: Account, job_id: str, response: Response) -> Status:
        """Body status 200 is done, with `url` or `urls`; 202 is running; an `error` otherwise.

        An error status without an `error` does not say that the task has ended: it is asked again.
        """
        asked = Asked(self.name, account, job_id)
        document = open_answer(asked, response)
        places = views(document)
        value = pick(places, "status")
        status = _http_like(value)
        if status == _DONE:
            return completed(job_id, _addresses(places))
        if status in _ABOUT_THE_REQUEST:
            raise refusal(asked, response, document, status=status)
        if status_word(value) and pick(places, "error") is not None and not 100 <= status <= 299:
            return failed(job_id, trouble_of(*places))
        if status >= 400:
            raise refusal(asked, response, document, status=status)
        return still_running(asked, response, document, value)


def _http_like(value: object) -> int:
    """The body's status as a number of three digits; 0 if it is not one."""
    word = status_word(value) or ""
    return int(word) if word.isascii() and word.isdigit() and len(word) == 3 else 0


def _addresses(places: tuple[Mapping[str, Any], ...]) -> list[str]:
    return web_addresses(pick(places, "url", "audio_url"), pick(places, "urls"))
