"""Settings become parts: the sources that can be asked, the loops that ask them, what a fetch of audio needs.

Apart from `app`, which puts them together to a receiver, because the command line works with some of them alone.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any

import structlog

from receiver.engine.audio import AudioDesk
from receiver.engine.audio_source import AudioSource, Renewal
from receiver.engine.clients import HandlerClients
from receiver.engine.clock import Clock
from receiver.engine.clock_trust import ClockTrust
from receiver.engine.context import Context
from receiver.engine.jobs.desk import NotAskable
from receiver.engine.jobs.limits import AT_ONCE
from receiver.engine.jobs.loop import AHEAD_SECONDS, MARGIN, SourceLoop
from receiver.engine.jobs.source import LEASE_SECONDS, JobSource
from receiver.engine.membership import Membership
from receiver.engine.outcome import Outcome
from receiver.engine.plugins import Active
from receiver.engine.runner import HandlerLoop
from receiver.engine.storage_pause import StoragePause, forgiven
from receiver.metrics import Metrics
from receiver.model.event import build_event
from receiver.model.slots import Slots
from receiver.outbound.audio import AudioFetcher
from receiver.outbound.client import Client
from receiver.outbound.guard import AddressGuard
from receiver.outbound.stored import Storage
from receiver.places import spool_folder
from receiver.settings import Settings, Source, nearest
from receiver.store.claims import Claim
from receiver.store.clocks import LongestWaits
from receiver.store.database import Database
from receiver.store.processes import ProcessFiles


def job_sources(settings: Settings) -> dict[str, JobSource]:
    """The sources whose jobs can be asked about: the provider has a way, and we have a key."""
    return {
        name: JobSource(
            name,
            source.spoken,
            source.account,
            source.cadence,
            source.poll.requests_per_second,
            source.receives_webhooks,
        )
        for name, source in settings.sources.items()
        if source.spoken.capabilities.polling and source.api_key is not None
    }


def audio_sources(settings: Settings) -> dict[str, AudioSource]:
    """What a fetch of audio needs to know of each source."""
    return {
        name: AudioSource(
            source.spoken, source.account, source.allow_private_addresses, source.poll.requests_per_second
        )
        for name, source in settings.sources.items()
    }


def audio_fetcher(settings: Settings, storage: Storage) -> AudioFetcher:
    """The fetcher of audio into the storage."""
    min_rate = settings.audio.min_bytes_per_second
    return AudioFetcher(storage, spool_folder(settings, storage), settings.audio.max_bytes, min_rate=min_rate)


def audio_desk(
    settings: Settings,
    database: Database,
    fetcher: AudioFetcher,
    storage: Storage,
    metrics: Metrics,
    downloads: int,
    pause: StoragePause | None = None,
) -> AudioDesk:
    """The access to events' audio; `downloads` and `pause` as for `AudioDesk`."""
    sources = audio_sources(settings)
    renew = Renewal(database, fetcher, sources)
    return AudioDesk(database, fetcher, storage, sources, metrics, renew, downloads=downloads, pause=pause)


def max_concurrent_downloads(settings: Settings, handlers: Iterable[str]) -> int:
    """Events whose files are downloaded at one time: as many as one handler may have runs.

    So with several sources, one source's downloads are always fewer than a handler's runs.
    """
    concurrency = settings.dispatch.concurrency
    return min(Slots(concurrency, dict.fromkeys(handlers)).limits.values(), default=concurrency)


def execution(
    active: Active, claim: Claim, handlers: HandlerLoop, clients: HandlerClients, audio: AudioDesk
) -> Coroutine[Any, Any, Outcome]:
    """One execution of a handler, for `handlers`; `clients` and `audio` are what its context gives access to."""
    name = claim.handler
    event = build_event(**claim.event)
    context = Context(
        handler=name,
        attempt=claim.counted,
        idempotency_key=f"{claim.event_id}:{name}",
        options=active.options,
        # Bound when it is first used, which many handlers never do.
        log=structlog.get_logger(
            "handler", source=event.source, event_id=event.id, job=event.job_id, handler=name, attempt=claim.counted
        ),
        _http=lambda: clients.get(name),
        _audio=lambda: handlers.run_shared(forgiven(audio.get(event))),
        _audio_files=lambda: handlers.run_shared(forgiven(audio.get_all(event))),
        _loop=handlers.loop,
    )
    return handlers.execute(active.handler, event, context)


def job_source(settings: Settings, name: str) -> JobSource:
    """One of `job_sources`.

    Raises:
        NotAskable: it is not among them; says why.
    """
    found = job_sources(settings).get(name)
    if found is None:
        raise NotAskable(why_not_askable(settings, name))
    return found


def why_not_askable(settings: Settings, name: str) -> str:
    """Why a source is not among `job_sources`: one sentence that says what to do."""
    source = settings.sources.get(name)
    if source is None:
        return f"There is no source {name!r}{nearest(name, settings.sources)}"
    if source.api_key is None:
        return f"The source {name} has no api_key: it cannot be asked for jobs."
    return f"The jobs of {name} cannot be asked about: its provider only sends webhooks."


def source_loop(
    settings: Settings,
    database: Database,
    source: JobSource,
    *,
    owner: str,
    handlers_for: Callable[[str], tuple[str, ...]],
    wake: Callable[[], None],
    metrics: Metrics,
    changed: Callable[[str], None],
    clock: Clock | None = None,
    trust: ClockTrust | None = None,
) -> SourceLoop:
    """The loop of one source; arguments as for `SourceLoop`."""
    about: Source = settings.sources[source.name]
    return SourceLoop(
        database,
        source,
        Client(AddressGuard(about.allow_private_addresses), max_connections=AT_ONCE),
        owner=owner,
        handlers_for=handlers_for,
        wake=wake,
        metrics=metrics,
        changed=changed,
        clock=clock,
        trust=trust,
    )


def longest_waits(settings: Settings) -> LongestWaits:
    """What bounds the times in the store."""
    sources = job_sources(settings).values()
    return LongestWaits(
        run_lease=settings.dispatch.lease_seconds,
        job_lease=LEASE_SECONDS,
        deadlines={source.name: source.cadence.deadline_seconds for source in sources},
        turns={source.name: AHEAD_SECONDS + MARGIN / source.requests_per_second for source in sources},
    )


def membership(database: Database, owner: str, wakes: Sequence[Callable[[], None]]) -> Membership:
    """Who else works on this store, and what a dead one held; `wakes` as for `Membership`."""
    return Membership(database, ProcessFiles(database.path, owner), wakes)


def new_loop() -> asyncio.AbstractEventLoop:
    """The fastest event loop that is installed."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def new_handlers_loop() -> asyncio.AbstractEventLoop:
    """The same for handlers; it looks names up in its executor's threads, as asyncio's own does.

    uvloop has four threads for that in the whole process: four unanswered look-ups of one handler would hold
    up every other handler, and every download.
    """
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()

    class Loop(uvloop.Loop):
        async def getaddrinfo(
            self, host: Any, port: Any, *, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
        ) -> list[Any]:
            return await self.run_in_executor(None, socket.getaddrinfo, host, port, family, type, proto, flags)

    return Loop()
