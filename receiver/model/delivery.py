"""A delivery: what a provider sent, parsed and ready to be stored.

Separate from events, because several deliveries can carry one event.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from receiver.model.event import TERMINAL
from receiver.model.metadata import Pair
from receiver.model.routing import HandlersFor

Headers = Sequence[tuple[bytes, bytes]]
"""Header lines as in ASGI: lower-case names, raw values, repeated lines kept."""


class Parsed(NamedTuple):
    """A body of a delivery or response, as parsed by a provider module.

    Attributes:
        type: the event type.
        job_id: the provider's job id, or None.
        payload: normalised fields: `status`, `audio_endpoint`, `audio_url`, `audio_url_expires_at`,
            `chars_charged`, `credits_used`, `metadata`, `error {code, message}` where known; the whole body for other
            types.
        notes: slugs of anomalies, for the log.
        event_id: the event's own id in the signed body; None if it has none. Only for an event that ends no job.
    """

    type: str
    job_id: str | None
    payload: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    event_id: str | None = None


class Delivery(NamedTuple):
    """One verified delivery, ready to be stored: first the event's columns, in the order of the INSERT.

    Attributes:
        event_id: the id of the event, if this delivery is the first to carry it.
        key: with source and type, the identity of the event; see `identity`.
        payload: JSON text of the normalised payload.
        body: the raw body, as signed.
        headers: JSON text of the stored header lines, with which the signature can be verified again.
        skew: our clock minus the signed time, in seconds; None if the scheme signs no time.
        handlers: names of the handlers that get a run.
        quarantined: store the event, but do not dispatch it.
        handlers_for: returns `handlers` again for the event that this delivery releases from quarantine, because that
            event keeps the payload of its first delivery; None if `handlers` are the same for any payload.
        indexed: the pairs of its metadata by which lists find the event.
        records_key_use: whether to record this use of the key; once in a while is enough.
        received_at: unix seconds.
    """

    event_id: str
    source: str
    type: str
    key: str
    job_id: str | None
    origin: str
    payload: str
    body: bytes
    headers: str
    key_id: str | None
    skew: float | None
    received_at: float
    handlers: tuple[str, ...]
    quarantined: bool = False
    handlers_for: HandlersFor | None = None
    indexed: tuple[Pair, ...] = ()
    records_key_use: bool = True


def identity(parsed: Parsed, message_id: str | None, body: bytes) -> str:
    """The event's key, which identifies it with source and type: the same for webhooks and polls, of signed bytes only.

    The job id for a terminal event; for any other the event's id in the body, else the message id, else the body's
    SHA-256.

    Args:
        message_id: the signed message id; None if the scheme signs none.
    """
    if parsed.type in TERMINAL and parsed.job_id is not None:
        return parsed.job_id
    return parsed.event_id or message_id or hashlib.sha256(body).hexdigest()
