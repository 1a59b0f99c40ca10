"""What submitting and polling share: the source, how to ask it, and what its errors mean for all of its jobs."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from sqlalchemy import Connection

from receiver.engine.clock import Clock
from receiver.engine.clock_trust import ClockTrust
from receiver.engine.jobs.turnstile import Turnstile
from receiver.errors import UnusableAddress
from receiver.metrics import Metrics
from receiver.model.cadence import Cadence
from receiver.model.rate_limit import read_rate_limit
from receiver.model.retry_after import senders_now
from receiver.outbound.api import ask
from receiver.outbound.client import Client
from receiver.providers.base import Provider
from receiver.providers.wire import (
    Account,
    Capabilities,
    ProviderError,
    RateLimited,
    Request,
    Response,
    Unauthorized,
)
from receiver.store import pace
from receiver.store.database import Database
from receiver.store.leases import Lease

log = structlog.get_logger("receiver.jobs")

LEASE_SECONDS = 60.0
"""How long a job is held that is being submitted or polled."""
REFUSED_PAUSE_SECONDS = 300.0
"""How long a source is left alone that refuses our key: a person has to act."""
LIMIT_PAUSE_SECONDS = 60.0
"""How long, where it says "too many requests" and not until when."""
KEPT_SHARE = 5
"""One in so many requests of a rate limit's window is kept from polls, for submits and audio."""
LIMIT_USED_UP = "rate_limit_used_up"


@dataclass(frozen=True, slots=True)
class JobSource:
    """A source's data for submitting and polling its jobs.

    Attributes:
        receives_webhooks: whether webhooks report ends of jobs; a poll that finds one first then recovers a webhook.
    """

    name: str
    provider: Provider
    account: Account
    cadence: Cadence
    requests_per_second: float
    receives_webhooks: bool

    @property
    def able(self) -> Capabilities:
        """What this account can do."""
        return self.provider.capabilities.of(self.account)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the parts of one source's loop work with.

    Attributes:
        client: makes the requests; its guard is the source's.
        owner: names this process in leases.
        handlers_for: names of the handlers that subscribe to an event word.
        wake: called after an event with runs was committed.
        stop: set when the loop is to end.
        changed: called with our id of a job whose row has changed.
        paused: called after the source was paused.
        turnstile: limits the rate of all requests; by the clock's monotonic time.
        trust: whether a job that is past its deadline by the clock is past it.
    """

    database: Database
    source: JobSource
    client: Client
    owner: str
    handlers_for: Callable[[str], tuple[str, ...]]
    wake: Callable[[], None]
    metrics: Metrics
    clock: Clock
    dice: random.Random
    stop: asyncio.Event
    changed: Callable[[str], None]
    paused: Callable[[], None]
    turnstile: Turnstile
    trust: ClockTrust

    def lease(self, now: float) -> Lease:
        """The lease of what is claimed at this time, unix seconds."""
        return Lease(self.owner, now + LEASE_SECONDS)

    async def ask(self, request: Request) -> Response:
        """Ask the source, and obey what it says of its rate limit.

        Raises:
            Unavailable: as `outbound.api.ask`.
            UnusableAddress: as `outbound.api.ask`.
        """
        response = await self._ask(request)
        date, now, name = response.header("date"), self.clock.now(), self.source.name
        self.trust.read_date(date, name)
        theirs = senders_now(date, now)
        limit = read_rate_limit(response.header, theirs)
        if limit is None or limit.remaining is None or limit.reset_at is None or limit.reset_at <= theirs:
            return response
        until = now + (limit.reset_at - theirs)
        if limit.remaining == 0:
            await self.database.write(pace.pause, name, until, LIMIT_USED_UP, now)
            self.paused()
        elif limit.remaining <= (limit.limit or 0) // KEPT_SHARE:
            await self.database.write(pace.hold_polls, name, until, now)
        return response

    async def pause(self, error: ProviderError | UnusableAddress) -> None:
        """Leave the whole source alone as long as an error wants it, if it does."""
        now = self.clock.now()
        await self.database.write(pause_source, self.source.name, pause_for(error, now), error.reason, now)
        self.paused()

    async def _ask(self, request: Request) -> Response:
        now = self.clock.monotonic()
        while not self.stop.is_set() and (at := self.turnstile.opens_at(now)) > now:
            await self.clock.wait(self.stop, at - now)
            now = self.clock.monotonic()
        passage = self.turnstile.sent(now)
        response = await ask(self.client, request)
        self.turnstile.answered(passage, self.clock.monotonic())
        return response


def pause_for(error: ProviderError | UnusableAddress, now: float) -> float | None:
    """Until when an error pauses its whole source, unix seconds; None if it is one job's own."""
    told = error.retry_after if isinstance(error, ProviderError) else None
    if isinstance(error, Unauthorized | UnusableAddress):
        return now + REFUSED_PAUSE_SECONDS
    if isinstance(error, RateLimited):
        return now + (LIMIT_PAUSE_SECONDS if told is None else told)
    return None if told is None else now + told


def pause_source(connection: Connection, source: str, until: float | None, reason: str, now: float) -> None:
    """Store the pause, if there is one."""
    if until is not None:
        pace.pause(connection, source, until, reason, now)
