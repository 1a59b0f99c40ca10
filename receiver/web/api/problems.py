"""Every error of the private listener in one form: RFC 9457 problem details, `application/problem+json`.

Without pydantic, so that a refusal costs nothing before the API's models are needed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from receiver.errors import ReceiverError

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = 10


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing wrong with a request: where it stands (`body.voice`, `query.limit`), and what is wrong."""

    where: str
    what: str


class Refusal(ReceiverError):
    """A request that is answered with a problem.

    Args:
        detail: a sentence for a person; never holds a secret.
        more: further members of the problem, as JSON values.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        reason: str,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail, reason=reason)
        self.status = status
        self.errors = tuple(errors)
        self.headers = dict(headers or {})
        self.more = dict(more or {})

    def response(self, redact: Callable[[str], str] = str) -> Response:
        """The answer; `redact` cuts secrets out of the sentence."""
        return problem(
            self.status, redact(str(self)), reason=self.reason, errors=self.errors, headers=self.headers, more=self.more
        )


def problem(
    status: int,
    detail: str,
    *,
    reason: str,
    errors: Sequence[FieldError] = (),
    headers: Mapping[str, str] | None = None,
    more: Mapping[str, Any] | None = None,
) -> Response:
    """A problem as a response. `type` is a name, not an address: there is nothing to fetch behind it."""
    document: dict[str, Any] = {
        "type": f"urn:tts-receiver:problem:{reason}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "reason": reason,
    }
    if errors:
        document["errors"] = [{"where": error.where, "what": error.what} for error in errors]
    document |= more or {}
    body = json.dumps(document, ensure_ascii=False).encode("utf-8", "backslashreplace")
    return Response(body, status, {**NO_STORE, **(headers or {})}, media_type=MEDIA_TYPE)


NO_STORE = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


def unavailable(detail: str, *, reason: str) -> Refusal:
    """The answer while the store does not answer, or the receiver stops: nothing was done, try again."""
    return Refusal(503, detail, reason=reason, headers={"Retry-After": str(RETRY_SECONDS)})


async def on_http_error(request: Request, error: Exception) -> Response:
    """What Starlette's routing says, as a problem."""
    status, headers = (error.status_code, error.headers) if isinstance(error, HTTPException) else (500, None)
    if status == HTTPStatus.NOT_FOUND:
        return problem(404, "There is nothing at this path; /docs shows what there is.", reason="no_such_path")
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        return problem(405, "This path does not take this method.", reason="method_not_allowed", headers=headers)
    return problem(status, "The request was not answered.", reason="error", headers=headers)


async def on_fault(request: Request, error: Exception) -> Response:
    """A fault of ours; the server logs it."""
    return problem(500, "A fault of the receiver's own; its log says which.", reason="error")


async def on_store_error(request: Request, error: Exception) -> Response:
    """The store does not answer."""
    return unavailable("The store does not answer; nothing was done.", reason="store_unavailable").response()
