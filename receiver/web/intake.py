"""The endpoint for deliveries: verify, parse, store, answer; in that order, and 2xx only after the commit.

Plain ASGI instead of request and response objects, for speed: every delivery takes this path.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pydantic_core
import structlog
from starlette.types import Receive, Scope, Send

from receiver.clock import Clock
from receiver.engine.clock_trust import ClockTrust
from receiver.errors import (
    InvalidJson,
    MalformedDelivery,
    QuarantineFull,
    ReceiverError,
    SignatureError,
    StoreBusy,
    StoreStalled,
    StoreUnavailable,
)
from receiver.model.delivery import Delivery, Parsed, identity
from receiver.model.event import Origin
from receiver.model.ids import event_id
from receiver.model.metadata import indexed_pairs
from receiver.model.routing import HandlersFor
from receiver.model.scheme import Key, Scheme, Verified
from receiver.providers.protocols import WebhookProvider
from receiver.store.inbox import Receipt
from receiver.telemetry.hooks import Telemetry, Token
from receiver.web.body import BodyLimits, BodyRefused, read_body, whole_request

RETRY_AFTER_SECONDS = 10
KEY_USE_INTERVAL_SECONDS = 60.0
"""How often the last use of a signing key is recorded, at most."""
_UNAUTHORIZED = b'{"error":"unauthorized"}'
_UNAVAILABLE = b'{"error":"unavailable"}'
_MAX_UNSIGNED_HEADER = 1024

_WEBHOOK: str = Origin.WEBHOOK.value

STORED = ("accepted", "duplicate", "quarantined")
"""The outcomes of a delivery that is answered 202."""

Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class IntakeSource:
    """What the intake needs of one source."""

    name: str
    provider: WebhookProvider
    scheme: Scheme
    keys: tuple[Key, ...]
    tolerance_seconds: float
    reject_stale: bool


@dataclass(frozen=True, slots=True)
class IntakeContext:
    """What all sources' intakes share.

    Attributes:
        accept: stores a delivery; done after the commit. If the future is cancelled before, the function is called
            instead, with the receipt or the error.
        handlers_for: names of the handlers that get an event.
        metadata_keys: keys of the metadata by which lists find an event.
        wake: called after the commit of an event with runs.
        announce: called after the commit of a new event without runs.
        telemetry: gets each delivery and each new event.
        client: the sender's address, for the log lines of refused and stale deliveries.
        waiting: how many writes wait for their commit; above `max_waiting` deliveries are refused.
        trust: compares signed times with our clock, until one has agreed.
    """

    accept: Callable[[Delivery, Callable[[Receipt | BaseException], None]], asyncio.Future[Receipt]]
    handlers_for: HandlersFor
    wake: Callable[[], None]
    announce: Callable[[], None]
    waiting: Callable[[], int]
    max_waiting: int
    body_limits: BodyLimits
    telemetry: Telemetry
    client: Callable[[Scope], str | None]
    trust: ClockTrust
    clock: Clock
    rng: random.Random
    metadata_keys: tuple[str, ...] = ()


class Intake:
    """The ASGI endpoint of one source."""

    def __init__(self, source: IntakeSource, context: IntakeContext) -> None:
        self._source = source
        self._context = context
        self._key_recorded_at: dict[str, float] = {}
        self._refused_before_commit: set[str] = set()
        self._log = structlog.get_logger("receiver.intake", source=source.name)  # bound at its first use
        unsigned = dict.fromkeys((*source.provider.kept_headers, "content-type", "user-agent"), _MAX_UNSIGNED_HEADER)
        signed = dict.fromkeys(source.scheme.headers, None)
        self._stored_headers = {name.encode(): (name, limit) for name, limit in {**unsigned, **signed}.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one delivery."""
        context, source = self._context, self._source.name
        telemetry = context.telemetry
        headers: Headers = []
        token = telemetry.delivery_received(source)
        stored: asyncio.Future[Receipt] | None = None
        try:
            body = await read_body(scope, receive, context.body_limits)
            delivery = self._read(scope, body)
            stored = context.accept(delivery, partial(self._end_unanswered, token, delivery))
            receipt = await stored
            self._after_commit(delivery, receipt)
        except (BodyRefused, SignatureError, MalformedDelivery, InvalidJson, StoreUnavailable) as error:
            status, outcome, answer = _refusal(error)
            if isinstance(error, StoreStalled):
                self._refused_before_commit.add(delivery.event_id)
            telemetry.delivery_refused(token, source, status, outcome, error, context.client(scope))
            if status is None:
                return
            if isinstance(error, BodyRefused):
                headers.append((b"connection", b"close"))
            if status == 503:
                headers.append((b"retry-after", b"%d" % RETRY_AFTER_SECONDS))
        except BaseException as error:  # a bug, or the work was cancelled: the server answers
            if stored is None or not isinstance(error, asyncio.CancelledError):
                telemetry.delivery_refused(token, source, None, None, error, None)
            elif not stored.cancelled():  # else the store calls `_end_unanswered` after the commit
                self._end_unanswered(token, delivery, stored.exception() or stored.result())
            raise
        else:
            outcome = _outcome_of(receipt)
            status, answer = 202, b'{"status":"%s","event":"%s"}' % (outcome.encode(), receipt.event_id.encode())
            telemetry.delivery_stored(token, delivery, receipt, outcome)
        whole = None if headers else whole_request(scope)
        if whole is not None and whole.answer(status, b"content-type: application/json\r\n", answer):
            return
        headers.append((b"content-type", b"application/json"))
        headers.append((b"content-length", b"%d" % len(answer)))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    def report_unread(self, scope: Scope, status: int, error: ReceiverError) -> None:
        """Report a delivery that is refused with this status before it reaches the intake."""
        telemetry, source = self._context.telemetry, self._source.name
        token = telemetry.delivery_received(source)
        telemetry.delivery_refused(token, source, status, error.reason, error, self._context.client(scope))

    def _read(self, scope: Scope, body: bytes) -> Delivery:
        """Verify and parse."""
        source, context = self._source, self._context
        headers: Headers = scope["headers"]
        now = context.clock.now()
        verified = source.scheme.verify(headers, body, source.keys, now)
        stale = self._is_stale(verified, scope)
        parsed = source.provider.parse_delivery(headers, body)
        for note in parsed.notes:
            self._log.warning("delivery.unexpected", note=note, type=parsed.type, job=parsed.job_id)
        if context.waiting() >= context.max_waiting:
            raise StoreBusy("More deliveries wait for the store than server.max_waiting allows.")
        return self._build_delivery(headers, body, parsed, verified, now, quarantined=stale)

    def _after_commit(self, delivery: Delivery, receipt: Receipt) -> None:
        """Wake the dispatcher, and report a new event.

        Raises:
            QuarantineFull: nothing was stored, because it would have been quarantined.
        """
        if receipt.refused:
            raise QuarantineFull("The source has as many events in quarantine as store.max_quarantined allows.")
        if delivery.records_key_use and delivery.key_id is not None:
            self._key_recorded_at[delivery.key_id] = delivery.received_at  # without a commit it was not recorded
        if receipt.released or (delivery.handlers and not receipt.duplicate and not receipt.quarantined):
            self._context.wake()
        elif not receipt.duplicate:
            self._context.announce()
        if not receipt.duplicate:
            self._context.telemetry.event_stored(delivery)

    def _end_unanswered(self, token: Token, delivery: Delivery, outcome: Receipt | BaseException) -> None:
        """Do what follows a commit, or its failure, for a delivery whose request was cancelled or refused meanwhile."""
        telemetry = self._context.telemetry
        refused_before = delivery.event_id in self._refused_before_commit
        self._refused_before_commit.discard(delivery.event_id)
        if not isinstance(outcome, BaseException):
            try:
                self._after_commit(delivery, outcome)
            except QuarantineFull as refused:
                outcome = refused
            else:
                if refused_before:
                    self._log.warning("delivery.stored_late", event_id=outcome.event_id, job=delivery.job_id)
                    return
                telemetry.delivery_stored(token, delivery, outcome, _outcome_of(outcome))
                return
        if refused_before:
            return
        reason = outcome.reason if isinstance(outcome, ReceiverError) else None
        telemetry.delivery_refused(token, delivery.source, None, reason, outcome, None)

    def _is_stale(self, verified: Verified, scope: Scope) -> bool:
        """Whether an authentic delivery is outside the tolerance.

        Raises:
            SignatureError: it is, and the source rejects such deliveries.
        """
        skew = verified.skew
        if skew is None or abs(skew) <= self._source.tolerance_seconds:
            if not self._context.trust.confirmed and skew is not None:
                self._context.trust.compare(skew, self._source.name)
            return False
        reason = "too_old" if skew > 0 else "too_new"
        if self._source.reject_stale:
            raise SignatureError(
                f"The signature is valid, but its time differs from our clock by {skew:.0f} s.", reason=reason
            )
        self._log.warning(
            "delivery.stale",
            reason=reason,
            skew=round(skew),
            key=verified.key_id,
            client=self._context.client(scope),
        )
        return True

    def _build_delivery(
        self, headers: Headers, body: bytes, parsed: Parsed, verified: Verified, now: float, *, quarantined: bool
    ) -> Delivery:
        source, rule_of, keys = self._source, self._stored_headers.get, self._context.metadata_keys
        stored = [
            (rule[0], value[: rule[1]].decode("latin-1"))
            for raw, value in headers
            if (rule := rule_of(raw)) is not None
        ]
        return Delivery(
            event_id=event_id(now, self._context.rng.getrandbits(74)),
            source=source.name,
            type=parsed.type,
            key=identity(parsed, verified.message_id, body),
            job_id=parsed.job_id,
            origin=_WEBHOOK,
            payload=pydantic_core.to_json(parsed.payload).decode(),
            body=body,
            headers=pydantic_core.to_json(stored).decode(),
            key_id=verified.key_id,
            skew=verified.skew,
            received_at=now,
            handlers=self._context.handlers_for(parsed.type, source.name, parsed.payload),
            quarantined=quarantined,
            handlers_for=self._context.handlers_for,
            indexed=indexed_pairs(parsed.payload.get("metadata"), keys) if keys else (),
            records_key_use=self._records_key_use(verified.key_id, now),
        )

    def _records_key_use(self, key_id: str, now: float) -> bool:
        """Whether to record the key's use again, which is also so if the clock was set back meanwhile."""
        return abs(now - self._key_recorded_at.get(key_id, 0.0)) >= KEY_USE_INTERVAL_SECONDS


def _outcome_of(receipt: Receipt) -> str:
    """The outcome of a stored delivery: one of `STORED`."""
    if receipt.quarantined:
        return "quarantined"
    return "duplicate" if receipt.duplicate and not receipt.released else "accepted"


def _refusal(error: BodyRefused | ReceiverError) -> tuple[int | None, str, bytes]:
    """The response to a refused delivery: status, outcome, body. The status is None if the sender has disconnected."""
    if isinstance(error, BodyRefused):
        return error.status, error.outcome, b'{"error":"%s"}' % error.outcome.encode()
    if isinstance(
        error, SignatureError
    ):  # the same response for every invalid signature: a sender does not learn the reason
        return 401, error.reason, _UNAUTHORIZED
    if isinstance(error, StoreUnavailable):
        return 503, error.reason, _UNAVAILABLE
    return 400, error.reason, b'{"error":"%s"}' % error.reason.encode()
