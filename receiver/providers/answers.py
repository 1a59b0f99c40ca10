"""Reading a provider's answer: the document in it, or the error that it is.

Apart from the provider modules because all of them answer with an HTTP status and a JSON object, and differ in words
only. Nothing here raises anything but `ProviderError`; no text from outside is shown unbounded, unprintable or with the
account's API key in it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from receiver.errors import InvalidJson
from receiver.model.redact import Redactor, cut
from receiver.model.retry_after import http_date, parse_retry_after
from receiver.providers.base import read_json, read_json_object, usable_word
from receiver.providers.fields import Trouble, pick, status_word, trouble_of, views
from receiver.providers.wire import (
    Account,
    Invalid,
    OutOfCredits,
    ProviderError,
    RateLimited,
    Refused,
    Response,
    Running,
    Status,
    Submitted,
    Unauthorized,
    Unavailable,
    UnknownJob,
)

LONGEST_QUOTE = 300
"""How much of a provider's own words goes into an error message, in characters."""
MAX_READ_CHARACTERS = 4_000
"""How many characters are searched: the search for ID tokens takes quadratic time at worst."""


_ID_TOKEN = re.compile(r"eyJ[\w-]{6,}(?:\.[\w-]+)+")
"""What an ID token looks like: it is not the account's, so it is known by its form alone."""


class Meaning(NamedTuple):
    """What a provider's error code or status means.

    Attributes:
        wait: seconds to wait where the answer does not say.
        advice: what to do about it, for a person; empty for what is said of every provider.
    """

    error: type[ProviderError]
    wait: float | None = None
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """What an answer is an answer to.

    Attributes:
        service: the provider's name, for messages.
        job_id: the job that was asked about; None if none was.
        codes: the provider's error codes, where it has some.
        statuses: what a status means here and nowhere else.
    """

    service: str
    account: Account
    job_id: str | None = None
    codes: Mapping[str, Meaning] = field(default_factory=dict)
    statuses: Mapping[int, Meaning] = field(default_factory=dict)


_STATUSES: dict[int, type[ProviderError]] = {
    **dict.fromkeys((400, 405, 406, 411, 413, 414, 415, 422), Invalid),
    **dict.fromkeys((401, 403), Unauthorized),
    402: OutOfCredits,
    **dict.fromkeys((404, 410), UnknownJob),
    429: RateLimited,
}
_MAYBE_ACCEPTED = frozenset({408, 409, 425})
"""4xx that may be no refusal: the request was late, a duplicate, or too early. The body decides."""
_ERROR_FIELDS = ("error", "error_message", "errorMessage")
"""Fields of a body that reports an error; `detail` and `message` may contain anything."""


def open_answer(asked: Asked, response: Response) -> dict[str, Any]:
    """The JSON object of an answer whose HTTP status says success.

    Raises:
        ProviderError: any other answer, as what it means.
    """
    try:
        document = read_json_object(response.body)
    except InvalidJson as error:
        if not 200 <= response.status <= 299:
            raise refusal(asked, response, {}) from None
        what = "not JSON" if error.reason == "malformed_json" else "JSON, but not an object"
        raise unreadable(asked, response, what) from None
    if not 200 <= response.status <= 299:
        raise refusal(asked, response, document)
    return document


def open_rows(asked: Asked, response: Response, name: str) -> list[Any]:
    """The list in an answer whose HTTP status says success: under its name, under `data`, or the whole body.

    Raises:
        ProviderError: any other answer, as what it means.
    """
    try:
        whole = read_json(response.body)
    except InvalidJson:
        whole = None
    if isinstance(whole, list) and 200 <= response.status <= 299:
        return whole
    document = open_answer(asked, response)
    rows = pick(views(document), name, "data")
    if document.get("success") is False or (not isinstance(rows, list) and any(trouble_of(*views(document)))):
        raise refusal(asked, response, document)
    if not isinstance(rows, list):
        raise unreadable(asked, response, f"no list of {name} in it")
    return rows


def refusal(
    asked: Asked, response: Response, document: Mapping[str, Any], *, status: int | None = None
) -> ProviderError:
    """The error that an answer is.

    Args:
        status: the HTTP-like status where the body says another than the answer's own.
    """
    status = response.status if status is None else status
    trouble = trouble_of(*views(document), others=("message",))
    meaning = asked.statuses.get(status) or asked.codes.get(trouble.code)
    kind = meaning.error if meaning and status in asked.statuses else _STATUSES.get(status)
    if kind is None and meaning is not None and (status < 500 or issubclass(meaning.error, Unavailable)):
        kind = meaning.error
    if kind is None:
        kind = Refused if _is_refusal(status, document) else Unavailable
    if kind is UnknownJob and asked.job_id is None:
        kind = Invalid  # the address is not there: not a job, for none was asked about
    wait = told_to_wait(response)
    if wait is None and meaning is not None:
        wait = meaning.wait
    advice = (meaning.advice if meaning and meaning.error is kind else "") or _advice(kind, asked, status)
    said = _quoted(asked, trouble)
    message = f"{asked.service} answers {status}: {advice}" + (f" It says: {said}" if said else "")
    code = usable_word(trouble.code) or ""
    return kind(message, retry_after=wait, code="" if _redacted(asked, code) != code else code)


def _is_refusal(status: int, document: Mapping[str, Any]) -> bool:
    """Whether an error is a refusal: the service read the request and will not act on it.

    Any 4xx is one, and a 2xx whose body has an `error`. If the answer may be about another request, only the body's
    `success: false` is a refusal. After a 5xx or 3xx it is unknown what the service has done.
    """
    success, error = document.get("success"), pick(views(document), *_ERROR_FIELDS)
    if 200 <= status <= 299:
        return success is False or (success is not True and error is not None)
    return 400 <= status <= 499 and (success is False or status not in _MAYBE_ACCEPTED)


def unreadable(asked: Asked, response: Response, what: str) -> Unavailable:
    """The error for an answer that says success and yet cannot be understood."""
    message = f"{asked.service} answers {response.status} with what cannot be read ({what}). Is base_url right?"
    return Unavailable(message, reason="provider_unreadable", retry_after=told_to_wait(response))


def still_running(
    asked: Asked, response: Response, document: Mapping[str, Any], value: object, *, progress: object = None
) -> Running:
    """A job that has not ended, under the provider's own status word.

    Raises:
        ProviderError: the answer says that it is no success, or has no status that can be read.
    """
    known = status_word(value) is not None
    if document.get("success") is False or (not known and any(trouble_of(*views(document)))):
        raise refusal(asked, response, document)
    if not known:
        raise unreadable(asked, response, "no status in it")
    word = str(value).strip()
    if isinstance(progress, int | float) and not isinstance(progress, bool) and 0 <= progress <= 100:
        return Running(word, int(progress))
    return Running(word)


def submitted(
    asked: Asked, response: Response, document: Mapping[str, Any], value: object, read: Callable[[str], Status]
) -> Submitted:
    """A job that was taken on.

    Args:
        value: the job's id.
        read: reads the document as an answer about the job of this id; asked only where a status can be read.

    Raises:
        ProviderError: the answer says that it is no success, or has no job id.
    """
    job_id = usable_word(value)
    if job_id is None:
        if document.get("success") is False or any(trouble_of(*views(document))):
            raise refusal(asked, response, document)
        raise unreadable(asked, response, "no job id in it")
    if document.get("success") is not False and status_word(pick(views(document), "status")) is None:
        return Submitted(job_id, Running("submitted"))
    return Submitted(job_id, read(job_id))


def told_to_wait(response: Response) -> float | None:
    """Seconds of `Retry-After`; a date in it is held against the answer's own `Date`."""
    return parse_retry_after(response.header("retry-after"), http_date(response.header("date")))


def _advice(kind: type[ProviderError], asked: Asked, status: int) -> str:
    if kind is Unauthorized:
        if asked.account.api_key is None:
            return "the source has no api_key."
        return "the API key is wrong, revoked, or may not do this. Check the source's api_key and its scopes."
    if kind is OutOfCredits:
        return "the account has no credits left. Top it up."
    if kind is UnknownJob:
        return f"it does not know the job {asked.job_id!r}, or no longer does."
    if kind is RateLimited:
        return "too many requests for this account; wait as told."
    if kind is Invalid:
        return "the request is wrong, and will be so again."
    if kind is Refused:
        return "it refused the request."
    if 300 <= status <= 399:
        return "it sends us elsewhere. Is base_url right?"
    if kind is Unavailable:
        return "it is not able to answer now; try later."
    return "this cannot be done now."


def _quoted(asked: Asked, trouble: Trouble) -> str:
    text = ": ".join(part for part in trouble if part)
    text = _redacted(asked, text)
    text = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return cut(text, LONGEST_QUOTE)


def _redacted(asked: Asked, text: str) -> str:
    text = Redactor([asked.account.api_key or ""])(text)
    return _ID_TOKEN.sub("[redacted]", cut(text, MAX_READ_CHARACTERS))
