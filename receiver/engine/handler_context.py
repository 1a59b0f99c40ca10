"""One execution of a handler for a claimed run: its event, and the context that gives it audio, HTTP and a log."""

from __future__ import annotations

from collections.abc import Coroutine
from functools import partial
from typing import Any

import structlog

from receiver.engine.audio import AudioService
from receiver.engine.clients import HandlerClients
from receiver.engine.context import Context
from receiver.engine.outcome import Outcome
from receiver.engine.plugins import Registry
from receiver.engine.runner import HandlerLoop
from receiver.engine.storage_pause import postpone_if_store_unavailable
from receiver.model.event import Event, build_event
from receiver.store.claims import Claim


class HandlerCalls:
    """Makes the call of a handler from its claim. All contexts give access to the same services.

    Args:
        handlers: the loop on which they run.
        clients: the HTTP clients, `ctx.http`.
        audio: the events' audio, `ctx.audio()`.
    """

    def __init__(self, registry: Registry, handlers: HandlerLoop, clients: HandlerClients, audio: AudioService) -> None:
        self._registry = registry
        self._handlers = handlers
        self._clients = clients
        self._audio = audio

    def __call__(self, claim: Claim) -> Coroutine[Any, Any, Outcome]:
        """One execution, to be awaited on the handlers' loop."""
        event = build_event(**claim.event)
        return self._handlers.execute(self._registry[claim.handler].handler, event, self._context(claim, event))

    def _context(self, claim: Claim, event: Event) -> Context[Any]:
        name, audio, run_shared = claim.handler, self._audio, self._handlers.run_shared
        return Context(
            handler=name,
            attempt=claim.counted,
            idempotency_key=f"{claim.event_id}:{name}",
            options=self._registry[name].options,
            _log=partial(_logger, claim, event),
            _http=lambda: self._clients.get(name),
            _audio=lambda: run_shared(postpone_if_store_unavailable(audio.get(event))),
            _audio_files=lambda: run_shared(postpone_if_store_unavailable(audio.get_all(event))),
            _loop=self._handlers.loop,
        )


def _logger(claim: Claim, event: Event) -> structlog.typing.FilteringBoundLogger:
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger(
        "handler",
        source=event.source,
        event_id=event.id,
        job=event.job_id,
        handler=claim.handler,
        attempt=claim.counted,
    )
    return logger
