"""Submits one job, and stores what the response means. A job is never lost, and never charged twice unnoticed.

The job is committed before the request. A request without a response may have created a job at the provider. If the
request had an idempotency key that the provider supports, it is repeated with the same key; otherwise an operator has
to check. A request for a stream has none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from sqlalchemy import Connection

from receiver.engine.jobs.completion import JobCompletion, store_completion
from receiver.engine.jobs.requests import JobRequest, build_request, is_idempotent, read_request, read_submitted
from receiver.engine.jobs.source import JobContext, log
from receiver.engine.provider_calls import call_provider
from receiver.errors import ReceiverError, UnusableAddress
from receiver.model.delivery import Delivery
from receiver.model.event import Origin
from receiver.model.rate_plan import RequestKind
from receiver.model.redact import Redactor
from receiver.model.retry import RetryPolicy, wait_seconds
from receiver.providers.pass_through import secret_texts
from receiver.providers.protocols import StreamingProvider, require_streaming
from receiver.providers.tasks import Task
from receiver.providers.types import (
    Ended,
    GenerationFailed,
    InProgress,
    ProviderError,
    RateLimited,
    Running,
    StreamedJob,
    Submitted,
    Unauthorized,
    is_definite_refusal,
)
from receiver.store import job_leases, throttle_state
from receiver.store.completion import final_state
from receiver.store.inbox import Receipt
from receiver.store.job_leases import JobClaim
from receiver.store.states import JobState

T = TypeVar("T")

RETRY_POLICY = RetryPolicy(attempts=10, base_seconds=4.0, factor=2.0, cap_seconds=300.0)
"""How a submit is repeated under one idempotency key while its outcome is unknown."""
IN_PROGRESS_SECONDS = 2.0
"""How long to wait for a submit in progress if the provider does not say."""
MIN_NOT_SENT_SECONDS, MAX_NOT_SENT_SECONDS = 2.0, 60.0
"""The shortest and the longest wait after a request that could not be sent."""
CLOCK_CHECK_SECONDS = 10.0
"""How often a job whose deadline has passed by a clock that is not trusted is checked again."""
NOT_SENT = frozenset({"connect_failed", "dns_failed"})
"""Reasons of a request that was not sent."""
SUBMIT_TIMEOUT = "submit_timeout"
SUBMIT_TIMEOUT_MESSAGE = "The job could not be submitted in time."
SUBMIT_LOST = "submit_lost"


StreamFuture = asyncio.Future[StreamedJob | None]
"""Where the caller that stored a job waits for its stream; None if there is no stream, whatever becomes of the job."""


class Submitter:
    """Submits jobs of one source, each at its scheduled time."""

    def __init__(self, deps: JobContext, completion: JobCompletion) -> None:
        self._deps = deps
        self._completion = completion
        self._streams: dict[str, StreamFuture] = {}

    def expect_stream(self, id: str, opened: StreamFuture) -> None:
        """Submit the job with our id as a stream, for a caller that waits for it until `opened` is done.

        Any other process submits it as any other job.
        """
        self._streams[id] = opened
        opened.add_done_callback(lambda _: self._streams.pop(id, None))

    def kind(self, claim: JobClaim) -> RequestKind:
        """The kind of the request that submits the job."""
        return RequestKind.STREAM if claim.id in self._streams else RequestKind.SUBMIT

    def is_lost(self, claim: JobClaim) -> bool:
        """Whether a submit was started, its outcome was not stored, and repeating it might charge twice."""
        return claim.submits > 0 and not self._is_repeatable(claim)

    def _is_repeatable(self, claim: JobClaim) -> bool:
        return not claim.streamed and is_idempotent(self._deps.source, read_request(claim))

    async def give_up(self, claim: JobClaim) -> None:
        """End a job that is not submitted again: its submit is lost, or its deadline has passed.

        While the clock is not trusted, a job past its deadline is neither submitted nor given up.
        """
        deps, now = self._deps, self._deps.clock.now()
        if self.is_lost(claim):
            await self._mark_unknown(claim, SUBMIT_LOST, "The receiver stopped while it submitted the job.")
        elif not deps.trust.confirms_wait(claim.allowed_seconds):
            await deps.database.write(job_leases.release, claim, now + CLOCK_CHECK_SECONDS, now)
        elif claim.submits:
            await self._mark_unknown(claim, SUBMIT_TIMEOUT, SUBMIT_TIMEOUT_MESSAGE)
        else:
            await self._end(claim, JobState.FAILED, SUBMIT_TIMEOUT, SUBMIT_TIMEOUT_MESSAGE)

    async def submit(self, claim: JobClaim) -> None:
        """Submit the job, and store the outcome in its row."""
        deps, opened, kind = self._deps, self._streams.get(claim.id), self.kind(claim)
        account, wanted, request = deps.source.account, read_request(claim), None
        streaming: StreamingProvider | None = None
        stream: StreamedJob | None = None
        try:
            if opened is None or isinstance(wanted, Task):
                request = build_request(deps.source, wanted, claim.submit_key or "")
            else:
                streaming = require_streaming(deps.source.provider)
                request = call_provider(streaming.stream_request, account, wanted)
            if not await self._write(
                lambda connection: job_leases.begin_submit(connection, claim, streamed=opened is not None)
            ):
                return  # cancelled, or held by another process
            response = await deps.send(kind, request)
            if streaming is None:
                submitted = read_submitted(deps.source, wanted, response)
            else:
                stream = call_provider(streaming.read_stream, account, response)
                submitted = Submitted(stream.job_id, Running("submitted"))
        except (ProviderError, UnusableAddress) as error:
            _redact_request(error, wanted)
            deps.telemetry.job_submitted(claim.source, claim.id, error.reason, error)
            if request is None and not claim.submits:  # nothing was sent, now or before
                await self._end(claim, JobState.FAILED, error.reason, str(error))
            else:
                repeatable = opened is None and self._is_repeatable(claim)
                await self._handle_error(claim, kind, error, repeatable=repeatable)
            return
        deps.telemetry.job_submitted(claim.source, claim.id, "submitted", None)
        if await self._record_submitted(claim, submitted, response.body) and opened is not None and not opened.done():
            opened.set_result(stream)

    async def _record_submitted(self, claim: JobClaim, submitted: Submitted, body: bytes) -> bool:
        """Store the provider's id; False if another process has claimed the job meanwhile."""
        deps, now = self._deps, self._deps.clock.now()
        schedule = deps.source.schedule
        deadline_at = now + schedule.deadline_seconds
        watched = replace(claim, state=JobState.WATCHING, job_id=submitted.job_id)
        delivery: Delivery | None = None
        if isinstance(submitted.status, Ended):
            delivery = self._completion.build_delivery(
                claim, submitted.job_id, submitted.status.parsed, body, Origin.SUBMIT
            )

        def write(connection: Connection) -> tuple[bool, Receipt | None]:
            throttle_state.record_response(connection, claim.source, now)
            limits = deps.throttle.budget.read(connection, now)
            planned = limits.poll_wait(schedule, polls=0, age=0.0, idle=0.0, characters=claim.characters, new=1)
            first_at = now + max(schedule.first_seconds, planned)
            row = job_leases.mark_submitted(
                connection, claim, submitted.job_id, now, first_at, deadline_at, submitted.charge
            )
            if row is None or delivery is None:
                return row is not None, None
            if row["state"] != JobState.WATCHING and row["event_id"] != delivery.event_id:
                return True, None  # it ended before, or failed
            return True, store_completion(connection, watched, final_state(delivery.type), delivery, polls=0)

        held, receipt = await self._write(write, job=submitted.job_id)
        bound = log.bind(source=claim.source, id=claim.id, job=submitted.job_id)
        if not held:
            bound.error("submit.lease_lost", hint="another process has submitted it meanwhile; see this job's row")
            return False
        bound.info("job.submitted")
        deps.changed(claim.id)
        if receipt is not None and delivery is not None:
            self._completion.report(claim, delivery, receipt, polls=0)
        return True

    async def _handle_error(
        self, claim: JobClaim, kind: RequestKind, error: ProviderError | UnusableAddress, *, repeatable: bool
    ) -> None:
        """Store what an error means for the submit and for the whole source.

        Args:
            kind: of the request that was sent.
            repeatable: whether the same request can be sent again without being charged twice.
        """
        now, retry_after = self._deps.clock.now(), getattr(error, "retry_after", None)
        code = error.reason
        if error.reason in NOT_SENT:
            age = now - claim.created_at
            wait = min(MAX_NOT_SENT_SECONDS, max(MIN_NOT_SENT_SECONDS, age / 2)) * self._jitter()
            await self._retry(claim, kind, error, now + wait, refused=True)
        elif isinstance(error, RateLimited):
            await self._retry(claim, kind, error, now, refused=True)
        elif isinstance(error, InProgress):
            wait = IN_PROGRESS_SECONDS * self._jitter() if retry_after is None else retry_after
            await self._retry(claim, kind, error, now + wait, refused=False)
        elif isinstance(error, UnusableAddress) or is_definite_refusal(error):
            # An API key that is refused now does not tell what became of an earlier request.
            lost = isinstance(error, Unauthorized) and claim.submits > 0
            await self._end(claim, JobState.UNKNOWN if lost else JobState.FAILED, code, str(error))
        elif isinstance(error, GenerationFailed) and repeatable and claim.error_code == error.reason:
            await self._end(claim, JobState.FAILED, code, str(error))  # it failed twice: a retry would not help
        else:
            pause = wait_seconds(
                RETRY_POLICY, claim.submits + 1, self._deps.rng.random(), retry_after=retry_after or 0.0
            )
            if pause is None or not repeatable:
                await self._mark_unknown(claim, code, str(error))
            else:
                await self._retry(claim, kind, error, now + pause, refused=False)

    async def _retry(
        self, claim: JobClaim, kind: RequestKind, error: ProviderError | UnusableAddress, at: float, *, refused: bool
    ) -> None:
        now, throttle = self._deps.clock.now(), self._deps.throttle

        def write(connection: Connection) -> bool:
            pause = throttle.store_pause(connection, kind, error, now)
            due_at = min(max(at, pause or 0.0), claim.deadline_at)
            return job_leases.reschedule_submit(
                connection, claim, due_at, now, error.reason, str(error), refused=refused
            )

        await self._write(write)
        throttle.pause_changed()
        self._deps.changed(claim.id)

    async def _mark_unknown(self, claim: JobClaim, code: str, message: str) -> None:
        name = self._deps.source.name
        advice = (
            f"It is unknown whether {name} accepted and charged for the job. Check there. If the job exists, run "
            f"`tts-receiver jobs watch --source {name} --for {claim.id} ID`; if not, run "
            f"`tts-receiver jobs cancel {claim.id}` and submit it again."
        )
        await self._end(claim, JobState.UNKNOWN, code, f"{message} {advice}")

    async def _end(self, claim: JobClaim, state: JobState, code: str, message: str) -> None:
        now = self._deps.clock.now()
        await self._write(
            lambda connection: job_leases.mark_not_submitted(connection, claim, state, now, code, message)
        )
        log.error("job.not_submitted", source=claim.source, id=claim.id, state=state, reason=code, detail=message)
        self._deps.changed(claim.id)

    async def _write(self, write: Callable[[Connection], T], *, job: str | None = None) -> T:
        """As `JobContext.store_result`."""
        name = self._deps.source.name
        return await self._deps.store_result(
            write, lambda error: log.error("submit.not_stored", source=name, job=job, detail=str(error))
        )

    def _jitter(self) -> float:
        return 0.8 + 0.4 * self._deps.rng.random()


def _redact_request(error: ReceiverError, request: JobRequest) -> None:
    """Remove secrets in options, or in a task's body, from the message: the service may quote what it was sent."""
    secrets = secret_texts(request.body if isinstance(request, Task) else request.options)
    if secrets:
        error.args = (Redactor(secrets)(str(error)),)
