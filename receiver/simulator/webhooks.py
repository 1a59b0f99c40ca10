"""Sends webhooks: signed, tried again on a schedule, and with the faults that were asked for."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Any, Literal

import httpx

from . import signing
from .jobs import Job, JobState
from .shared import Delivery, SharedState

Kind = Literal["regular", "duplicate", "forged", "extra", "test"]
SLOW_BODY_PIECES = 20
SLOW_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What one attempt sends."""

    job_id: str
    event: str
    body: bytes
    url: str
    delivery_id: str
    secret: str
    t: int
    attempt: int = 1
    kind: Kind = "regular"


class _DroppedError(Exception):
    """Breaks the connection in the middle of a body."""


class WebhookSender:
    """Announces the ends of jobs. `spawn` starts a background task that ends with the simulator."""

    def __init__(
        self,
        shared: SharedState,
        client: httpx.AsyncClient,
        spawn: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self._shared = shared
        self._client = client
        self._spawn = spawn
        self._ids = 0

    def announce(self, job: Job) -> None:
        """Send the event of a job that has ended, if there is an address to send it to.

        Provider's documentation: a submit's `webhook_url` overrides the account's; same secret.
        """
        url = job.submission.webhook_url or self._shared.account.webhook_url
        if url is None:
            return
        event = signing.FAILED if job.state is JobState.FAILED else signing.COMPLETED
        self._spawn(self._deliver(self.outgoing(job, event, url=url)))

    def outgoing(
        self,
        job: Job,
        event: str,
        *,
        url: str,
        secret: str | None = None,
        t: int | None = None,
        kind: Kind = "regular",
    ) -> Outgoing:
        """The delivery of `event` for `job`, signed at `t` (default: now, plus the clock skew)."""
        return Outgoing(
            job_id=job.id,
            event=event,
            body=self.body(job, event),
            url=url,
            delivery_id=self.new_id(),
            secret=self._shared.account.signing_secret if secret is None else secret,
            t=self._clock() if t is None else t,
            kind=kind,
        )

    def body(self, job: Job, event: str) -> bytes:
        """The body of `event` for `job`."""
        shared = self._shared
        now, metadata = shared.now(), job.submission.metadata
        if event == signing.TEST:
            return signing.test_body(created_at=now)
        if event == signing.FAILED:
            error = job.error or "The audio could not be generated."
            return signing.failed_body(job.id, created_at=now, error=error, metadata=metadata)
        expires = int(now + shared.settings.audio_url_seconds)
        named = shared.settings.name_audio_endpoint
        return signing.completed_body(
            job.id,
            created_at=now,
            audio_endpoint=shared.audio_endpoint(job) if named else None,
            audio_url=shared.signed_url(job, expires),
            audio_url_expires_at=expires,
            chars_charged=job.chars_charged,
            metadata=metadata,
        )

    async def test(self, url: str) -> Delivery:
        """Send the test event to `url` once."""
        return await self.send(
            Outgoing(
                job_id="",
                event=signing.TEST,
                body=signing.test_body(created_at=self._shared.now()),
                url=url,
                delivery_id=self.new_id(),
                secret=self._shared.account.signing_secret,
                t=self._clock(),
                kind="test",
            )
        )

    async def send(self, outgoing: Outgoing) -> Delivery:
        """Make one attempt and record what came of it."""
        headers = signing.delivery_headers(
            outgoing.secret,
            outgoing.body,
            outgoing.t,
            event=outgoing.event,
            delivery_id=outgoing.delivery_id,
        )
        content, length = self._content(outgoing)
        sent = headers | {"Content-Length": str(length), "User-Agent": "aitts-simulator"}
        at, status, error = self._shared.now(), None, None
        try:
            answer = await self._client.post(outgoing.url, content=content, headers=sent)
            status = answer.status_code
        except _DroppedError:
            error = "dropped in the middle of the body"
        except (httpx.HTTPError, httpx.InvalidURL) as problem:
            error = f"{type(problem).__name__}: {problem}"
        delivery = Delivery(
            job_id=outgoing.job_id,
            event=outgoing.event,
            attempt=outgoing.attempt,
            status=status,
            error=error,
            at=at,
            delivery_id=outgoing.delivery_id,
            url=outgoing.url,
            kind=outgoing.kind,
            headers=headers,
            body=outgoing.body,
        )
        self._shared.record(delivery)
        return delivery

    def new_id(self) -> str:
        """The next delivery id that the seed gives."""
        self._ids += 1
        source = random.Random(f"{self._shared.settings.seed}:delivery:{self._ids}")
        return str(uuid.UUID(int=source.getrandbits(128), version=4))

    async def _deliver(self, first: Outgoing) -> None:
        """Attempt until a 2xx or the schedule's end. The id and the body stay, `t` may not."""
        settings, injector = self._shared.settings, self._shared.injector
        if injector.draw("lost_webhook", at="webhook", job_id=first.job_id):
            return
        if fault := injector.draw("reorder", at="webhook", job_id=first.job_id):
            await self._wait_for_later_deliveries(int(fault.number(1)))
        if injector.draw("forged", at="webhook", job_id=first.job_id):
            forged = replace(first, secret="whsec_not_the_secret", kind="forged")
            await self.send(replace(forged, delivery_id=self.new_id()))
        for number, gap in enumerate((*settings.retry_schedule, None), start=1):
            renew = settings.resign_retries and number > 1
            attempt = replace(first, attempt=number, t=self._clock() if renew else first.t)
            sending = [self.send(attempt)]
            if number == 1 and injector.draw("duplicate", at="webhook", job_id=first.job_id):
                sending.append(self.send(replace(attempt, kind="duplicate")))
            answers = await asyncio.gather(*sending)
            if gap is None or any(answer.accepted for answer in answers):
                return
            await self._shared.closing.pause(gap)
            if self._shared.closing.closed:
                return

    async def _wait_for_later_deliveries(self, others: int) -> None:
        shared = self._shared
        expected = len(shared.deliveries) + others
        deadline = shared.clock.monotonic() + shared.settings.reorder_seconds
        while len(shared.deliveries) < expected and (seconds := deadline - shared.clock.monotonic()) > 0:
            await shared.clock.wait(shared.changes.next, seconds)

    def _content(self, outgoing: Outgoing) -> tuple[bytes | AsyncIterator[bytes], int]:
        """The body as it goes over the wire, and the length that its header states."""
        body, injector = outgoing.body, self._shared.injector
        if outgoing.kind != "regular":
            return body, len(body)
        where: dict[str, Any] = {"at": "webhook", "job_id": outgoing.job_id}
        if injector.draw("truncated_webhook", **where):
            half = body[: len(body) // 2]
            return half, len(half)
        if injector.draw("dropped_webhook", **where):
            return self._interrupted_body(body), len(body)
        if fault := injector.draw("slow_body", **where):
            return self._send_slowly(body, fault.number(SLOW_SECONDS)), len(body)
        return body, len(body)

    async def _send_slowly(self, body: bytes, seconds: float) -> AsyncIterator[bytes]:
        step = max(len(body) // SLOW_BODY_PIECES, 1)
        for start in range(0, len(body), step):
            yield body[start : start + step]
            await self._shared.closing.pause(seconds / SLOW_BODY_PIECES)

    async def _interrupted_body(self, body: bytes) -> AsyncIterator[bytes]:
        yield body[: len(body) // 2]
        raise _DroppedError

    def _clock(self) -> int:
        return int(self._shared.now() + self._shared.injector.faults.clock_skew)
