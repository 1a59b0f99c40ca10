"""Reads a provider's response: its JSON, or the error that it reports.

All providers respond with an HTTP status and a JSON object; the provider modules define the words of each.
Functions raise nothing but `ProviderError`. Text from outside is shortened and made printable, and the account's API
key is redacted, before it becomes part of a message.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from receiver.errors import InvalidJson
from receiver.model.redact import Redactor, truncate
from receiver.model.retry_after import http_date, parse_retry_after
from receiver.providers.base import read_json, read_json_object, usable_word
from receiver.providers.fields import ErrorDetail, error_detail, pick, unwrap
from receiver.providers.types import (
    Account,
    Invalid,
    OutOfCredits,
    ProviderError,
    RateLimited,
    Refused,
    Response,
    Unauthorized,
    Unavailable,
    UnknownJob,
)

MAX_QUOTE = 300
"""The longest part of a provider's own text in an error message, characters."""
MAX_SEARCHED_CHARACTERS = 4_000
"""How many characters are searched for ID tokens: the search takes quadratic time at worst."""
_ID_TOKEN = re.compile(r"eyJ[\w-]{6,}(?:\.[\w-]+)+")
"""The form of an ID token. Its value is not part of the account, so only the form can be recognized."""


class ErrorMapping(NamedTuple):
    """What a provider's error code or status means.

    Attributes:
        wait: seconds to wait if the response does not say.
        advice: what an operator can do about it; empty for the advice that fits every provider.
    """

    error: type[ProviderError]
    wait: float | None = None
    advice: str = ""


@dataclass(frozen=True, slots=True)
class RequestContext:
    """The request that a response belongs to, and how its errors are read.

    Attributes:
        service: the provider's name, for messages.
        job_id: the job that the request was about; None if it was about none.
        codes: what the provider's error codes mean, if it has any.
        statuses: HTTP statuses that have a special meaning for this request.
    """

    service: str
    account: Account
    job_id: str | None = None
    codes: Mapping[str, ErrorMapping] = field(default_factory=dict)
    statuses: Mapping[int, ErrorMapping] = field(default_factory=dict)


_STATUSES: dict[int, type[ProviderError]] = {
    **dict.fromkeys((400, 405, 406, 411, 413, 414, 415, 422), Invalid),
    **dict.fromkeys((401, 403), Unauthorized),
    402: OutOfCredits,
    **dict.fromkeys((404, 410), UnknownJob),
    429: RateLimited,
}
_MAYBE_ACCEPTED = frozenset({408, 409, 425})
"""4xx after which the request may have been accepted: it was late, a duplicate, or too early. The body decides."""
_ERROR_FIELDS = ("error", "error_message", "errorMessage")
"""Fields of a body that reports an error; `detail` and `message` may hold anything."""


def read_object(context: RequestContext, response: Response) -> dict[str, Any]:
    """Return the JSON object of a successful response.

    Raises:
        ProviderError: the HTTP status is not 2xx, or the body is not a JSON object.
    """
    try:
        document = read_json_object(response.body)
    except InvalidJson as error:
        if not 200 <= response.status <= 299:
            raise error_response(context, response, {}) from None
        problem = "not JSON" if error.reason == "malformed_json" else "JSON, but not an object"
        raise unreadable_response(context, response, problem) from None
    if not 200 <= response.status <= 299:
        raise error_response(context, response, document)
    return document


def read_any(context: RequestContext, response: Response) -> Any:
    """Return the list or the JSON object of a successful response.

    Raises:
        ProviderError: the HTTP status is not 2xx, the body is neither, or an object that reports an error.
    """
    try:
        whole = read_json(response.body)
    except InvalidJson:
        whole = None
    if isinstance(whole, list) and 200 <= response.status <= 299:
        return whole
    document = read_object(context, response)
    if document.get("success") is False:
        raise error_response(context, response, document)
    return document


def read_rows(context: RequestContext, response: Response, name: str) -> list[Any]:
    """Return the list in a successful response: under its name, under `data`, or the whole body.

    Raises:
        ProviderError: the HTTP status is not 2xx, or the body has no list.
    """
    document = read_any(context, response)
    if isinstance(document, list):
        return document
    rows = pick(unwrap(document), name, "data")
    if not isinstance(rows, list) and any(error_detail(*unwrap(document))):
        raise error_response(context, response, document)
    if not isinstance(rows, list):
        raise unreadable_response(context, response, f"no list of {name} in it")
    return rows


def error_response(
    context: RequestContext, response: Response, document: Mapping[str, Any], *, status: int | None = None
) -> ProviderError:
    """Return the error that a response reports.

    Args:
        status: the HTTP-like status in the body, where it differs from the response's own.
    """
    status = response.status if status is None else status
    detail = error_detail(*unwrap(document), others=("message",))
    mapping = context.statuses.get(status) or context.codes.get(detail.code)
    kind = mapping.error if mapping and status in context.statuses else _STATUSES.get(status)
    if kind is None and mapping is not None and (status < 500 or issubclass(mapping.error, Unavailable)):
        kind = mapping.error
    if kind is None:
        kind = Refused if _is_refusal(status, document) else Unavailable
    if kind is UnknownJob and context.job_id is None:
        kind = Invalid  # the address does not exist; the request was about no job
    wait = retry_after_seconds(response)
    if wait is None and mapping is not None:
        wait = mapping.wait
    advice = (mapping.advice if mapping and mapping.error is kind else "") or _advice(kind, context, status)
    quoted = _quote_detail(context, detail)
    message = f"{context.service} answers {status}: {advice}" + (f" It says: {quoted}" if quoted else "")
    code = usable_word(detail.code) or ""
    return kind(message, retry_after=wait, code="" if _redacted(context, code) != code else code)


def _is_refusal(status: int, document: Mapping[str, Any]) -> bool:
    """Return whether the service read the request and refused it.

    A 4xx is a refusal, and so is a 2xx whose body has an `error`. After a 408, 409 or 425 only `success: false` in the
    body is one. After a 5xx or 3xx it is unknown what the service has done.
    """
    success, error = document.get("success"), pick(unwrap(document), *_ERROR_FIELDS)
    if 200 <= status <= 299:
        return success is False or (success is not True and error is not None)
    return 400 <= status <= 499 and (success is False or status not in _MAYBE_ACCEPTED)


def unreadable_response(context: RequestContext, response: Response, problem: str) -> Unavailable:
    """Return the error for a response with a success status that is unreadable.

    Args:
        problem: what is wrong with the body, such as `no job id in it`.
    """
    message = f"{context.service} answers {response.status}, but the body is unreadable ({problem}). Is base_url right?"
    return Unavailable(message, reason="provider_unreadable", retry_after=retry_after_seconds(response))


def retry_after_seconds(response: Response) -> float | None:
    """Return the seconds of `Retry-After`; a date in it is compared with the response's own `Date`."""
    return parse_retry_after(response.header("retry-after"), http_date(response.header("date")))


def _advice(kind: type[ProviderError], context: RequestContext, status: int) -> str:
    if kind is Unauthorized:
        if context.account.api_key is None:
            return "the source has no api_key."
        return "the API key is wrong, revoked, or lacks the permission. Check the source's api_key and its scopes."
    if kind is OutOfCredits:
        return "the account has no credits left. Top it up."
    if kind is UnknownJob:
        return f"it does not know the job {context.job_id!r} (any more)."
    if kind is RateLimited:
        return "too many requests for this account; wait as long as it says."
    if kind is Invalid:
        return "the request is invalid; repeating it is useless."
    if kind is Refused:
        return "it refused the request."
    if 300 <= status <= 399:
        return "it redirects to another address. Is base_url right?"
    if kind is Unavailable:
        return "it is unavailable; try later."
    return "the request failed."


def _quote_detail(context: RequestContext, detail: ErrorDetail) -> str:
    text = ": ".join(part for part in detail if part)
    text = _redacted(context, text)
    text = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return truncate(text, MAX_QUOTE)


def _redacted(context: RequestContext, text: str) -> str:
    text = Redactor([context.account.api_key or ""])(text)
    return _ID_TOKEN.sub("[redacted]", truncate(text, MAX_SEARCHED_CHARACTERS))
