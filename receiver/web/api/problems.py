"""Every error of the private listener as RFC 9457 problem details, `application/problem+json`.

Without pydantic, so that an error does not load the API's models.
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
class InvalidField:
    """One error in a request: where (`body.voice`, `query.limit`), and what is wrong."""

    where: str
    what: str


class ProblemError(ReceiverError):
    """A request that is answered with a problem.

    Args:
        detail: what happened, in a sentence without secrets.
        extensions: further members of the problem, as JSON values.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        reason: str,
        errors: Sequence[InvalidField] = (),
        headers: Mapping[str, str] | None = None,
        extensions: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail, reason=reason)
        self.status = status
        self.errors = tuple(errors)
        self.headers = dict(headers or {})
        self.extensions = dict(extensions or {})

    def response(self, redact: Callable[[str], str] = str) -> Response:
        """The response; `redact` removes secrets from the detail."""
        return problem(
            self.status,
            redact(str(self)),
            reason=self.reason,
            errors=self.errors,
            headers=self.headers,
            extensions=self.extensions,
        )


def problem(
    status: int,
    detail: str,
    *,
    reason: str,
    errors: Sequence[InvalidField] = (),
    headers: Mapping[str, str] | None = None,
    extensions: Mapping[str, Any] | None = None,
) -> Response:
    """A problem as a response. `type` is a URN: there is nothing to fetch."""
    document: dict[str, Any] = {
        "type": f"urn:tts-receiver:problem:{reason}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "reason": reason,
    }
    if errors:
        document["errors"] = [{"where": error.where, "what": error.what} for error in errors]
    document |= extensions or {}
    body = json.dumps(document, ensure_ascii=False).encode("utf-8", "backslashreplace")
    return Response(body, status, {**NO_STORE, **(headers or {})}, media_type=MEDIA_TYPE)


NO_STORE = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


STORE_UNAVAILABLE = "The store is unavailable. Try again: a change may be stored although the store did not confirm it."


def unavailable(detail: str, *, reason: str) -> ProblemError:
    """The error while the store is unavailable, or the receiver stops: try again."""
    return ProblemError(503, detail, reason=reason, headers={"Retry-After": str(RETRY_SECONDS)})


async def on_http_error(request: Request, error: Exception) -> Response:
    """An error of Starlette's routing as a problem."""
    status, headers = (error.status_code, error.headers) if isinstance(error, HTTPException) else (500, None)
    if status == HTTPStatus.NOT_FOUND:
        return problem(404, "There is nothing at this path; /docs lists the operations.", reason="no_such_path")
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        return problem(405, "This path does not support this method.", reason="method_not_allowed", headers=headers)
    return problem(status, "The request failed.", reason="error", headers=headers)


async def on_fault(request: Request, error: Exception) -> Response:
    """An unexpected exception; the server logs it."""
    return problem(500, "Internal error; see the receiver's log.", reason="error")


async def on_store_error(request: Request, error: Exception) -> Response:
    """The store is unavailable."""
    return unavailable(STORE_UNAVAILABLE, reason="store_unavailable").response()
