"""The application that events are forwarded to: verifies each request, reads it, and reports it.

Used by `forward-test` and `demo`. It verifies as the receiver verifies deliveries: over the raw bytes, before anything
parses them.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from receiver.cli.forward_test.message import ForwardedEvent, read_message
from receiver.clock import Clock, SystemClock
from receiver.errors import InvalidJson, MalformedDelivery, ReceiverError, SignatureError
from receiver.model.delivery import Headers
from receiver.model.scheme import Key, Scheme
from receiver.model.standard_webhooks import public_secret
from receiver.web.body import BodyLimits, BodyRefused, read_body

MAX_BODY_BYTES = 64 * 1024 * 1024
"""The largest message: a provider's own body, with the highest `server.max_body_bytes`."""
BODY_SECONDS = 30.0
TOLERANCE_SECONDS = 300
"""How old or new a signed time may be, as in the libraries of Standard Webhooks."""
MAX_REMEMBERED = 10_000
"""How many message ids are remembered, to mark duplicates."""
REFUSED_BODIES = {
    408: f"The body was not complete within {BODY_SECONDS:.0f} s.",
    413: f"The body has more than {MAX_BODY_BYTES:,} bytes.",
    503: "There is no room for more unfinished bodies.",
    None: "The sender disconnected before the body was complete.",
}


@dataclass(frozen=True, slots=True)
class Receipt:
    """One verified event.

    Attributes:
        at: unix seconds.
        status: the response.
        count: how many times a message with this id has arrived, this one included.
    """

    at: float
    status: int
    event: ForwardedEvent
    size: int
    count: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """One request that was refused.

    Attributes:
        at: unix seconds.
        status: the response; None if the sender has disconnected.
        reason: the slug.
        why: a sentence.
    """

    at: float
    status: int | None
    reason: str
    why: str


class ForwardTarget:
    """Accepts POST requests at every path. `app` is the ASGI application.

    Args:
        keys: of the scheme; one of them must have made a signature.
        report: called with each verified event and each refused request.
        status: the response to a verified event.
    """

    def __init__(
        self,
        scheme: Scheme,
        keys: Sequence[Key],
        report: Callable[[Receipt | Refusal], None],
        status: int = HTTPStatus.NO_CONTENT,
        clock: Clock | None = None,
    ) -> None:
        self._scheme = scheme
        self._keys = keys
        self._report = report
        self._status = status
        self._clock = clock or SystemClock()
        self._limits = BodyLimits(BODY_SECONDS, MAX_BODY_BYTES)
        self._counts: OrderedDict[str, int] = OrderedDict()
        self.app = Starlette(routes=[Route("/{path:path}", self._receive, methods=["POST"])])

    async def _receive(self, request: Request) -> Response:
        headers = request.headers.raw
        try:
            body = await read_body(request.scope, request.receive, self._limits)
        except BodyRefused as refused:
            return self._refuse(refused.status, refused.outcome, REFUSED_BODIES[refused.status])
        now = self._clock.now()
        try:
            message_id = self._verify(headers, body, now)
        except SignatureError as error:
            return self._refuse(HTTPStatus.UNAUTHORIZED, error.reason, str(error))
        try:
            event = read_message(headers, body)
        except (MalformedDelivery, InvalidJson) as error:
            return self._refuse(HTTPStatus.BAD_REQUEST, error.reason, str(error))
        count = self._count(message_id or (event.data.event_id if event.data else hashlib.sha256(body).hexdigest()))
        self._report(Receipt(now, self._status, event, len(body), count))
        return Response(status_code=self._status)

    def _verify(self, headers: Headers, body: bytes, now: float) -> str | None:
        """The signed message id; None if the scheme signs none.

        Raises:
            SignatureError: the signature is not valid, or too old or too new.
        """
        verified = self._scheme.verify(headers, body, self._keys, now)
        skew = verified.skew or 0.0
        if abs(skew) > TOLERANCE_SECONDS:
            reason, what = ("too_old", "ago") if skew > 0 else ("too_new", "in the future")
            raise SignatureError(
                f"It was signed {abs(skew):.0f} s {what}; {TOLERANCE_SECONDS} s are allowed. Compare the clocks.",
                reason=reason,
            )
        return verified.message_id

    def _count(self, message_id: str) -> int:
        count = self._counts[message_id] = self._counts.pop(message_id, 0) + 1
        if len(self._counts) > MAX_REMEMBERED:
            self._counts.popitem(last=False)
        return count

    def _refuse(self, status: int | None, reason: str, why: str) -> Response:
        self._report(Refusal(self._clock.now(), status, reason, why))
        return PlainTextResponse(f"{reason}: {why}\n", status or HTTPStatus.BAD_REQUEST)


def signing_keys(scheme: Scheme, secrets: Sequence[str]) -> list[Key]:
    """The keys that verify what these secrets sign.

    Raises:
        ReceiverError: one cannot be used; the message names it by its position.
    """
    keys = []
    for number, secret in enumerate(secrets, 1):
        try:
            text = public_secret(secret) if scheme.spec.accepts_public_keys else secret
            keys.append(scheme.parse_secret(f"secret {number}", text))
        except ValueError as error:
            raise ReceiverError(f"The secret {number} {error}.") from None
    return keys
