"""FineVoice: polling only; every kind of its tasks is asked for at one address.

Wire facts: the service's founding documents and its public documentation, read 2026-11. The HTTP status of an answer is
200 whatever it says; the body's own `status` is the HTTP-like one.
"""

from __future__ import annotations

from receiver.providers.answers import Asked, open_answer, refusal, still_running
from receiver.providers.asking import bearer, get, segment
from receiver.providers.fields import pick, status_word, trouble_of, views, web_addresses
from receiver.providers.poll_only import PollOnly, completed, failed
from receiver.providers.wire import Account, Capabilities, Request, Response, Status

_DONE = 200
_ABOUT_THE_REQUEST = frozenset({401, 403, 404, 408, 410, 429, 502, 503, 504})
"""Body statuses that say something of our asking. Any other error is the task's own, and final."""


class Finevoice(PollOnly):
    """The provider named `finevoice`."""

    name = "finevoice"
    base_url = "https://apis.finevoice.ai"
    capabilities = Capabilities(several_outputs=True)

    def status_request(self, account: Account, job_id: str) -> Request:
        """`GET /v1/task/{task_id}`."""
        return get(account, f"/v1/task/{segment(job_id)}", bearer(account))

    def read_status(self, account: Account, job_id: str, response: Response) -> Status:
        """Body status 200 is done, with `url` or `urls`; 202 is running; an `error` otherwise.

        An error status without an `error` does not say that the task has ended: it is asked again.
        """
        asked = Asked(self.name, account, job_id)
        document = open_answer(asked, response)
        places = views(document)
        value = pick(places, "status")
        word = status_word(value) or ""
        status = int(word) if word.isascii() and word.isdigit() and len(word) == 3 else 0
        if status == _DONE:
            return completed(job_id, web_addresses(pick(places, "url", "audio_url"), pick(places, "urls")))
        if status in _ABOUT_THE_REQUEST:
            raise refusal(asked, response, document, status=status)
        if word and pick(places, "error") is not None and not 100 <= status <= 299:
            return failed(job_id, trouble_of(*places))
        if status >= 400:
            raise refusal(asked, response, document, status=status)
        return still_running(asked, response, document, value)
