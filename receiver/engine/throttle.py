"""Spaces the requests to one source: submits, polls, voices and fresh audio addresses alike.

Three rules for all of them:

1. Each request has a time, reserved in the store: all processes together keep the source's rate.
2. A rate limiter of this process bounds the requests in any one-second window, also where some are late.
3. While the source is paused nobody asks. A pause is a row in the store: after `429`, a `Retry-After`, a used-up
   `X-RateLimit`, or a refused key. It is looked up again just before a request is sent.

What `X-RateLimit` leaves below a fifth is kept from polls, for submits and audio (`ThrottleState.poll_pause_until`).
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from sqlalchemy import Connection

from receiver.clock import Clock
from receiver.engine.rate_limiter import RateLimiter, RequestSlot
from receiver.errors import UnusableAddress
from receiver.model.rate_limit import read_rate_limit
from receiver.model.retry_after import sender_time
from receiver.outbound.api import call_api
from receiver.outbound.client import Client
from receiver.providers.types import ProviderError, RateLimited, Request, Response, Unauthorized
from receiver.store import throttle_state
from receiver.store.clocks import RequestTimes
from receiver.store.database import Database
from receiver.store.throttle_state import ThrottleState
from receiver.telemetry.hooks import Telemetry

T = TypeVar("T")

MARGIN = 1.02
"""Requests are scheduled this much further apart than the rate says: what is sent apart can arrive together."""
AHEAD_SECONDS = 1.0
"""How far ahead requests are scheduled for jobs: a pause that another process stores is seen before the next claim."""
MAX_WAIT_SECONDS = 60.0
"""How far ahead a time is reserved for a caller that has nothing in the store, at the most."""
PAUSE_SECONDS = 0.2
"""How late a pause that another process stores may be seen by a request that has its time already; our own at once."""
REFUSED_PAUSE_SECONDS = 300.0
"""How long a source is left alone that refuses our key: an operator has to act."""
LIMIT_PAUSE_SECONDS = 60.0
"""How long, where it says "too many requests" and not until when."""
KEPT_SHARE = 5
"""One in so many requests of a rate limit's window is kept from polls, for submits and audio."""
LIMIT_USED_UP = "rate_limit_used_up"


class SourceThrottled(RateLimited):
    """The request was not made: the source is paused, or its next free time is too far ahead (`retry_after`)."""


class _Reserved(NamedTuple):
    """When a request may be made, unix seconds; `granted` is False if that is too far ahead, and not reserved."""

    at: float
    granted: bool


class Throttle:
    """Spaces the requests to one source. One for each source in a process, for all of its event loops and threads.

    Args:
        source: its name.
        requests_per_second: of all processes together.
    """

    def __init__(
        self, database: Database, source: str, requests_per_second: float, clock: Clock, telemetry: Telemetry
    ) -> None:
        self.interval_seconds = MARGIN / requests_per_second
        """Between two requests."""
        self._database = database
        self._source = source
        self._clock = clock
        self._telemetry = telemetry
        self._guard = threading.Lock()
        self._limiter = RateLimiter(requests_per_second)
        self._pauses = 0
        self._pause_until = 0.0
        self._pause_seen_at = float("-inf")

    # for a caller with a transaction of its own: the job loop

    def free_slots(self, state: ThrottleState, now: float) -> int:
        """How many requests could be made within `AHEAD_SECONDS` of `now`, unix seconds."""
        return state.free_times(now, self.interval_seconds, AHEAD_SECONDS)

    def reserve(self, connection: Connection, count: int, now: float) -> list[float]:
        """Reserve the next `count` times, as `throttle_state.reserve_times`."""
        return throttle_state.reserve_times(connection, self._source, count, now, self.interval_seconds)

    async def wait_for(self, at: float, stop: asyncio.Event) -> bool:
        """Wait for a reserved time.

        Args:
            at: by the clock's monotonic time: should the other one be set meanwhile, requests keep their distance.
            stop: ends the wait.

        Returns:
            Whether the request may be made; False if the source has been paused meanwhile, or `stop` is set.
        """
        while not stop.is_set():
            passed = self._clock.monotonic()
            if at > passed:
                await self._clock.wait(stop, at - passed)
            elif passed - self._pause_seen_at >= PAUSE_SECONDS:
                await self._see_pause(passed)
            else:
                return self._pause_until <= self._clock.now()
        return False

    async def send(self, client: Client, request: Request, stop: asyncio.Event) -> Response:
        """Make a request that has had its time, and obey what its answer says of the source's rate limit.

        Args:
            stop: ends the wait for the rate limiter; the request is made all the same.

        Raises:
            Unavailable: as `outbound.api.call_api`.
            UnusableAddress: as `outbound.api.call_api`.
        """
        slot = await self._enter(stop)
        response = await self._call_api(client, request)
        with self._guard:
            self._limiter.answered(slot, self._clock.monotonic())
        await self._obey(response)
        return response

    async def _call_api(self, client: Client, request: Request) -> Response:
        token = self._telemetry.request_sent(self._source, request.method, request.url)
        try:
            response = await call_api(client, request)
        except BaseException as error:
            self._telemetry.request_failed(token, self._source, error)
            raise
        self._telemetry.request_answered(token, self._source, response.status)
        return response

    def store_pause(self, connection: Connection, until: float | None, reason: str, now: float) -> None:
        """Store a pause in the caller's transaction, if there is one; `pause_changed` is for after the commit."""
        if until is not None:
            throttle_state.pause(connection, self._source, until, reason, now)

    def pause_changed(self) -> None:
        """A pause of ours was committed: the next request looks for it."""
        with self._guard:
            self._pauses += 1
            self._pause_seen_at = float("-inf")

    # for a caller with nothing in the store

    async def call(self, client: Client, request: Request, read: Callable[[Response], T], max_wait_seconds: float) -> T:
        """Wait for the source's next free time, make the request, read its answer; store a pause that it asks for.

        Args:
            read: makes the result of the answer; raises ProviderError if it is none.
            max_wait_seconds: a request whose time is further ahead is refused; up to `MAX_WAIT_SECONDS`.

        Raises:
            SourceThrottled: the source is paused, or not free for that long.
            ProviderError: as `send` and `read`.
            UnusableAddress: as `send`.
        """
        stop = asyncio.Event()  # nobody sets it: who no longer wants the answer is cancelled
        now, passed = self._clock.now(), self._clock.monotonic()
        at, granted = await self._database.write(self._reserve_soon, now, min(max_wait_seconds, MAX_WAIT_SECONDS))
        if not granted:
            raise self._throttled(at - now)
        if not await self.wait_for(at - now + passed, stop):
            raise self._throttled(self._pause_until - self._clock.now())
        try:
            return read(await self.send(client, request, stop))
        except ProviderError as error:
            await self._pause(pause_for_rate(error, self._clock.now()), error.reason)
            raise

    async def pause_after(self, error: ProviderError | UnusableAddress) -> None:
        """Leave the source alone as long as an error wants it (`pause_for`), if it does."""
        await self._pause(pause_for(error, self._clock.now()), error.reason)

    async def _pause(self, until: float | None, reason: str) -> None:
        if until is not None:
            await self._database.write(self.store_pause, until, reason, self._clock.now())
            self.pause_changed()

    def _reserve_soon(self, connection: Connection, now: float, max_wait_seconds: float) -> _Reserved:
        state = throttle_state.get(connection, self._source)
        at = max(now, state.pause_until, state.next_request_at)
        if state.pause_until > now or at - now > max_wait_seconds:
            return _Reserved(at, granted=False)
        return _Reserved(self.reserve(connection, 1, now)[0], granted=True)

    def _throttled(self, seconds: float) -> SourceThrottled:
        wait = max(0.0, seconds)
        return SourceThrottled(
            f"The source {self._source} takes no request now: it is paused, or its requests_per_second are used up. "
            f"Try again in {wait:.0f} s.",
            retry_after=wait,
        )

    async def _see_pause(self, passed: float) -> None:
        seen = self._pauses
        until = (await self._database.read(throttle_state.get, self._source)).pause_until
        with self._guard:
            self._pause_until = until
            if seen == self._pauses:  # else it may be from before
                self._pause_seen_at = passed

    async def _enter(self, stop: asyncio.Event) -> RequestSlot:
        """Wait until the rate limiter lets a request through."""
        while True:
            now = self._clock.monotonic()
            with self._guard:
                at = self._limiter.opens_at(now)
                if at <= now or stop.is_set():
                    return self._limiter.sent(now)
            await self._clock.wait(stop, at - now)

    async def _obey(self, response: Response) -> None:
        """Pause the source, or its polls, where the answer says that few requests or none are left."""
        now = self._clock.now()
        theirs = sender_time(response.header("date"), now)
        limit = read_rate_limit(response.header, theirs)
        if limit is None or limit.remaining is None or limit.reset_at is None or limit.reset_at <= theirs:
            return
        until = now + (limit.reset_at - theirs)
        if limit.remaining == 0:
            await self._pause(until, LIMIT_USED_UP)
        elif limit.remaining <= (limit.limit or 0) // KEPT_SHARE:
            await self._database.write(throttle_state.pause_polls, self._source, until, now)


def request_times(requests_per_second: float) -> RequestTimes:
    """How far ahead of now a source's next request time may lie."""
    interval_seconds = MARGIN / requests_per_second
    return RequestTimes(MAX_WAIT_SECONDS + interval_seconds, AHEAD_SECONDS + interval_seconds)


def pause_for(error: ProviderError | UnusableAddress, now: float) -> float | None:
    """Until when an error pauses its whole source, unix seconds; None if it is one job's own."""
    if isinstance(error, Unauthorized | UnusableAddress):
        return now + REFUSED_PAUSE_SECONDS
    return pause_for_rate(error, now)


def pause_for_rate(error: ProviderError, now: float) -> float | None:
    """The same for a request that polls and submits are no measure of: a list of voices may need a key of its own.

    Only what the provider says about its rate pauses the source then.
    """
    if isinstance(error, RateLimited):
        return now + (LIMIT_PAUSE_SECONDS if error.retry_after is None else error.retry_after)
    return None if error.retry_after is None else now + error.retry_after
