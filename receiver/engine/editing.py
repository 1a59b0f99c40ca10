"""Makes a new event of a stored one, with a payload that an operator edited, and dispatches it.

The new event has an identity of its own and the origin `edited`: it ends no job, and no delivery is its duplicate.
Type, source and job id stay, so that it is routed like the other, and handlers read it like the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pydantic_core
from sqlalchemy import Connection

from receiver.engine.audit import ChangeRecorder
from receiver.engine.plugins import Registry
from receiver.engine.replay import choose_handlers, require_replayable
from receiver.errors import NotFound, ReceiverError
from receiver.model.delivery import Delivery
from receiver.model.event import COMPLETED, TERMINAL, Origin
from receiver.model.json_body import same_json
from receiver.model.metadata import indexed_pairs
from receiver.model.redact_json import restore_json
from receiver.settings import Settings
from receiver.store import edited_events, views
from receiver.store.edited_events import edited_key
from receiver.store.jobs import ClientKeyReused

MAX_NAMED = 10
"""Changed fields that the audit log names."""
_NOT_OF_AUDIO = ("status", "metadata", "created_at", "chars_charged", "error")
"""Fields of a completed job's payload from which no request for its audio is made."""


class NotEdited(ReceiverError):
    """The edited payload is that of the event."""

    reason = "not_edited"


class PayloadTooLarge(ReceiverError):
    """The edited payload is larger than a delivery may be."""

    reason = "payload_too_large"


@dataclass(frozen=True, slots=True)
class Edit:
    """What to make of an event.

    Attributes:
        payload: the whole payload; a text that is as the API shows it, with `[redacted]`, stays what it was.
        handlers: names of handlers; empty for all that the new event is for.
        client_key: the idempotency key of the request: the same edit of the same event is made once.
    """

    event_id: str
    payload: Mapping[str, Any]
    handlers: Sequence[str] = ()
    client_key: str | None = None


class EditResult(NamedTuple):
    """The event that was made.

    Attributes:
        handlers: names of the handlers that have a run of it.
        new: whether this request made it, and not the same one before.
    """

    event_id: str
    handlers: list[str]
    new: bool


def read_editable(connection: Connection, settings: Settings, event_id: str) -> Mapping[str, Any]:
    """The row of an event, as `views.signed_events` has it, if it can be edited.

    Raises:
        NotFound: there is no such event.
        NotReplayable: it is in quarantine, or its stored signature does not match its stored body.
    """
    found = next(iter(views.signed_events(connection, [event_id])), None)
    if found is None:
        raise NotFound(f"There is no event {event_id}.")
    require_replayable(settings, found)
    return found


def edit_event(
    connection: Connection,
    settings: Settings,
    registry: Registry,
    recorder: ChangeRecorder,
    edit: Edit,
    new_id: str,
    now: float,
) -> EditResult:
    """Store the edited event with its runs, and the entry of the audit log.

    Args:
        new_id: of the new event.
        now: unix seconds.

    Raises:
        ClientKeyReused: the idempotency key belongs to another edit of the event.
        NotEdited: the payload is that of the event.
        NotFound: there is no such event.
        NotReplayable: the event cannot be edited, or the new one is not for one of the handlers.
        PayloadTooLarge: the payload is larger than a delivery may be.
        RedactedValue: it is unknown what a `[redacted]` in the payload stands for.
    """
    event = read_editable(connection, settings, edit.event_id)
    payload = restore_json(dict(edit.payload), event["payload"], recorder.redact)
    key = edited_key(new_id) if edit.client_key is None else edited_key(edit.event_id, edit.client_key)
    made = edited_events.find(connection, key, event["source"], event["type"])
    if made is not None:
        if not same_json(made.payload, payload):
            raise ClientKeyReused(
                f"This idempotency key belongs to another edit, which made {made.event_id}. Use a new one."
            )
        return EditResult(made.event_id, made.handlers, new=made.event_id == new_id)
    changed = changed_fields(event["payload"], payload)
    if not changed:
        raise NotEdited(f"The payload is that of {edit.event_id}: nothing was edited. To run its handlers, replay it.")
    edited = _delivery({**event, "payload": payload}, new_id, key, now, settings)
    size, limit = len(edited.payload.encode()), settings.server.max_body_bytes
    if size > limit:
        raise PayloadTooLarge(f"The payload has {size:,} bytes; server.max_body_bytes is {limit:,}.")
    handlers = choose_handlers(registry, {**event, "payload": payload}, edit.handlers)
    edited_events.store(connection, edited._replace(handlers=tuple(handlers)), edit.event_id)
    if event["type"] == COMPLETED and all(name.partition(".")[0] in _NOT_OF_AUDIO for name in changed):
        edited_events.share_audio(connection, new_id, edit.event_id)
    more = f" and {len(changed) - MAX_NAMED:,} more" if len(changed) > MAX_NAMED else ""
    recorder.add(connection, 1, f"Made {new_id}; changed: {', '.join(changed[:MAX_NAMED])}{more}.")
    return EditResult(new_id, handlers, new=True)


def changed_fields(before: Any, after: Any, path: str = "") -> list[str]:
    """The paths of the fields that two payloads do not have alike, such as `metadata.order`."""
    if not isinstance(before, dict) or not isinstance(after, dict):
        return [] if same_json(before, after) else [path]
    found = []
    for name in dict.fromkeys((*before, *after)):
        inner = f"{path}.{name}" if path else name
        if name in before and name in after:
            found += changed_fields(before[name], after[name], inner)
        else:
            found.append(inner)
    return found


def _delivery(event: Mapping[str, Any], new_id: str, key: str, now: float, settings: Settings) -> Delivery:
    """The edited event as a delivery, without its handlers.

    What the provider reported of a job stays what it was. The payload of any other event is the body.
    """
    payload = pydantic_core.to_json(event["payload"])
    return Delivery(
        event_id=new_id,
        source=event["source"],
        type=event["type"],
        key=key,
        job_id=event["job_id"],
        origin=Origin.EDITED.value,
        payload=payload.decode(),
        body=event["body"] if event["type"] in TERMINAL else payload,
        headers="[]",
        key_id=None,
        skew=None,
        received_at=now,
        handlers=(),
        indexed=indexed_pairs(event["payload"].get("metadata"), settings.search.metadata),
    )
