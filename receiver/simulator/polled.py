"""What the APIs of audixa, finevoice and miragic have in common: one key, status by polling, no webhooks.

Each of them adds its routes, where its key is sent, and the form of its errors.
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
from .response_faults import apply_response_faults, delay_response, hide_new_job
from .responses import drop_connection
from .state import SimulatorState
from .submissions import read_object

Endpoint = Callable[[Request], Awaitable[ASGIApp]]


class PolledApiError(Exception):
    """An error response, before it gets the form of a provider."""

    def __init__(self, status: int, code: str, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.retry_after = retry_after

    @property
    def headers(self) -> dict[str, str]:
        """`Retry-After` in whole seconds, if there is one."""
        return {} if self.retry_after is None else {"Retry-After": str(math.ceil(self.retry_after))}


class PolledApi(ABC):
    """The endpoints of one provider. `on_submit` is called with each new job."""

    provider: ClassVar[str]
    invalid_status: ClassVar[int]
    """The HTTP status for an invalid field."""
    insufficient_credits_status: ClassVar[int] = 402
    """The HTTP status for a submit that exceeds the credits. Not documented."""

    def __init__(self, state: SimulatorState, on_submit: Callable[[Job], None]) -> None:
        self._state = state
        self._on_submit = on_submit

    @abstractmethod
    def routes(self) -> list[Route]:
        """The routes under the provider's base URL."""

    @abstractmethod
    def _api_key_of(self, request: Request) -> str:
        """Return the API key of the request; empty if there is none."""

    @abstractmethod
    def _error_response(self, error: PolledApiError) -> Response:
        """Return the error in the provider's form."""

    def _job_id(self, request: Request) -> str:
        return str(request.path_params.get("job_id", ""))

    def _wrap(self, name: str, endpoint: Endpoint) -> Endpoint:
        """Add injected errors and authentication to an endpoint."""

        async def wrapped(request: Request) -> ASGIApp:
            state, job_id, at = self._state, self._job_id(request), f"{self.provider}.{name}"
            state.count_request(name, job_id, provider=self.provider)
            response: ASGIApp
            try:
                self._inject_error(at, job_id)
                if name not in state.settings.public_endpoints:
                    self._authenticate(request)
                response = await endpoint(request)
            except PolledApiError as error:
                response = self._error_response(error)
            except ClientDisconnect:
                response = drop_connection
            if name in ("status", "history"):
                return await apply_response_faults(state, response, at=at, job_id=job_id)
            return response

        return wrapped

    def _authenticate(self, request: Request) -> None:
        given, expected = self._api_key_of(request), self._state.api_keys[self.provider]
        if not hmac.compare_digest(given.encode(), expected.encode()):
            raise PolledApiError(401, "UNAUTHORIZED", "Missing or invalid API key.")

    def _inject_error(self, at: str, job_id: str) -> None:
        injector = self._state.injector
        if fault := injector.trigger("error_503", at=at, job_id=job_id):
            raise PolledApiError(503, "UNAVAILABLE", "The service is not available.", retry_after=fault.number(1))
        if injector.trigger("error_500", at=at, job_id=job_id):
            raise PolledApiError(500, "INTERNAL_ERROR", "Something went wrong.")
        if fault := injector.trigger("error_429", at=at, job_id=job_id):
            raise PolledApiError(429, "TOO_MANY_REQUESTS", "Too many requests.", retry_after=fault.number(1))
        if at.endswith(".submit") and (fault := injector.trigger("refused_submit", at=at)):
            status = int(fault.number(self.insufficient_credits_status))
            raise PolledApiError(status, "INSUFFICIENT_CREDITS", "Insufficient credits")

    def _get_job(self, job_id: str) -> Job:
        """Return a job of this provider, for its status. Raises PolledApiError 404."""
        job = self._state.jobs.get(job_id)
        expired = self._state.injector.trigger("expired_id", at=f"{self.provider}.status", job_id=job_id)
        if job is None or job.provider != self.provider or expired or self._state.now() < job.visible_from:
            raise no_such_job()
        return job

    async def _json_object(self, request: Request) -> dict[str, Any]:
        try:
            return read_object(await request.body())
        except ApiError as error:
            raise self._invalid(error.message) from error

    def _required_text(self, fields: Mapping[str, Any], *names: str) -> str:
        """Return the first of `names` in `fields`; it must be text and not blank. Raises PolledApiError."""
        value = next((fields[name] for name in names if name in fields), None)
        if not isinstance(value, str) or not value.strip():
            raise self._invalid(f"{names[0]} is required")
        return value

    def _invalid(self, message: str) -> PolledApiError:
        return PolledApiError(self.invalid_status, "VALIDATION_ERROR", message)

    def _create_job(self, submission: Submission, request: Request, *, kind: str = "speech", outputs: int = 1) -> Job:
        root_path = request.scope.get("root_path", "")
        job = self._state.jobs.create(
            submission, self._state.now(), provider=self.provider, kind=kind, outputs=outputs, root_path=root_path
        )
        hide_new_job(self._state, job, at=f"{self.provider}.submit")
        self._on_submit(job)
        return job

    async def _submit_response(self, job: Job, response: Response) -> ASGIApp:
        await delay_response(self._state, at=f"{self.provider}.submit", job_id=job.id)
        if self._state.injector.trigger("lost_answer", at=f"{self.provider}.submit", job_id=job.id):
            return drop_connection
        return response


def no_such_job() -> PolledApiError:
    """404: there is no such job at this provider, or its id has expired."""
    return PolledApiError(404, "NOT_FOUND", "There is no such job.")


def bearer(request: Request) -> str:
    """Return the key of `Authorization: Bearer <key>`; empty if there is none."""
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""
