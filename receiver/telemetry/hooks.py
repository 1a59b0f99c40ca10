"""The hooks: what the receiver reports while it works, to metrics, to the log, and to tracing (docs/adr/0068).

The code that does the work calls one `Telemetry`. A class that wants some of the reports overrides these hooks and
leaves the rest empty; `combine` makes one `Telemetry` of several.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from receiver.model.crashes import CrashDecision
from receiver.model.delivery import Delivery
from receiver.store.artifacts import ArtifactRow
from receiver.store.claims import Claim
from receiver.store.inbox import Receipt
from receiver.store.runs import RunResult

Token = Any
"""What the hook that begins something returns, for the hook that ends it: a start time, a span. Opaque to callers."""

LEASE_LOST = "lease_lost"
"""The run was cancelled, or another process holds it."""
RELEASED = "released"
"""The run was claimed ahead, and is due again for any process."""
NOT_STORED = "not_stored"
"""The process stops while the store is unavailable, or a bug kept the result from being stored."""


class Telemetry:
    """Every hook, doing nothing.

    A hook is called in the middle of the work: it returns at once, never blocks and never raises. What has begun ends
    exactly once, unless its process dies first. The end gets all that it needs besides the token, so that a class can
    override it without the beginning; its token is then None, or another's.

    Deliveries, events, runs and jobs are reported by the event loop that receives deliveries, audio by the handlers'
    loop, requests by either.
    """

    # deliveries

    def delivery_received(self, source: str) -> Token:
        """A delivery has arrived; its body is not read yet."""

    def delivery_stored(self, token: Token, delivery: Delivery, receipt: Receipt, outcome: str) -> None:
        """A delivery has been committed and is about to be answered with 202.

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
EVENTS = ("event_stored", "run_claimed", "claim_ended", "run_crashed", "job_submitted", "job_polled")
"""The other hooks."""


def combine(*parts: Telemetry) -> Telemetry:
    """One `Telemetry` that reports to all of these, in this order.

    What a hook calls is decided here and not at each call: a hook that one part overrides is that part's own method,
    and a hook that no part overrides stays empty.
    """
    combined = Telemetry()
    for begin, ends in SPANS.items():
        beginning = _overriding(begin, parts)
        _set(combined, begin, [getattr(part, begin) for part in beginning], _begin_each)
        for end in ends:
            ending = _overriding(end, parts)
            methods = [getattr(part, end) for part in ending]
            if len(beginning) < 2:
                _set(combined, end, methods, _call_each)
            elif methods:
                own = [beginning.index(part) if part in beginning else None for part in ending]
                setattr(combined, end, _end_each(methods, own))
    for hook in EVENTS:
        _set(combined, hook, [getattr(part, hook) for part in _overriding(hook, parts)], _call_each)
    return combined


_Methods = Sequence[Callable[..., Any]]


def _overriding(hook: str, parts: Sequence[Telemetry]) -> list[Telemetry]:
    empty = getattr(Telemetry, hook)
    return [part for part in parts if getattr(getattr(part, hook), "__func__", None) is not empty]


def _set(combined: Telemetry, hook: str, methods: _Methods, several: Callable[[_Methods], Callable[..., Any]]) -> None:
    if methods:
        setattr(combined, hook, methods[0] if len(methods) == 1 else several(methods))


def _call_each(methods: _Methods) -> Callable[..., None]:
    def call(*arguments: Any) -> None:
        for method in methods:
            method(*arguments)

    return call


def _begin_each(methods: _Methods) -> Callable[..., list[Token]]:
    def begin(*arguments: Any) -> list[Token]:
        return [method(*arguments) for method in methods]

    return begin


def _end_each(methods: _Methods, own: Sequence[int | None]) -> Callable[..., None]:
    def end(tokens: list[Token], *arguments: Any) -> None:
        for method, index in zip(methods, own, strict=True):
            method(None if index is None else tokens[index], *arguments)

    return end
