"""One execution of a handler for a claimed run: its event, and the context that gives it audio, HTTP and a log."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import structlog

from receiver.engine.audio import AudioService
from receiver.engine.clients import HandlerClients
from receiver.engine.context import Artifact, Context
from receiver.engine.outcome import Outcome
from receiver.engine.plugins import Registry
from receiver.engine.runner import HandlerLoop
from receiver.engine.storage_pause import postpone_if_store_unavailable
from receiver.errors import NoAudio
from receiver.model.event import Event, JobCompleted, build_event
from receiver.model.file_kind import FileKind
from receiver.model.trace import traceparent
from receiver.store.claims import Claim

T = TypeVar("T")


class HandlerCalls:
    """Makes the call of a handler from its claim. All contexts give access to the same services.

    Args:
        handlers: the loop on which they run.
        clients: the HTTP clients, `ctx.http`.
        audio: the events' audio, `ctx.audio()`.
        traced: whether attempts pass a trace on.
    """

    def __init__(
        self,
        registry: Registry,
        handlers: HandlerLoop,
        clients: HandlerClients,
        audio: AudioService,
        *,
        traced: bool = False,
    ) -> None:
        self._registry = registry
        self._traced = traced
        self._handlers = handlers
        self.client = clients.get
        """A handler's HTTP client."""
        self._audio = audio

    def __call__(self, claim: Claim) -> Coroutine[Any, Any, Outcome]:
        """One execution, to be awaited on the handlers' loop."""
        event, name = build_event(**claim.event), claim.handler
        entry = self._registry[name]
        context: Context[Any] = Context(
            handler=name, attempt=claim.counted, idempotency_key=f"{claim.event_id}:{name}", options=entry.options,
            traceparent=traceparent(*claim.key) if self._traced else None, _event=event, _services=self,
        )  # fmt: skip
        return self._handlers.execute(entry.handler, event, context)

    # for the contexts

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop that handlers run on."""
        return self._handlers.loop

    def logger(self, context: Context[Any, Any], event: Event) -> structlog.typing.FilteringBoundLogger:
        """A logger, bound to source, event, job, handler and attempt."""
        logger: structlog.typing.FilteringBoundLogger = structlog.get_logger(
            "handler",
            source=event.source,
            event_id=event.id,
            job=event.job_id,
            handler=context.handler,
            attempt=context.attempt,
        )
        return logger

    async def audio(self, event: Event) -> Artifact:
        """As `Context.audio`."""
        first = await self._fetched(self._audio.get(event))
        return first if first.kind is FileKind.AUDIO else (await self.audio_files(event))[0]

    async def audio_files(self, event: Event) -> tuple[Artifact, ...]:
        """As `Context.audio_files`."""
        files = await self._fetched(self._audio.get_all(event))
        found = tuple(file for file in files if file.kind is FileKind.AUDIO)
        if not found:
            raise NoAudio(f"The job completed without audio; ctx.artifacts() has its {len(files)} other files.")
        return found

    async def artifacts(self, event: Event) -> tuple[Artifact, ...]:
        """As `Context.artifacts`."""
        try:
            return await self._fetched(self._audio.get_all(event))
        except NoAudio:
            if isinstance(event, JobCompleted):
                return ()
            raise

    async def _fetched(self, fetching: Coroutine[Any, Any, T]) -> T:
        return await self._handlers.run_shared(postpone_if_store_unavailable(fetching))
