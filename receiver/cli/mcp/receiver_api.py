"""The API of the receiver that the tools use."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

from receiver.cli.api_access import CERTIFICATE_ADVICE, certificate_fault
from receiver.errors import InvalidJson, OutboundError, ReceiverError
from receiver.model.json_body import document_of, read_strict_json_object
from receiver.model.redact import truncate
from receiver.model.retry_after import parse_retry_after
from receiver.outbound.client import Client, HttpResponse, Timeouts
from receiver.outbound.guard import AddressGuard

MAX_BYTES = 16 * 1024 * 1024
"""Of a response that is read whole."""
MAX_DETAIL = 600
HEAD_SECONDS = 30.0
"""The API waits at most some seconds for a provider."""


class ToolError(ReceiverError):
    """A tool cannot do what was requested; the message says what happened and what to do."""

    reason = "mcp"


class ApiError(ToolError):
    """The receiver refuses a request.

    Attributes:
        status: of its response.
        slug: the reason in its response; empty if there is none.
    """

    def __init__(self, message: str, status: int, slug: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.slug = slug

    @property
    def changed_nothing(self) -> bool:
        """Whether the request was surely not carried out, or the message says what it did.

        A proxy's error, or an unreadable response, does not tell what the receiver has done.
        """
        refused = self.status == 0 or 300 <= self.status < 500
        return refused or (bool(self.slug) and self.status != 500)


class ApiUnavailable(ToolError):
    """The receiver cannot be used now: it cannot be reached, or answered that it is to be tried again later.

    Attributes:
        changed_nothing: whether the request was surely refused.
    """

    def __init__(self, message: str, *, reason: str | None = None, changed_nothing: bool = False) -> None:
        super().__init__(message, reason=reason)
        self.changed_nothing = changed_nothing


class ReceiverApi:
    """A receiver's API; to be closed at the end.

    Args:
        url: its address, without a slash at the end.
        no_token: what to do if the receiver requires a token, or refuses this one.
    """

    def __init__(self, url: str, no_token: str) -> None:
        self.url = url
        self._no_token = no_token
        timeouts = Timeouts(read=HEAD_SECONDS, head=HEAD_SECONDS)
        self._client = Client(AddressGuard(allow_private=True), timeouts=timeouts)

    async def get(self, token: str | None, path: str, **query: str | int | None) -> Mapping[str, Any]:
        """What a GET returns.

        Raises:
            ApiError: the receiver refuses it, or is none.
            ApiUnavailable: the receiver cannot be used now.
        """
        given = urlencode({name: value for name, value in query.items() if value is not None})
        async with self._send("GET", f"{path}?{given}" if given else path, token) as response:
            return self._object(response, await self._read(response))

    async def submit(self, token: str | None, speech: Mapping[str, Any], key: str) -> Mapping[str, Any]:
        """The job of `POST /v1/speech` with this idempotency key; raises as `get`."""
        headers = {"Content-Type": "application/json", "Idempotency-Key": key}
        body = json.dumps(speech).encode()
        async with self._send("POST", "/v1/speech", token, headers, body) as response:
            return self._object(response, await self._read(response))

    async def audio(self, token: str | None, event_id: str, n: int) -> tuple[bytes, str]:
        """A stored file and its media type; raises as `get`. It must be known to be small."""
        async with self._send("GET", f"/v1/events/{event_id}/audio?n={n}", token) as response:
            content = await self._read(response)
            if response.status != 200:
                raise self._failure(response, content)
            return content, response.header("content-type") or "audio/octet-stream"

    def audio_link(self, event_id: str, n: int) -> str:
        """The address of an event's n-th audio file, as this machine reaches it."""
        return f"{self.url}/v1/events/{event_id}/audio?n={n}"

    async def requires_token(self) -> bool:
        """Whether the receiver has tokens or users, by the description of its API; raises as `get`."""
        async with self._send("GET", "/openapi.json", None) as response:
            described = self._object(response, await self._read(response))
        if "paths" not in described:
            raise ApiError(f"{self.url} is not a receiver's API.", response.status)
        return bool(described.get("components", {}).get("securitySchemes"))

    async def aclose(self) -> None:
        """Close every connection."""
        await self._client.aclose()

    @asynccontextmanager
    async def _send(
        self,
        method: str,
        path: str,
        token: str | None,
        more: Mapping[str, str] | None = None,
        content: bytes | None = None,
    ) -> AsyncIterator[HttpResponse]:
        headers = {"Accept-Encoding": "identity", **(more or {})}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        try:
            async with self._client.send(method, self.url + path, headers, content) as response:
                yield response
        except OutboundError as error:
            if (fault := certificate_fault(error)) is not None:
                raise ApiError(f"{self.url} cannot be trusted: {fault}. {CERTIFICATE_ADVICE}", 0) from error
            raise ApiUnavailable(
                f"The receiver cannot be used: {error} Is `tts-receiver serve` running there?"
            ) from error

    async def _read(self, response: HttpResponse) -> bytes:
        content = await response.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ApiError(f"The receiver's response has more than {MAX_BYTES} bytes.", response.status)
        return content

    def _object(self, response: HttpResponse, content: bytes) -> Mapping[str, Any]:
        if not 200 <= response.status < 300:
            raise self._failure(response, content)
        try:
            return read_strict_json_object(content)
        except InvalidJson:
            raise ApiError(f"{self.url} is not a receiver's API.", response.status) from None

    def _failure(self, response: HttpResponse, content: bytes) -> ToolError:
        """The error for a response that is not 2xx."""
        status, problem = response.status, document_of(content)
        detail, slug = problem.get("detail"), problem.get("reason")
        if not isinstance(detail, str) or not isinstance(slug, str):
            return ApiError(
                f"{self.url} answered {status}: it is not the API of a receiver's private listener.", status
            )
        what = truncate(detail, MAX_DETAIL)
        faults = [
            f"{fault['where']}: {fault['what']}"
            for fault in problem.get("errors") or ()
            if isinstance(fault, dict) and {"where", "what"} <= fault.keys()
        ]
        if faults and not any(what in fault for fault in faults):
            what = truncate(f"{what} {'; '.join(faults)}.", MAX_DETAIL)
        if status == 401:
            return ApiError(f"{what} {self._no_token}", status, slug)
        if status in (429, 503):
            seconds = parse_retry_after(response.header("retry-after"), None)
            what = f"{what} Try again{f' in {seconds:g} s' if seconds else ' later'}."
            return ApiUnavailable(what, reason=slug, changed_nothing=slug != "store_unavailable")
        job = problem.get("job")
        if isinstance(job, dict) and isinstance(job.get("id"), str):
            what = f"{what} The job is {job['id']}."
        return ApiError(what, status, slug)
