"""Spaces the requests to one source: submits, polls, voices and fresh audio addresses alike.

Four rules for all of them:

1. Each request has a scheduled time, reserved in the store, so that all processes together keep the source's rate.
2. A rate limiter in each process bounds the requests in any one-second window, even if some are late.
3. While the source is paused, no request is sent. `429`, `Retry-After` and a refused key pause it. A pause is a row in
   the store, which is read again just before a request is sent.
4. Where responses report rate limits, each request is reserved in its bucket (`engine.rate_budget`), and a `429` or a
   used-up bucket pauses only the requests of that bucket.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from sqlalchemy import Connection

from receiver.clock import Clock
from receiver.engine.provider_calls import call_provider
from receiver.engine.rate_budget import RateBudget
from receiver.engine.rate_limiter import RateLimiter, RequestSlot
from receiver.errors import UnusableAddress
from receiver.model.rate_plan import RatePlan, RequestKind
from receiver.outbound.api import call_api
from receiver.outbound.client import Client
from receiver.providers.types import ProviderError, RateLimited, Request, Response, Unauthorized
from receiver.store import rate_buckets, throttle_state
from receiver.store.clocks import RequestTimes
from receiver.store.database import Database
from receiver.store.throttle_state import ThrottleState
from receiver.telemetry.hooks import Telemetry

T = TypeVar("T")

MARGIN = 1.02
"""The factor by which intervals are longer than the rate requires: requests sent apart can arrive together."""
AHEAD_SECONDS = 1.0
"""How far ahead the job loop reserves times. It reads the pauses of other processes before each claim."""
MAX_WAIT_SECONDS = 60.0
"""How far ahead a time is reserved at most for a caller that waits for its response."""
PAUSE_MAX_AGE_SECONDS = 0.2
"""How old the pause may be that a request is checked against; one of this process is always known."""
REFUSED_PAUSE_SECONDS = 300.0
"""How long a source is paused that refuses the API key: an operator has to act."""
LIMIT_PAUSE_SECONDS = 60.0
"""How long a source is paused after "too many requests" without a time."""


class SourceThrottled(RateLimited):
    """The request was not sent: its source's next free time is too far ahead (`retry_after`)."""

    reason = "source_throttled"


class SourcePaused(SourceThrottled):
    """The request was not sent: its source is paused for `retry_after`; the message says why."""

    reason = "source_paused"


class _Reserved(NamedTuple):
    """When a request may be sent, unix seconds; `refused` if that is too far ahead and was not reserved."""

    at: float
    refused: SourceThrottled | None = None


class Throttle:
    """Spaces the requests to one source. One for each source in a process, for all of its event loops and threads.

    Args:
        source: its name.
        requests_per_second: the limit for all processes together.
    """

    def __init__(
        self, database: Database, source: str, requests_per_second: float, clock: Clock, telemetry: Telemetry
    ) -> None:
        self.interval_seconds = MARGIN / requests_per_second
        """Between two requests."""
        self.budget = RateBudget(database, source, clock)
        """The rate limits that responses report."""
        self._database = database
        self._source = source
        self._clock = clock
        self._telemetry = telemetry
        self._lock = threading.Lock()
        self._limiter = RateLimiter(requests_per_second)
        self._pause_version = 0
        self._state, self._plan = ThrottleState(), RatePlan()
        self._pause_read_at = float("-inf")

    # for callers that reserve times in their own transactions: the job loop

    def free_slots(self, state: ThrottleState, now: float) -> int:
        """How many times are free within `AHEAD_SECONDS` of `now`, unix seconds."""
        return state.free_times(now, self.interval_seconds, AHEAD_SECONDS)

    def reserve(self, connection: Connection, count: int, now: float) -> list[float]:
        """Reserve the next `count` times, as `throttle_state.reserve_times`."""
        return throttle_state.reserve_times(connection, self._source, count, now, self.interval_seconds)

    async def wait_for(self, kind: RequestKind, at: float, stop: asyncio.Event) -> bool:
        """Wait for a reserved time of a request.

        Args:
            at: in the clock's monotonic time, so that a step of the machine's clock does not change the intervals.
            stop: ends the wait.

        Returns:
            Whether the request may be sent; False if its source or bucket was paused meanwhile, or `stop` is set.
        """
        while not stop.is_set():
            monotonic = self._clock.monotonic()
            if at > monotonic:
                await self._clock.wait(stop, at - monotonic)
            elif monotonic - self._pause_read_at >= PAUSE_MAX_AGE_SECONDS:
                await self._read_pause(monotonic)
            else:
                return self._pause(kind)[0] <= self._clock.now()
        return False

    def _pause(self, kind: RequestKind) -> tuple[float, str]:
        """Until when requests of this kind are paused, as last read, and why."""
        bucket = self._plan.bucket(kind)
        own = (0.0, "") if bucket is None else (bucket.pause_until, bucket.why)
        return max((self._state.pause_until, self._state.why), own)

    async def send(self, kind: RequestKind, client: Client, request: Request, stop: asyncio.Event) -> Response:
        """Send a request whose scheduled time has come, and store the rate limit that its response reports.

        That is stored before what the caller writes next.

        Args:
            stop: ends the wait for the rate limiter; the request is sent regardless.

        Raises:
            Unavailable: as `outbound.api.call_api`.
            UnusableAddress: as `outbound.api.call_api`.
        """
        return (await self._send(kind, client, request, stop))[0]

    async def _send(
        self, kind: RequestKind, client: Client, request: Request, stop: asyncio.Event
    ) -> tuple[Response, asyncio.Future[None] | None]:
        """As `send`; also the write of the rate limit, if the response reports one."""
        slot = await self._wait_for_slot(stop)
        response = await self._call_api(client, request)
        with self._lock:
            self._limiter.record_response(slot, self._clock.monotonic())
        return response, self.budget.record(kind, response, self.pause_changed)

    async def _call_api(self, client: Client, request: Request) -> Response:
        token = self._telemetry.request_sent(self._source, request.method, request.url)
        try:
            response = await call_api(client, request)
        except BaseException as error:
            self._telemetry.request_failed(token, self._source, error)
            raise
        self._telemetry.request_answered(token, self._source, response.status)
        return response

    def store_pause(
        self, connection: Connection, kind: RequestKind, error: ProviderError | UnusableAddress, now: float
    ) -> float | None:
        """Store the pause that an error requires, in the caller's transaction. Call `pause_changed` after the commit.

        Args:
            kind: of the request that failed. "Too many requests" pauses only its bucket, if the service names buckets.

        Returns:
            Until when, unix seconds as `now`; None if it pauses nothing.
        """
        until = pause_for(error, now)
        self._store_pause(connection, kind, error, until, now)
        return until

    def _store_pause(
        self,
        connection: Connection,
        kind: RequestKind,
        error: ProviderError | UnusableAddress,
        until: float | None,
        now: float,
    ) -> None:
        if until is None:
            return
        plan = rate_buckets.get(connection, self._source) if isinstance(error, RateLimited) else RatePlan()
        bucket = plan.bucket(kind)
        if bucket is not None and bucket.name:
            rate_buckets.pause(connection, self._source, bucket.name, until, error.reason, now)
        else:
            throttle_state.pause(connection, self._source, until, error.reason, now)

    def pause_changed(self) -> None:
        """A pause was committed by this process: the next request reads it."""
        with self._lock:
            self._pause_version += 1
            self._pause_read_at = float("-inf")

    # for callers that wait for the response

    async def call(
        self,
        kind: RequestKind,
        client: Client,
        request: Request,
        read: Callable[[Response], T],
        max_wait_seconds: float,
    ) -> T:
        """Wait for the source's next free time, send the request, read its response; store the pause that it requests.

        Args:
            read: turns the response into the result; raises ProviderError if it is an error.
            max_wait_seconds: a request whose time is further ahead is refused; up to `MAX_WAIT_SECONDS`.

        Raises:
            SourcePaused: the source is paused, or its rate limit is used up.
            SourceThrottled: it is not free for that long.
            ProviderError: as `send` and `read`.
            UnusableAddress: as `send`.
        """
        stop = asyncio.Event()  # never set: a caller that no longer needs the response is cancelled
        now, monotonic = self._clock.now(), self._clock.monotonic()
        at, refused = await self._database.write(self._reserve_soon, kind, now, min(max_wait_seconds, MAX_WAIT_SECONDS))
        if refused is not None:
            raise refused
        if not await self.wait_for(kind, at - now + monotonic, stop):
            await self._database.write(rate_buckets.refund, self._source, kind, 1, now)
            until, reason = self._pause(kind)
            raise self._paused(until - self._clock.now(), reason)
        try:
            response, recorded = await self._send(kind, client, request, stop)
            if recorded is not None:
                await asyncio.wait([recorded])
            return call_provider(read, response)
        except ProviderError as error:
            now = self._clock.now()
            await self._write_pause(kind, error, pause_for_rate(error, now), now)
            raise

    async def pause_after(self, kind: RequestKind, error: ProviderError | UnusableAddress) -> None:
        """Pause the source, or a bucket, for as long as an error requires (`pause_for`), if it does.

        Args:
            kind: of the request that failed.
        """
        now = self._clock.now()
        await self._write_pause(kind, error, pause_for(error, now), now)

    async def _write_pause(
        self, kind: RequestKind, error: ProviderError | UnusableAddress, until: float | None, now: float
    ) -> None:
        if until is not None:
            await self._database.write(self._store_pause, kind, error, until, now)
            self.pause_changed()

    def _reserve_soon(
        self, connection: Connection, kind: RequestKind, now: float, max_wait_seconds: float
    ) -> _Reserved:
        plan, state = rate_buckets.lock(connection, self._source), throttle_state.get(connection, self._source)
        at = max(now, state.pause_until, state.next_request_at)
        if state.pause_until > now:
            return _Reserved(at, self._paused(at - now, state.why))
        if (usable_at := plan.usable_at(kind, now)) > now:
            bucket = plan.bucket(kind)
            why = bucket.why if bucket is not None and bucket.pause_until > now else rate_buckets.LIMIT_USED_UP
            return _Reserved(usable_at, self._paused(usable_at - now, why))
        if at - now > max_wait_seconds:
            return _Reserved(at, self._throttled(at - now))
        rate_buckets.store(connection, self._source, plan, plan.after(kind, 1, now), now)
        return _Reserved(self.reserve(connection, 1, now)[0])

    def _throttled(self, wait: float) -> SourceThrottled:
        return SourceThrottled(
            f"No request was sent: the requests_per_second of the source {self._source} are used up. "
            f"Try again in {wait:.0f} s.",
            retry_after=wait,
        )

    def _paused(self, seconds: float, reason: str) -> SourcePaused:
        wait = max(0.0, seconds)
        return SourcePaused(
            f"No request was sent: the source {self._source} is paused ({reason}). Try again in {wait:.0f} s.",
            retry_after=wait,
        )

    async def _read_pause(self, monotonic: float) -> None:
        seen = self._pause_version
        state, plan = await self._database.read(self._read_state)
        with self._lock:
            self._state, self._plan = state, plan
            if seen == self._pause_version:  # else it may be older than the change
                self._pause_read_at = monotonic

    def _read_state(self, connection: Connection) -> tuple[ThrottleState, RatePlan]:
        return throttle_state.get(connection, self._source), rate_buckets.get(connection, self._source)

    async def _wait_for_slot(self, stop: asyncio.Event) -> RequestSlot:
        """Wait until the rate limiter allows a request."""
        while True:
            now = self._clock.monotonic()
            with self._lock:
                at = self._limiter.next_send_at(now)
                if at <= now or stop.is_set():
                    return self._limiter.record_sent(now)
            await self._clock.wait(stop, at - now)


def request_times(requests_per_second: float) -> RequestTimes:
    """How far ahead of now a source's next request time may lie."""
    interval_seconds = MARGIN / requests_per_second
    return RequestTimes(MAX_WAIT_SECONDS + interval_seconds, AHEAD_SECONDS + interval_seconds)


def pause_for(error: ProviderError | UnusableAddress, now: float) -> float | None:
    """Until when an error pauses its whole source, unix seconds; None if it concerns one job only."""
    if isinstance(error, Unauthorized | UnusableAddress):
        return now + REFUSED_PAUSE_SECONDS
    return pause_for_rate(error, now)


def pause_for_rate(error: ProviderError, now: float) -> float | None:
    """As `pause_for`, but a refused API key pauses nothing: a list of voices may need another key than polls.

    Only what the provider reports about its rate limit pauses the source.
    """
    if isinstance(error, RateLimited):
        return now + (LIMIT_PAUSE_SECONDS if error.retry_after is None else error.retry_after)
    return None if error.retry_after is None else now + error.retry_after
