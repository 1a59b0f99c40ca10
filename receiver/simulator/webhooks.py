"""Sends webhooks: signed, repeated on a schedule, and with injected faults."""

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
from .state import Delivery, SimulatorState

Kind = Literal["regular", "duplicate", "forged", "extra", "test"]
SLOW_BODY_CHUNKS = 20
SLOW_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class WebhookRequest:
    """The request of one attempt."""

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
    """Raised in the middle of a body to break the connection."""


class WebhookSender:
    """Sends the events of `aitts`. `spawn` starts a background task that is cancelled when the simulator closes."""

    def __init__(
        self,
        state: SimulatorState,
        client: httpx.AsyncClient,
        spawn: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self._state = state
        self._client = client
        self._spawn = spawn
        self._ids = 0

    def enqueue(self, job: Job) -> None:
        """Start to send the event of a job that has ended, if there is a webhook address.

        Provider's documentation: a submit's `webhook_url` overrides the account's; the secret is the same.
        """
        url = job.submission.webhook_url or self._state.account.webhook_url
        if url is None:
            return
        event = signing.FAILED if job.state is JobState.FAILED else signing.COMPLETED
        self._spawn(self._deliver(self.build(job, event, url=url)))

    def build(
        self,
        job: Job,
        event: str,
        *,
        url: str,
        secret: str | None = None,
        t: int | None = None,
        kind: Kind = "regular",
    ) -> WebhookRequest:
        """Return the delivery of `event` for `job`, signed at `t` (default: now, plus the clock skew)."""
        return WebhookRequest(
            job_id=job.id,
            event=event,
            body=self.body(job, event),
            url=url,
            delivery_id=self.new_delivery_id(),
            secret=self._state.account.signing_secret if secret is None else secret,
            t=self._signing_time() if t is None else t,
            kind=kind,
        )

    def body(self, job: Job, event: str) -> bytes:
        """Return the body of `event` for `job`."""
        state = self._state
        now, metadata = state.now(), job.submission.metadata
        if event == signing.TEST:
            return signing.test_body(created_at=now)
        if event == signing.FAILED:
            error = job.error or "The audio could not be generated."
            return signing.failed_body(job.id, created_at=now, error=error, metadata=metadata)
        expires = int(now + state.settings.audio_url_seconds)
        include = state.settings.include_audio_endpoint
        return signing.completed_body(
            job.id,
            created_at=now,
            audio_endpoint=state.audio_endpoint(job) if include else None,
            audio_url=state.signed_url(job, expires),
            audio_url_expires_at=expires,
            chars_charged=job.chars_charged,
            metadata=metadata,
        )

    async def test(self, url: str) -> Delivery:
        """Send the test event to `url` once."""
        return await self.send(
            WebhookRequest(
                job_id="",
                event=signing.TEST,
                body=signing.test_body(created_at=self._state.now()),
                url=url,
                delivery_id=self.new_delivery_id(),
                secret=self._state.account.signing_secret,
                t=self._signing_time(),
                kind="test",
            )
        )

    async def send(self, request: WebhookRequest) -> Delivery:
        """Make one attempt and record its outcome."""
        headers = signing.delivery_headers(
            request.secret,
            request.body,
            request.t,
            event=request.event,
            delivery_id=request.delivery_id,
        )
        content, length = self._content(request)
        sent = headers | {"Content-Length": str(length), "User-Agent": "aitts-simulator"}
        at, status, error = self._state.now(), None, None
        try:
            response = await self._client.post(request.url, content=content, headers=sent)
            status = response.status_code
        except _DroppedError:
            error = "dropped in the middle of the body"
        except (httpx.HTTPError, httpx.InvalidURL) as problem:
            error = f"{type(problem).__name__}: {problem}"
        delivery = Delivery(
            job_id=request.job_id,
            event=request.event,
            attempt=request.attempt,
            status=status,
            error=error,
            at=at,
            delivery_id=request.delivery_id,
            url=request.url,
            kind=request.kind,
            headers=headers,
            body=request.body,
        )
        self._state.record_delivery(delivery)
        return delivery

    def new_delivery_id(self) -> str:
        """Return the next delivery id of the seed."""
        self._ids += 1
        source = random.Random(f"{self._state.settings.seed}:delivery:{self._ids}")
        return str(uuid.UUID(int=source.getrandbits(128), version=4))

    async def _deliver(self, first: WebhookRequest) -> None:
        """Repeat a delivery until a 2xx or the end of the schedule. Its id and body stay the same, `t` may change."""
        settings, injector = self._state.settings, self._state.injector
        if injector.trigger("lost_webhook", at="webhook", job_id=first.job_id):
            return
        if fault := injector.trigger("reorder", at="webhook", job_id=first.job_id):
            await self._wait_for_later_deliveries(int(fault.number(1)))
        if injector.trigger("forged", at="webhook", job_id=first.job_id):
            forged = replace(first, secret="whsec_not_the_secret", kind="forged")
            await self.send(replace(forged, delivery_id=self.new_delivery_id()))
        for number, gap in enumerate((*settings.retry_schedule, None), start=1):
            sign_again = settings.new_signature_per_retry and number > 1
            attempt = replace(first, attempt=number, t=self._signing_time() if sign_again else first.t)
            sending = [self.send(attempt)]
            if number == 1 and injector.trigger("duplicate", at="webhook", job_id=first.job_id):
                sending.append(self.send(replace(attempt, kind="duplicate")))
            responses = await asyncio.gather(*sending)
            if gap is None or any(response.accepted for response in responses):
                return
            await self._state.shutdown.pause(gap)
            if self._state.shutdown.started:
                return

    async def _wait_for_later_deliveries(self, others: int) -> None:
        state = self._state
        expected = len(state.deliveries) + others
        deadline = state.clock.monotonic() + state.settings.reorder_seconds
        while len(state.deliveries) < expected and (seconds := deadline - state.clock.monotonic()) > 0:
            await state.clock.wait(state.changes.next, seconds)

    def _content(self, request: WebhookRequest) -> tuple[bytes | AsyncIterator[bytes], int]:
        """Return the body to send, and the value of its Content-Length."""
        body, injector = request.body, self._state.injector
        if request.kind != "regular":
            return body, len(body)
        target: dict[str, Any] = {"at": "webhook", "job_id": request.job_id}
        if injector.trigger("truncated_webhook", **target):
            half = body[: len(body) // 2]
            return half, len(half)
        if injector.trigger("dropped_webhook", **target):
            return self._interrupted_body(body), len(body)
        if fault := injector.trigger("slow_body", **target):
            return self._send_slowly(body, fault.number(SLOW_SECONDS)), len(body)
        return body, len(body)

    async def _send_slowly(self, body: bytes, seconds: float) -> AsyncIterator[bytes]:
        step = max(len(body) // SLOW_BODY_CHUNKS, 1)
        for start in range(0, len(body), step):
            yield body[start : start + step]
            await self._state.shutdown.pause(seconds / SLOW_BODY_CHUNKS)

    async def _interrupted_body(self, body: bytes) -> AsyncIterator[bytes]:
        yield body[: len(body) // 2]
        raise _DroppedError

    def _signing_time(self) -> int:
        return int(self._state.now() + self._state.injector.faults.clock_skew)
