"""A delivery on its way in: what the wire gave, and what is handed to the store.

Apart from the events because a delivery is a fact about the wire and an event a fact about a job: several
deliveries can carry one event.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from receiver.model.event import TERMINAL

Headers = Sequence[tuple[bytes, bytes]]
"""Header lines as ASGI gives them: lower-case names, raw values, repeats kept."""


class Parsed(NamedTuple):
    """What a provider's module read out of a delivery's or an answer's body.

    Attributes:
        type: the event word.
        job_id: the provider's job id, or None.
        payload: normalised fields: `status`, `audio_endpoint`, `audio_url`, `audio_url_expires_at`,
            `chars_charged`, `metadata`, `error {code, message}` where known; the whole body for other words.
        notes: oddities for the log, each a slug.
    """

    type: str
    job_id: str | None
    payload: Mapping[str, Any]
    notes: tuple[str, ...] = ()


class Delivery(NamedTuple):
    """One verified delivery, ready to be stored: first the event's columns, in the order in which they are inserted.

    Attributes:
        event_id: the id the event gets if this delivery turns out to be its first.
        key: the identity beside source and type, see `identity`.
        payload: JSON text of the normalised payload.
        body: the raw body, as signed.
        headers: JSON text of the kept header lines, so that the signature can be checked again.
        skew: our clock minus the signature's, in seconds; None where the scheme has no time.
        handlers: names of the handlers that get a run.
        quarantined: keep it, do not dispatch it.
        notes_key: whether this use of the key is written down; once in a while is enough.
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
    notes_key: bool = True


def identity(parsed: Parsed, message_id: str | None, body: bytes) -> str:
    """The event's key beside (source, type): one identity for push and poll, of signed bytes only.

    A terminal event is its job. Any other is its message id, else its body's SHA-256.

    Args:
        message_id: the id that the signature covers; None where the scheme signs none.
    """
    if parsed.type in TERMINAL and parsed.job_id is not None:
        return parsed.job_id
    return message_id or hashlib.sha256(body).hexdigest()
