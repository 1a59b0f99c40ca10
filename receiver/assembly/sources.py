"""Converts the settings of sources into what the engine needs: API access, audio access, bounds of times."""

from __future__ import annotations

from receiver.engine.audio_source import AudioSource
from receiver.engine.jobs.service import NoApiAccess
from receiver.engine.jobs.source import LEASE_SECONDS, JobSource
from receiver.engine.throttle import request_times
from receiver.providers.protocols import PollingProvider
from receiver.settings import Settings, suggestion
from receiver.store.clocks import TimeBounds


def job_sources(settings: Settings) -> dict[str, JobSource]:
    """The sources whose API can be used for jobs: they have an API key, and the provider can be polled."""
    return {
        name: JobSource(
            name,
            provider,
            source.account,
            source.schedule,
            source.receives_webhooks,
            settings.search.metadata,
            source.max_stream_characters,
            source.budget,
        )
        for name, source in settings.sources.items()
        if isinstance(provider := source.provider, PollingProvider) and source.api_key is not None
    }


def job_source(settings: Settings, name: str) -> JobSource:
    """One of `job_sources`.

    Raises:
        NoApiAccess: it is not among them; the message says why.
    """
    found = job_sources(settings).get(name)
    if found is None:
        raise NoApiAccess(why_no_api_access(settings, name))
    return found


def why_no_api_access(settings: Settings, name: str) -> str:
    """Explain in one sentence why a source is not among `job_sources`, and what to do."""
    source = settings.sources.get(name)
    if source is None:
        return f"There is no source {name!r}{suggestion(name, settings.sources)}"
    if source.api_key is None:
        return f"The source {name} has no api_key: set it to submit, watch or poll jobs."
    return f"The source {name} cannot submit or poll jobs: its provider only sends webhooks."


def audio_sources(settings: Settings) -> dict[str, AudioSource]:
    """The data of each source for fetching audio, by name."""
    return {
        name: AudioSource(source.provider, source.account, source.allow_private_addresses)
        for name, source in settings.sources.items()
    }


def time_bounds(settings: Settings) -> TimeBounds:
    """How far ahead times in the store may lie."""
    sources = job_sources(settings).values()
    return TimeBounds(
        run_lease=settings.dispatch.lease_seconds,
        job_lease=LEASE_SECONDS,
        deadlines={source.name: source.schedule.deadline_seconds for source in sources},
        request_times={
            name: request_times(source.poll.requests_per_second) for name, source in settings.sources.items()
        },
    )
