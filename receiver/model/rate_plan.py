"""What of a source's rate limits may be used now, and when a job is polled so that the rest lasts. Pure.

A service counts requests in buckets, each with a limit for a window. Its responses name the bucket, so which kind of
request belongs to which bucket is learned from them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import NamedTuple

from receiver.model.poll_schedule import PollSchedule, polls_within

SHARED_RESERVE, OWN_RESERVE = 5, 10
"""Polls leave a fifth of a bucket to submits and fresh addresses of audio; a tenth, if submits have another bucket."""
SUBMIT_RESERVE = 2
"""Submits leave at most half of a bucket to the polls of jobs that were submitted."""
EXPECTED_FACTOR = 1.1
"""The first poll of a job, as a multiple of its expected duration."""
BASE_FACTOR = 2.5
"""A job's age from which its polls are spread, as a multiple of the shortest interval."""
PROVISIONAL_SECONDS = 30.0
"""How long a window is assumed to last, until a response says when it ends."""


class RequestKind(StrEnum):
    """The requests of which each kind has one bucket."""

    SUBMIT = "submit"
    STREAM = "stream"
    STATUS = "status"
    HISTORY = "history"
    VOICES = "voices"


class Bucket(NamedTuple):
    """What a service last reported of a bucket, without the requests that were reserved since.

    Attributes:
        name: the service's; empty if it names none.
        limit: requests in a window.
        remaining: requests left in the window.
        reset_at: unix seconds of the window's end; 0 if unknown.
        pause_until: no request is sent before this, unix seconds.
        why: the reason slug of the pause.
    """

    name: str
    limit: int | None = None
    remaining: int | None = None
    reset_at: float = 0.0
    pause_until: float = 0.0
    why: str = ""

    def left(self, now: float) -> int | None:
        """How many requests are left at `now`, unix seconds; None if it is unknown. A new window has all of them."""
        if self.remaining is None or not self.reset_at:
            return None
        if self.reset_at > now:
            return self.remaining
        return None if self.limit is None else max(1, self.limit)


@dataclass(frozen=True, slots=True)
class RatePlan:
    """The buckets of one source, by name, and the names of the buckets of its kinds of requests."""

    buckets: Mapping[str, Bucket] = field(default_factory=dict)
    kinds: Mapping[str, str] = field(default_factory=dict)

    def bucket(self, kind: RequestKind) -> Bucket | None:
        """The bucket of these requests; None until a response has named it. A service that names none has one."""
        name = self.kinds.get(kind)
        if name is None and self.buckets.keys() == {""}:
            name = ""
        return None if name is None else self.buckets.get(name)

    def pause(self, now: float) -> Bucket | None:
        """The bucket whose pause ends first, if all are paused: then nothing is requested."""
        if not self.buckets or any(bucket.pause_until <= now for bucket in self.buckets.values()):
            return None
        return min(self.buckets.values(), key=lambda bucket: bucket.pause_until)

    def free(self, kind: RequestKind, limit: int, now: float, waiting: int = 0) -> int:
        """How many requests of this kind may be sent now, up to `limit`.

        Args:
            waiting: jobs whose end only polls report; submits leave requests to them.
        """
        bucket = self.bucket(kind)
        if bucket is None:
            return limit
        if bucket.pause_until > now:
            return 0
        left = bucket.left(now)
        return limit if left is None else max(0, min(limit, self._share(kind, bucket, left, waiting)))

    def free_at(self, kind: RequestKind, now: float, waiting: int = 0) -> float:
        """When a request of this kind may be sent, unix seconds; `now` if it may be sent now."""
        bucket = self.bucket(kind)
        if bucket is None or self.free(kind, 1, now, waiting):
            return now
        return max(bucket.pause_until, bucket.reset_at) if bucket.pause_until <= now else bucket.pause_until

    def usable_at(self, kind: RequestKind, now: float) -> float:
        """As `free_at`, for a request that need not leave any to others."""
        bucket = self.bucket(kind)
        if bucket is None:
            return now
        if bucket.pause_until > now:
            return bucket.pause_until
        return bucket.reset_at if bucket.left(now) == 0 else now

    def after(self, kind: RequestKind, count: int, now: float) -> RatePlan:
        """The plan after `count` requests of this kind were reserved."""
        bucket = self.bucket(kind)
        if bucket is None or (left := bucket.left(now)) is None:
            return self
        until = bucket.reset_at if bucket.reset_at > now else now + PROVISIONAL_SECONDS
        reserved = bucket._replace(remaining=max(0, left - count), reset_at=until)
        return replace(self, buckets={**self.buckets, bucket.name: reserved})

    def _share(self, kind: RequestKind, bucket: Bucket, left: int, waiting: int) -> int:
        """How many of the requests that are left in the bucket are for this kind."""
        polls, reserve = self.bucket(RequestKind.STATUS), self._reserve(bucket)
        if kind is RequestKind.VOICES:
            return left
        if kind not in (RequestKind.SUBMIT, RequestKind.STREAM):
            return left - reserve
        if (polls is not None and polls is not bucket) or left <= reserve:
            return left
        return left - min(reserve + waiting, (bucket.limit or 0) // SUBMIT_RESERVE)

    def _reserve(self, bucket: Bucket) -> int:
        """How many requests polls leave to submits and fresh addresses."""
        submits = self.bucket(RequestKind.SUBMIT)
        return (bucket.limit or 0) // (OWN_RESERVE if submits is not None and submits is not bucket else SHARED_RESERVE)

    def _like_others(self, now: float) -> Bucket | None:
        """What a bucket of which nothing is known may be like: unused, and the smallest of the others."""
        known = [bucket for bucket in self.buckets.values() if bucket.limit is not None and bucket.reset_at > now]
        smallest = min(known, key=lambda bucket: bucket.limit or 0, default=None)
        return None if smallest is None else smallest._replace(remaining=smallest.limit)

    def poll_wait(
        self, schedule: PollSchedule, now: float, *, polls: int, age: float, idle: float, watched: int,
        expected: float | None,
    ) -> float:  # fmt: skip
        """Seconds from the last poll of a running job to the next, at least; 0 if the schedule's polls are few enough.

        Args:
            now: unix seconds.
            polls: polls of the job so far.
            age: seconds from the job's submit to its last poll; 0 without one.
            idle: seconds since then.
            watched: jobs that share the requests, with this one.
            expected: seconds that the job is expected to take; None if it is unknown.
        """
        bucket = self.bucket(RequestKind.STATUS) or self._like_others(now)
        if bucket is None or bucket.reset_at <= now or (left := bucket.left(now)) is None:
            return 0.0
        share = max(0, left - self._reserve(bucket)) / max(1, watched)
        if polls_within(schedule, polls, bucket.reset_at - now) <= share:
            return 0.0
        base = BASE_FACTOR * schedule.min_seconds
        return spread_wait(bucket.reset_at - now + idle, share, age=age, expected=expected, base=base)


def spread_wait(window: float, share: float, *, age: float, expected: float | None, base: float) -> float:
    """Seconds until the next of `share` polls within `window` seconds, at most `window`.

    A job that is expected to end later is polled when it is. Otherwise each wait is longer than the one before by the
    same factor, such that one more poll would be at the window's end: however long the job takes, its end is known
    with a delay in proportion to that.

    Args:
        share: the number of polls; may be a fraction.
        age: seconds since the job was submitted.
        expected: seconds that the job is expected to take; None if it is unknown.
        base: seconds of the job's age at which the spread begins.
    """
    origin = 0.0
    if expected is not None:
        first = EXPECTED_FACTOR * expected
        if age < expected and first > base:
            return min(first - age, window)
        origin = expected / 2 if age >= expected else 0.0
    since = age - origin
    start = max(since, base)
    growth = math.log(max(1.0, (since + window) / start)) / (1 + share)
    return min(window, max(0.0, start * math.exp(growth) - since))
