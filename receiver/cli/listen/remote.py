"""The receiver whose events are followed: its stream, and the details of an event."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

from receiver.cli.api_access import CERTIFICATE_ADVICE, certificate_fault
from receiver.cli.listen.errors import ListenError, NotAStream, RemoteUnavailable
from receiver.cli.listen.gap import Found, is_event
from receiver.cli.listen.stream import StreamMessage, StreamReader
from receiver.cli.listen.variables import TOKEN_VARIABLE
from receiver.errors import InvalidJson, OutboundError, UnusableAddress
from receiver.model.json_body import document_of, read_strict_json_object
from receiver.model.metadata import Pair
from receiver.model.redact import truncate
from receiver.model.retry_after import parse_retry_after
from receiver.outbound.client import Client, HttpResponse, Timeouts
from receiver.outbound.guard import AddressGuard
from receiver.web.api.fields import cursor_after

SILENCE_SECONDS = 45.0
"""A stream that sends nothing for so long is broken: the receiver sends a comment every 15 seconds."""
MAX_BYTES = 64 * 1024 * 1024
"""Of an event's details."""
MAX_DETAIL = 300
_RETRIED = frozenset({408, 425, 429})


class Remote:
    """A receiver's API; to be closed at the end.

    Args:
        url: its address, without a slash at the end.
        token: None for one without tokens.
        silence_seconds: how long a stream may send nothing.
    """

    def __init__(self, url: str, token: str | None, *, silence_seconds: float = SILENCE_SECONDS) -> None:
        self.url = url
        self._headers = {"Accept-Encoding": "identity"} | ({"Authorization": f"Bearer {token}"} if token else {})
        self._client = Client(AddressGuard(allow_private=True), timeouts=Timeouts(read=silence_seconds, head=30.0))

    @asynccontextmanager
    async def stream(
        self, after: str | None, source: str | None, type_: str | None, metadata: Collection[Pair] = ()
    ) -> AsyncIterator[AsyncGenerator[StreamMessage, None]]:
        """What the receiver sends after a position; without one, from now on. The iterator ends with the stream.

        Raises:
            RemoteUnavailable: it cannot be reached or does not answer; also while iterating.
            ListenError: it refuses the request, or is not a receiver.
        """
        given = [("after", after), ("source", source), ("type", type_)]
        given += [("metadata", f"{key}={value}") for key, value in metadata]
        query = urlencode([(name, value) for name, value in given if value is not None])
        async with self._get(f"/v1/stream?{query}", {"Accept": "text/event-stream"}) as response:
            if response.status != 200:
                raise self._failure(response, await response.read(MAX_BYTES))
            if not (response.header("content-type") or "").startswith("text/event-stream"):
                raise ListenError(f"{self.url} is not a receiver's API: it sends no stream of events.")
            yield self._messages(response)

    async def event(self, event_id: str) -> Mapping[str, Any] | None:
        """The details of an event; None if it does not exist.

        Raises:
            RemoteUnavailable, ListenError: as for `stream`.
        """
        async with self._get(f"/v1/events/{event_id}") as response:
            body = await response.read(MAX_BYTES)
        if response.status == 404 and document_of(body).get("reason") == "not_found":
            return None
        return self._object(response, body)

    async def find(self, position: str) -> Found:
        """What the receiver knows of a position.

        Raises:
            RemoteUnavailable, ListenError: as for `stream`.
        """
        detail = await self.event(position) if is_event(position) else None
        state = None if detail is None else str(detail.get("state"))
        if state == "done":  # that is enough
            return Found(state, has_older=False)
        query = urlencode({"state": "done", "limit": 1, "cursor": cursor_after(position)})
        async with self._get(f"/v1/events?{query}") as response:
            body = await response.read(MAX_BYTES)
        return Found(state, bool(self._object(response, body).get("items")))

    def audio_link(self, event_id: str, n: int) -> str:
        """The address of an event's n-th audio file, as this machine reaches it."""
        return f"{self.url}/v1/events/{event_id}/audio?n={n}"

    async def aclose(self) -> None:
        """Close every connection."""
        await self._client.aclose()

    @asynccontextmanager
    async def _get(self, path: str, more: Mapping[str, str] | None = None) -> AsyncIterator[HttpResponse]:
        try:
            async with self._client.send("GET", self.url + path, {**self._headers, **(more or {})}) as response:
                yield response
        except UnusableAddress as error:
            raise ListenError(str(error)) from error
        except OutboundError as error:
            if (fault := certificate_fault(error)) is not None:
                raise ListenError(f"{self.url} cannot be trusted: {fault}. {CERTIFICATE_ADVICE}") from error
            raise RemoteUnavailable(str(error)) from error

    async def _messages(self, response: HttpResponse) -> AsyncGenerator[StreamMessage, None]:
        reader = StreamReader()
        try:
            async for chunk in response.chunks():
                for message in reader.feed(chunk):
                    yield message
        except NotAStream as error:
            raise ListenError(f"{self.url} is not a receiver's API. {error}") from None

    def _object(self, response: HttpResponse, body: bytes) -> Mapping[str, Any]:
        if response.status != 200:
            raise self._failure(response, body)
        try:
            return read_strict_json_object(body)
        except InvalidJson as error:
            raise ListenError(f"{self.url} is not a receiver's API: {error}") from None

    def _failure(self, response: HttpResponse, body: bytes) -> ListenError:
        """The error for an answer other than 200."""
        status = response.status
        problem = document_of(body)
        detail = problem.get("detail")
        why = f": {truncate(detail, MAX_DETAIL)}" if isinstance(detail, str) else "."
        answered = f"{self.url} answered {status}{why}"
        if status >= 500 or status in _RETRIED:
            error = RemoteUnavailable(answered)
            error.retry_after = parse_retry_after(response.header("retry-after"), None) or 0.0
            return error
        if status == 401:
            return ListenError(f"{answered} Give one in the file --token-file, or in ${TOKEN_VARIABLE}.")
        if 300 <= status < 400:
            return ListenError(f"{answered} It redirects, which is not followed: the token would go elsewhere.")
        if not isinstance(detail, str):
            return ListenError(f"{answered} It is not the API of a receiver's private listener.")
        return ListenError(answered)
