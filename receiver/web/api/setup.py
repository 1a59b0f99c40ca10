"""What is configured and what runs: sources, and the processes that use the store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from sqlalchemy import Connection

from receiver.engine.key_notes import KeyUses, key_notes
from receiver.model.rate_plan import RatePlan, RequestKind
from receiver.model.timestamps import utc
from receiver.providers.protocols import describe_capabilities
from receiver.settings import Settings
from receiver.store import processes, rate_buckets, throttle_state, views
from receiver.store.throttle_state import ThrottleState
from receiver.web.api.context import ApiContext
from receiver.web.api.fields import optional_utc
from receiver.web.api.operations import ApiResponse
from receiver.web.api.setup_models import (
    ConfiguredSource,
    Pause,
    Process,
    ProcessList,
    RateBucket,
    SigningSecret,
    SourceList,
)

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
        uses, limits = views.key_uses(connection), read_limits(connection, now)
        items = [source_of(context.settings, name, uses, limits, now) for name in context.settings.sources]
        return ApiResponse(200, SourceList(items=items))

    return await context.database.read_list(read)


async def list_processes(context: ApiContext) -> ApiResponse:
    """The processes that use the store, with the leases that each holds; the one that started first is the first."""
    now = context.clock.now()

    def read(connection: Connection) -> ApiResponse:
        return ApiResponse(200, ProcessList(items=[process_of(row, now) for row in processes.listed(connection)]))

    return await context.database.read_list(read)


class Limits(NamedTuple):
    """What limits requests to sources, by source.

    Attributes:
        pauses: of sources that are paused.
        plans: the rate limits that providers report.
    """

    pauses: Mapping[str, ThrottleState]
    plans: Mapping[str, RatePlan]


def read_limits(connection: Connection, now: float) -> Limits:
    """The limits from the store; `now` in unix seconds."""
    return Limits(throttle_state.pauses(connection, now), rate_buckets.get_all(connection))


def source_of(settings: Settings, name: str, uses: KeyUses, limits: Limits, now: float) -> ConfiguredSource:
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
        pause=_pause(limits.pauses.get(name), limits.plans.get(name), now),
        rate_limits=rate_buckets_of(limits.plans.get(name), now),
        signing_secrets=[
            SigningSecret(id=key.id, last_used_at=optional_utc(uses.get((name, key.id), (0.0, None))[1]))
            for key in source.signing_keys()
        ],
        notes=key_notes(name, source, uses, now),
    )


def rate_buckets_of(plan: RatePlan | None, now: float) -> list[RateBucket]:
    """What is left of a source's rate limits; `now` in unix seconds."""
    if plan is None:
        return []
    return [
        RateBucket(
            bucket=bucket.name,
            limit=bucket.limit,
            remaining=bucket.left(now) if bucket.reset_at else bucket.remaining,
            reset_at=optional_utc(bucket.reset_at if bucket.reset_at > now else None),
            requests=sorted(kind for kind, name in plan.kinds.items() if name == bucket.name),
            paused_until=optional_utc(bucket.pause_until if bucket.pause_until > now else None),
        )
        for bucket in plan.buckets.values()
    ]


def _pause(stored: ThrottleState | None, plan: RatePlan | None, now: float) -> Pause | None:
    """A pause of polls only leaves the rest of a rate limit to other requests."""
    if stored is not None and stored.pause_until > now:
        return Pause(until=utc(stored.pause_until), reason=stored.why, polls_only=False)
    polls_at = now if plan is None else plan.free_at(RequestKind.STATUS, now)
    return None if polls_at <= now else Pause(until=utc(polls_at), reason=POLLS_PAUSED, polls_only=True)


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
