"""Settings become parts: the store, the audio storage, the sources that can be asked, the loops that ask them.

Apart from `app`, which puts them together to a receiver, because the command line works with some of them alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from receiver.engine.audio_source import AudioSource
from receiver.engine.jobs.loop import AT_ONCE, SourceLoop
from receiver.engine.jobs.source import JobSource
from receiver.errors import ConfigError, Problem
from receiver.metrics import Metrics
from receiver.outbound.client import Client
from receiver.outbound.guard import AddressGuard
from receiver.outbound.storage import Storage, open_storage
from receiver.settings import Settings, Source, nearest
from receiver.store.database import Database, sqlite_path


def open_database(settings: Settings) -> Database:
    """The store that the settings name; its folder is made.

    Raises:
        ConfigError: the address cannot be used, or the folder cannot be made.
    """
    try:
        path = sqlite_path(settings.store.url, settings.base)
    except ValueError as error:
        raise ConfigError([Problem("store.url", str(error))]) from None
    if path is None:
        raise ConfigError([Problem("store.url", "only sqlite:///… is supported by this release")])
    try:
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError([Problem("store.url", f"{path.parent} cannot be made: {error.strerror}")]) from None
    return Database(path)


def open_audio(settings: Settings) -> Storage:
    """The storage that the settings name.

    Raises:
        ConfigError: the address cannot be used.
    """
    try:
        return open_storage(settings.audio.url, settings.base)
    except ValueError as error:
        raise ConfigError([Problem("audio.url", str(error))]) from None


def spool_folder(settings: Settings, storage: Storage) -> Path:
    """Where unfinished files lie: in a local audio folder, so that a rename publishes them; else beside the store."""
    folder = storage.folder
    if folder is None:
        path = sqlite_path(settings.store.url, settings.base)
        folder = path.parent if path is not None else settings.base
    return folder / ".spool"


def job_sources(settings: Settings) -> dict[str, JobSource]:
    """The sources whose jobs can be asked about: the provider has a way, and we have a key."""
    return {
        name: JobSource(name, source.spoken, source.account, source.cadence, source.poll.requests_per_second)
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


def why_not_askable(settings: Settings, name: str) -> str:
    """Why a source is not among `job_sources`: one sentence that says what to do."""
    source = settings.sources.get(name)
    if source is None:
        return f"There is no source {name!r}{nearest(name, settings.sources)}."
    if source.api_key is None:
        return f"The source {name} has no api_key: it cannot be asked for jobs."
    return f"The jobs of {name} cannot be asked about: its provider only sends webhooks."


def source_loop(
    settings: Settings,
    database: Database,
    source: JobSource,
    *,
    handlers_for: Callable[[str], tuple[str, ...]],
    wake: Callable[[], None],
    metrics: Metrics,
    changed: Callable[[str], None],
) -> SourceLoop:
    """The loop of one source; arguments as for `SourceLoop`."""
    about: Source = settings.sources[source.name]
    return SourceLoop(
        database,
        source,
        Client(AddressGuard(about.allow_private_addresses), max_connections=AT_ONCE),
        handlers_for=handlers_for,
        wake=wake,
        metrics=metrics,
        changed=changed,
    )


def new_loop() -> asyncio.AbstractEventLoop:
    """The fastest event loop that is installed."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
