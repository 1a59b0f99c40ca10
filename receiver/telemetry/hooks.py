"""The hooks: what the receiver reports while it works, to metrics, to the log, and to tracing (docs/adr/0068).

The code that does the work calls one `Telemetry`. A class that wants some of the reports overrides these hooks and
leaves the rest empty; `combine` makes one `Telemetry` of several.
"""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import structlog

from receiver.errors import ReceiverError
from receiver.model.crashes import CrashDecision
from receiver.model.delivery import Delivery
from receiver.store.artifacts import ArtifactRow
from receiver.store.claims import Claim
from receiver.store.inbox import Receipt
from receiver.store.runs import RunResult

log = structlog.get_logger("receiver.telemetry")

Token = Any
"""What the hook that begins something returns, for the hook that ends it: a start time, a span. Opaque to callers."""

LEASE_LOST = "lease_lost"
"""The run was cancelled, or another process holds it."""
RELEASED = "released"
"""The run was prefetched, and is due again for any process."""
NOT_STORED = "not_stored"
"""The process stops while the store is unavailable, or a bug kept the result from being stored."""


class Telemetry:
    """Every hook, doing nothing.

    A hook is called in the middle of the work: it returns at once and never blocks. One that raises does not stop the
    work (`combine`). What has begun ends exactly once, unless its process dies first. The end gets all that it needs
    besides the token, so that a class can override it without the beginning; its token is then None, or another's. A
    class whose beginning has raised is not called for the end.

    Deliveries, events, runs and jobs are reported by the event loop that receives deliveries, audio by the handlers'
    loop, requests by either.
    """

    # deliveries

    def delivery_received(self, source: str) -> Token:
        """A delivery has arrived; its body is not read yet."""

    def delivery_stored(self, token: Token, delivery: Delivery, receipt: Receipt, outcome: str) -> None:
        """A delivery has been committed and is about to be answered with 202, unless its request was cancelled.

        Args:
            outcome: accepted, duplicate or quarantined.
        """

    def delivery_refused(
        self, token: Token, source: str, status: int | None, outcome: str | None, error: BaseException,
        client: str | None,
    ) -> None:  # fmt: skip
        """A delivery is about to be refused, or has ended without a response.

        Args:
            status: of the response; None if there is none.
            outcome: the reason, a slug; None if the work was cancelled, or failed because of a bug.
            client: the sender's address.
        """

    def event_stored(self, delivery: Delivery) -> None:
        """An event that was not known before has been committed, with its runs.

        Args:
            delivery: has its id, and its origin: a webhook, a poll, or the response to a submit.
        """

    # runs, named by `Claim.key`: event, handler, attempt

    def run_claimed(self, claim: Claim) -> None:
        """A claim has been committed; ahead of need, or to start at once. `run_started` or `claim_ended` follows."""

    def claim_ended(self, claim: Claim, reason: str) -> None:
        """A claim has ended before its handler was started.

        Args:
            reason: `LEASE_LOST` or `RELEASED`.
        """

    def run_started(self, claim: Claim, waited: float) -> Token:
        """The start has been committed, and the handler is about to be called.

        Args:
            claim: with its event.
            waited: seconds since the run was due.
        """

    def run_finished(self, token: Token, result: RunResult, seconds: float, trace: str) -> None:
        """The result of an attempt has been committed.

        Args:
            seconds: from the start until the handler had ended.
            trace: the traceback, without secrets; empty if the result needs none.
        """

    def run_discarded(self, token: Token, claim: Claim, outcome: str, seconds: float, reason: str) -> None:
        """An attempt has ended, and its result is discarded.

        Args:
            outcome: how it ended, a slug.
            seconds: as for `run_finished`.
            reason: `LEASE_LOST` or `NOT_STORED`.
        """

    def run_crashed(self, claim: Claim, owner: str, after: CrashDecision) -> None:
        """A run of a process that has died (`owner`) has been made due again, or a dead letter."""

    # jobs

    def job_submitted(self, source: str, own_id: str, outcome: str, error: BaseException | None) -> None:
        """The response to a submit has been read, or there is none.

        Args:
            own_id: the id that the store gave the job.
            outcome: submitted, or the reason of the error.
        """

    def submit_refused(self, source: str, error: ReceiverError) -> None:
        """A job has been refused before it was stored and sent, because of the source's budget."""

    def job_polled(self, source: str, job_id: str | None, outcome: str, error: BaseException | None) -> None:
        """A job's status has been read, or could not be.

        Args:
            job_id: the provider's; None if a page of its history could not be read.
            outcome: running, ended, or the reason of the error.
        """

    # requests to a provider's API

    def request_sent(self, source: str, method: str, url: str) -> Token:
        """A request is about to be sent; it has waited for its time."""

    def request_answered(self, token: Token, source: str, status: int) -> None:
        """The whole response has arrived."""

    def request_failed(self, token: Token, source: str, error: BaseException) -> None:
        """There is no response, or the request was cancelled."""

    # audio

    def fetch_started(self, source: str, event_id: str, job_id: str, n: int) -> Token:
        """A file that is not stored yet is about to be fetched.

        Args:
            n: which of the job's files, from 0.
        """

    def fetch_stored(self, token: Token, source: str, job_id: str, artifact: ArtifactRow) -> None:
        """The file is in the audio storage, and its row has been committed."""

    def fetch_failed(
        self, token: Token, source: str, event_id: str, job_id: str, n: int, seconds: float, reason: str | None,
        error: BaseException,
    ) -> None:  # fmt: skip
        """The file is not stored.

        Args:
            seconds: since the start.
            reason: a slug; None if nothing was requested, the work was cancelled, or the row could not be written.
        """


SPANS = {
    "delivery_received": ("delivery_stored", "delivery_refused"),
    "run_started": ("run_finished", "run_discarded"),
    "request_sent": ("request_answered", "request_failed"),
    "fetch_started": ("fetch_stored", "fetch_failed"),
}
"""By the hook that begins something those that end it."""
EVENTS = ("event_stored", "run_claimed", "claim_ended", "run_crashed", "job_submitted", "submit_refused", "job_polled")
"""The other hooks."""


def combine(*parts: Telemetry, failed: Callable[[str], None] = lambda _: None) -> Telemetry:
    """One `Telemetry` that reports to all of these, in this order, and never raises.

    If a part raises, this is logged and counted, and the other parts and the work continue. What a hook calls is
    decided here and not at each call: a hook that no part overrides stays empty.

    Args:
        failed: called with the name of a hook that has raised.
    """
    combined = Telemetry()

    def calls_of(hook: str, overriding: Sequence[Telemetry]) -> list[_Call]:
        return [_Call(getattr(part, hook), _Failures(hook, type(part).__qualname__, failed)) for part in overriding]

    for begin, ends in SPANS.items():
        beginning = _overriding(begin, parts)
        single = len(beginning) < 2
        not_begun = object()  # not shared with other calls of `combine`, so that a part can be a combination itself
        if beginning:
            begin_all = _begin_one if single else _begin_each
            setattr(combined, begin, begin_all(calls_of(begin, beginning), not_begun))
        for end in ends:
            ending = _overriding(end, parts)
            own = [beginning.index(part) if part in beginning else None for part in ending]
            if ending:
                end_all = _end_one if single else _end_each
                setattr(combined, end, end_all(calls_of(end, ending), own, not_begun))
    for hook in EVENTS:
        overriding = _overriding(hook, parts)
        if overriding:
            setattr(combined, hook, _call_each(calls_of(hook, overriding)))
    return combined


class _Failures:
    """Reports what one part's hook raises."""

    def __init__(self, hook: str, part: str, count: Callable[[str], None]) -> None:
        self._hook, self._part, self._count = hook, part, count

    def __call__(self, error: BaseException) -> None:
        try:
            self._count(self._hook)
            log.error("telemetry.failed", hook=self._hook, telemetry=self._part, exc_info=error)
        except Exception:  # noqa: BLE001, S110 - nothing is left to report it to
            pass


class _Call(NamedTuple):
    method: Callable[..., Any]
    failed: _Failures


def _overriding(hook: str, parts: Sequence[Telemetry]) -> list[Telemetry]:
    empty = getattr(Telemetry, hook)
    return [part for part in parts if getattr(getattr(part, hook), "__func__", None) is not empty]


# A `try` costs nothing unless something is raised. Hooks are not awaited, so a `CancelledError` is always their own.
_RAISED = (Exception, CancelledError)


def _call_each(calls: Sequence[_Call]) -> Callable[..., None]:
    def call(*arguments: Any) -> None:
        for method, failed in calls:
            try:
                method(*arguments)
            except _RAISED as error:
                failed(error)

    return call


def _begin_one(calls: Sequence[_Call], not_begun: object) -> Callable[..., Token]:
    [(method, failed)] = calls

    def begin(*arguments: Any) -> Token:
        try:
            return method(*arguments)
        except _RAISED as error:
            failed(error)
            return not_begun

    return begin


def _begin_each(calls: Sequence[_Call], not_begun: object) -> Callable[..., list[Token]]:
    ones = [_begin_one([call], not_begun) for call in calls]

    def begin(*arguments: Any) -> list[Token]:
        return [one(*arguments) for one in ones]

    return begin


def _end_one(calls: Sequence[_Call], own: Sequence[int | None], not_begun: object) -> Callable[..., None]:
    """The end of what at most one part has begun: every part gets its token."""
    ending = [(*call, index is not None) for call, index in zip(calls, own, strict=True)]

    def end(token: Token, *arguments: Any) -> None:
        for method, failed, is_own in ending:
            if token is not not_begun or not is_own:
                try:
                    method(token, *arguments)
                except _RAISED as error:
                    failed(error)

    return end


def _end_each(calls: Sequence[_Call], own: Sequence[int | None], not_begun: object) -> Callable[..., None]:
    ending = [(*call, index) for call, index in zip(calls, own, strict=True)]

    def end(tokens: list[Token], *arguments: Any) -> None:
        for method, failed, index in ending:
            token = None if index is None else tokens[index]
            if token is not not_begun:
                try:
                    method(token, *arguments)
                except _RAISED as error:
                    failed(error)

    return end
