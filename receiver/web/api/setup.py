"""What is configured and what runs: sources, and the processes that use the store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection

from receiver.engine.key_notes import KeyUses, key_notes
from receiver.model.timestamps import utc
from receiver.providers.protocols import describe_capabilities
from receiver.settings import Settings
from receiver.store import processes, throttle_state, views
from receiver.store.throttle_state import ThrottleState
from receiver.web.api.context import ApiContext
from receiver.web.api.fields import optional_utc
from receiver.web.api.operations import ApiResponse
from receiver.web.api.setup_models import ConfiguredSource, Pause, Process, ProcessList, SigningSecret, SourceList

CAPABILITIES = (
    "polling", "webhooks", "idempotent_submit", "voices", "history", "streaming", "several_outputs",
    "registers_webhooks",
)  # fmt: skip
"""Those that are named for each source, besides the formats."""
POLLS_PAUSED = "rate limit nearly used up"


async def list_sources(context: ApiContext) -> ApiResponse:
    """The configured sources: webhook path, polling, capabilities, a pause, and signing secrets by their ids."""
    now = context.clock.now()

    def read(connection: Connection) -> ApiResponse:
        uses, pauses = views.key_uses(connection), throttle_state.pauses(connection, now)
        items = [source_of(context.settings, name, uses, pauses, now) for name in context.settings.sources]
        return ApiResponse(200, SourceList(items=items))

    return await context.database.read_list(read)


async def list_processes(context: ApiContext) -> ApiResponse:
    """The processes that use the store, with the leases that each holds; the one that started first is the first."""
    now = context.clock.now()

    def read(connection: Connection) -> ApiResponse:
        return ApiResponse(200, ProcessList(items=[process_of(row, now) for row in processes.listed(connection)]))

    return await context.database.read_list(read)


def source_of(
    settings: Settings, name: str, uses: KeyUses, pauses: Mapping[str, ThrottleState], now: float
) -> ConfiguredSource:  # fmt: skip
    """A configured source.

    Args:
        uses: of signing secrets, as `views.key_uses` returns them.
        now: unix seconds.
    """
    source = settings.sources[name]
    can = describe_capabilities(source.provider)
    return ConfiguredSource(
        name=name,
        provider=source.provider_name,
        api_version=source.api_version,
        base_url=source.origin or None,
        api_key=source.api_key is not None,
        webhook_path=settings.webhook_path(name) if source.receives_webhooks else None,
        polled=can["polling"] and source.api_key is not None,
        capabilities={word: can[word] for word in CAPABILITIES} | {"formats": list(can["formats"])},
        pause=_pause(pauses.get(name), now),
        signing_secrets=[
            SigningSecret(id=key.id, last_used_at=optional_utc(uses.get((name, key.id), (0.0, None))[1]))
            for key in source.signing_keys()
        ],
        notes=key_notes(name, source, uses, now),
    )


def _pause(stored: ThrottleState | None, now: float) -> Pause | None:
    """A pause of polls only leaves the rest of a rate limit to other requests."""
    if stored is None or max(stored.pause_until, stored.poll_pause_until) <= now:
        return None
    if stored.pause_until > now:
        return Pause(until=utc(stored.pause_until), reason=stored.why, polls_only=False)
    return Pause(until=utc(stored.poll_pause_until), reason=POLLS_PAUSED, polls_only=True)


def process_of(row: Mapping[str, Any], now: float) -> Process:
    """A row of `store.processes`; `now` in unix seconds."""
    same: dict[str, Any] = {name: row[name] for name in ("role", "host", "pid", "version", "runs", "jobs")}
    difference = row["clock_difference"]
    return Process(
        name=row["owner"],
        **same,
        started_at=utc(row["started_at"]),
        heartbeat_at=utc(row["heartbeat_at"]),
        heartbeat_age_seconds=round(now - row["heartbeat_at"], 1),
        clock_difference_seconds=None if difference is None else round(difference, 3),
    )
