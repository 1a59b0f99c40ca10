"""What submitting and polling share: the source's data, and the parts that one loop works with."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import structlog
from sqlalchemy import Connection

from receiver.clock import Clock
from receiver.engine.clock_trust import ClockTrust
from receiver.engine.rate_budget import Reservations
from receiver.engine.throttle import Throttle
from receiver.errors import StoreUnavailable
from receiver.model.budget import Budget
from receiver.model.poll_schedule import PollSchedule
from receiver.model.rate_plan import RequestKind
from receiver.model.routing import HandlersFor
from receiver.outbound.client import Client
from receiver.providers.protocols import PollingProvider
from receiver.providers.types import Account, Capabilities, Request, Response
from receiver.store.database import Database
from receiver.store.job_leases import JobClaim
from receiver.store.leases import Lease
from receiver.telemetry.hooks import Telemetry

log = structlog.get_logger("receiver.jobs")

LEASE_SECONDS = 60.0
"""The lease of a job that is being submitted or polled."""
STORE_RETRIES = 20
STORE_RETRY_SECONDS = 1.0
"""How often, and at which interval, storing a result is retried while the store is unavailable."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class JobSource:
    """A source's data for submitting and polling its jobs.

    Attributes:
        receives_webhooks: whether webhooks report ends of jobs. A poll that finds an end first then recovers a webhook.
        metadata_keys: keys of the metadata by which lists find a job and its event.
        max_stream_characters: the longest text of a stream; None if it is not known.
        budget: what it may spend in a day; None for no limit.
    """

    name: str
    provider: PollingProvider
    account: Account
    schedule: PollSchedule
    receives_webhooks: bool
    metadata_keys: tuple[str, ...] = ()
    max_stream_characters: int | None = None
    budget: Budget | None = None

    @property
    def capabilities(self) -> Capabilities:
        """The details of what the provider can do."""
        return self.provider.capabilities


@dataclass(frozen=True, slots=True)
class JobContext:
    """What the parts of one source's loop work with.

    Attributes:
        client: makes the requests; its guard is the source's.
        owner: names this process in leases.
        handlers_for: names of the handlers that get an event.
        wake: called after an event with runs was committed.
        stop: set when the loop is to end.
        changed: called with our id of a job whose row has changed.
        throttle: spaces all requests to the source.
        trust: whether the clock is trusted enough to give up a job that is past its deadline.
    """

    database: Database
    source: JobSource
    client: Client
    owner: str
    handlers_for: HandlersFor
    wake: Callable[[], None]
    telemetry: Telemetry
    clock: Clock
    rng: random.Random
    stop: asyncio.Event
    changed: Callable[[str], None]
    throttle: Throttle
    trust: ClockTrust

    def lease(self, now: float) -> Lease:
        """The lease of a job claimed at `now`, unix seconds."""
        return Lease(self.owner, now + LEASE_SECONDS)

    async def send(self, kind: RequestKind, request: Request) -> Response:
        """Send a request whose scheduled time has come.

        Raises:
            Unavailable: as `outbound.api.call_api`.
            UnusableAddress: as `outbound.api.call_api`.
        """
        response = await self.throttle.send(kind, self.client, request, self.stop)
        self.trust.read_date(response.header("date"), self.source.name)
        return response

    def lock_limits(self, connection: Connection, now: float) -> Reservations:
        """The source's rate limits, to reserve requests in this transaction; `now` in unix seconds."""
        return self.throttle.budget.lock(connection, now, submits_wait=not self.source.receives_webhooks)

    def planned_wait(self, limits: Reservations, claim: JobClaim, now: float) -> float:
        """Seconds until a claimed job is polled, at least, by the source's rate limits; 0 if they allow any wait.

        Args:
            now: unix seconds.
        """
        begun = claim.created_at if claim.submitted_at is None else claim.submitted_at
        last = begun if claim.polled_at is None else max(begun, claim.polled_at)
        idle = max(0.0, now - last)
        wait = limits.poll_wait(
            self.source.schedule, polls=claim.polls, age=last - begun, idle=idle, characters=claim.characters
        )
        return max(0.0, wait - idle)

    async def store_result(
        self,
        write: Callable[[Connection], T],
        failed: Callable[[StoreUnavailable], None],
        abandoned: Callable[[T | BaseException], None] | None = None,
    ) -> T:
        """Store the result of a request; again while the store is unavailable.

        Args:
            write: recognises what it has written before: the answer to a commit may be lost.
            failed: called with the error before each retry.
            abandoned: as for `Database.write`.

        Raises:
            StoreUnavailable: no retry succeeded; the job is due again once the store is available.
        """
        for _ in range(STORE_RETRIES):
            try:
                return await self.database.write(write, abandoned=abandoned)
            except StoreUnavailable as error:
                failed(error)
                await self.clock.wait(self.stop, STORE_RETRY_SECONDS)
        return await self.database.write(write, abandoned=abandoned)
