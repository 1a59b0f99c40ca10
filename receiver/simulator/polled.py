"""What audixa, finevoice and miragic have in common: no webhooks, one key, status by polling.

Each of them adds its routes, its way to show a key and its own words for an error.
"""

from __future__ import annotations

import hmac
import math
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from .envelope import ApiError
from .jobs import Job, Submission
from .replies import no_reply
from .shared import SharedState
from .statuses import apply_response_faults, delay_response, hide_new_job
from .submissions import read_object

Endpoint = Callable[[Request], Awaitable[ASGIApp]]


class Refusal(Exception):
    """An error answer, before a provider puts it into its own words."""

    def __init__(self, status: int, code: str, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.retry_after = retry_after

    @property
    def headers(self) -> dict[str, str]:
        """`Retry-After` in whole seconds, where it makes sense."""
        return {} if self.retry_after is None else {"Retry-After": str(math.ceil(self.retry_after))}


class PolledApi(ABC):
    """The endpoints of one provider. `on_submit` is called with each new job."""

    provider: ClassVar[str]
    invalid_status: ClassVar[int]
    """The HTTP status of an answer to a bad field."""
    no_credits_status: ClassVar[int] = 402
    """The HTTP status of an answer to a submit that cannot be paid for. Not documented."""

    def __init__(self, shared: SharedState, on_submit: Callable[[Job], None]) -> None:
        self._shared = shared
        self._on_submit = on_submit

    @abstractmethod
    def routes(self) -> list[Route]:
        """The routes under the provider's base URL."""

    @abstractmethod
    def _given_key(self, request: Request) -> str:
        """The API key that the request shows."""

    @abstractmethod
    def _refused(self, refusal: Refusal) -> Response:
        """The provider's error answer."""

    def _job_id(self, request: Request) -> str:
        return str(request.path_params.get("job_id", ""))

    def _guarded(self, name: str, endpoint: Endpoint) -> Endpoint:
        """`endpoint` behind faults and authentication."""

        async def guarded(request: Request) -> ASGIApp:
            shared, job_id, at = self._shared, self._job_id(request), f"{self.provider}.{name}"
            shared.count(name, job_id, provider=self.provider)
            answer: ASGIApp
            try:
                self._fault(at, job_id)
                if name not in shared.settings.public_endpoints:
                    self._authenticate(request)
                answer = await endpoint(request)
            except Refusal as refusal:
                answer = self._refused(refusal)
            except ClientDisconnect:
                answer = no_reply
            if name in ("status", "history"):
                return await apply_response_faults(shared, answer, at=at, job_id=job_id)
            return answer

        return guarded

    def _authenticate(self, request: Request) -> None:
        given, right = self._given_key(request), self._shared.api_keys[self.provider]
        if not hmac.compare_digest(given.encode(), right.encode()):
            raise Refusal(401, "UNAUTHORIZED", "Missing or invalid API key.")

    def _fault(self, at: str, job_id: str) -> None:
        injector = self._shared.injector
        if fault := injector.draw("error_503", at=at, job_id=job_id):
            raise Refusal(503, "UNAVAILABLE", "The service is not available.", retry_after=fault.number(1))
        if injector.draw("error_500", at=at, job_id=job_id):
            raise Refusal(500, "INTERNAL_ERROR", "Something went wrong.")
        if fault := injector.draw("error_429", at=at, job_id=job_id):
            raise Refusal(429, "TOO_MANY_REQUESTS", "Too many requests.", retry_after=fault.number(1))
        if at.endswith(".submit") and (fault := injector.draw("refused_submit", at=at)):
            status = int(fault.number(self.no_credits_status))
            raise Refusal(status, "INSUFFICIENT_CREDITS", "Insufficient credits")

    def _find(self, job_id: str) -> Job:
        """The provider's own job, for its status. Raises Refusal 404."""
        job = self._shared.jobs.get(job_id)
        expired = self._shared.injector.draw("expired_id", at=f"{self.provider}.status", job_id=job_id)
        if job is None or job.provider != self.provider or expired or self._shared.now() < job.known_from:
            raise no_such_job()
        return job

    async def _object(self, request: Request) -> dict[str, Any]:
        try:
            return read_object(await request.body())
        except ApiError as error:
            raise self._invalid(error.message) from error

    def _text(self, fields: Mapping[str, Any], *names: str) -> str:
        """The first of `names` among `fields`, which must be text and not blank."""
        value = next((fields[name] for name in names if name in fields), None)
        if not isinstance(value, str) or not value.strip():
            raise self._invalid(f"{names[0]} is required")
        return value

    def _invalid(self, message: str) -> Refusal:
        return Refusal(self.invalid_status, "VALIDATION_ERROR", message)

    def _create(self, submission: Submission, request: Request) -> Job:
        mount = request.scope.get("root_path", "")
        job = self._shared.jobs.create(submission, self._shared.now(), provider=self.provider, mount=mount)
        hide_new_job(self._shared, job, at=f"{self.provider}.submit")
        self._on_submit(job)
        return job

    async def _submitted(self, job: Job, answer: Response) -> ASGIApp:
        await delay_response(self._shared, at=f"{self.provider}.submit", job_id=job.id)
        if self._shared.injector.draw("lost_answer", at=f"{self.provider}.submit", job_id=job.id):
            return no_reply
        return answer


def no_such_job() -> Refusal:
    """404: there is none, it is another provider's, or its id has expired."""
    return Refusal(404, "NOT_FOUND", "There is no such job.")


def bearer(request: Request) -> str:
    """The key of `Authorization: Bearer <key>`; empty if there is none."""
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""
