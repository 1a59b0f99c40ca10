"""The demo's application: receives and verifies each event, and fetches the audio by its link."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import AsyncExitStack
from typing import Any, Self

import httpx

from receiver.cli.forward_test.application import ForwardTarget, Receipt, Refusal, signing_keys
from receiver.cli.forward_test.message import AudioFile, EventData
from receiver.cli.forward_test.target import HOST, PATH, USE, table_lines
from receiver.cli.secret_file import new_secret
from receiver.model.event import COMPLETED
from receiver.model.signature import STANDARD_WEBHOOKS
from receiver.simulator.serving import LoopServer

TIMEOUT_SECONDS = 30.0


class DemoApplication:
    """The running application: `async with DemoApplication() as application`.

    Attributes:
        url: where it receives events.
    """

    def __init__(self) -> None:
        self._secret = new_secret()
        self._events: dict[str, EventData] = {}
        self._refusals: list[Refusal] = []
        self._fetched: dict[str, str] = {}
        """The SHA-256 of what each link led to."""
        self._stack = AsyncExitStack()
        self.url = ""

    async def __aenter__(self) -> Self:
        """Listen on loopback."""
        keys = signing_keys(STANDARD_WEBHOOKS, [self._secret])
        target = ForwardTarget(STANDARD_WEBHOOKS, keys, self._record)
        server = await self._stack.enter_async_context(LoopServer(target.app, HOST, 0))
        self.url = server.url + PATH
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Stop."""
        await self._stack.aclose()

    @property
    def table(self) -> str:
        """The table of the handler that forwards to it."""
        return "\n".join(table_lines(USE, self.url, self._secret)) + "\n"

    def _record(self, what: Receipt | Refusal) -> None:
        if isinstance(what, Refusal):
            self._refusals.append(what)
        elif what.event.data is not None:
            self._events[what.event.data.event_id] = what.event.data

    def _files(self) -> Iterator[AudioFile]:
        for data in self._events.values():
            yield from data.audio

    async def fetch_audio(self) -> None:
        """Fetch each file by the link that was sent with its event."""
        async with httpx.AsyncClient(timeout=TIMEOUT_SECONDS, trust_env=False) as client:
            for file in self._files():
                if file.link is not None:
                    response = await client.get(file.link)
                    if response.is_success:
                        self._fetched[file.link] = hashlib.sha256(response.content).hexdigest()

    def problems(self, events: Collection[Mapping[str, Any]]) -> Iterator[str]:
        """A sentence for each event of the store that the application did not receive as it should have."""
        for event in events:
            received = self._events.get(event["id"])
            if received is None:
                yield f"{event['job_id']}: the application did not receive its event"
            elif (received.type, received.job_id) != (event["type"], event["job_id"]):
                yield f"{event['job_id']}: the application received {received.type} {received.job_id} instead"
            elif received.type == COMPLETED and not received.audio:
                yield f"{event['job_id']}: the application received no audio"
        for refusal in self._refusals:
            yield f"the application refused a request: {refusal.reason}: {refusal.why}"
        for file in self._files():
            if file.link is None or self._fetched.get(file.link) != file.sha256:
                yield f"the link {file.link} did not lead to the audio that was announced"

    def summary(self, events: Collection[Mapping[str, Any]]) -> str:
        """How many of these events arrived, and how much audio was fetched, in a sentence."""
        arrived = sum(event["id"] in self._events for event in events)
        return (
            f"{arrived} of {len(events)} events were forwarded to {self.url}, each with a valid signature; "
            f"{len(self._fetched)} audio files were fetched by their links."
        )
