"""Replay and release: an operator's second chance for an event. The stored signature is checked again first."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection

from receiver.engine.plugins import Registry
from receiver.errors import NotFound, ReceiverError, SignatureError
from receiver.model.event import Origin
from receiver.settings import Settings, nearest
from receiver.store import inbox, runs, views


class NotReplayable(ReceiverError):
    """The event cannot be replayed as it stands; the message says why and what to do."""

    reason = "not_replayable"


def replay_event(
    connection: Connection, settings: Settings, registry: Registry, event_id: str, only: Iterable[str], now: float
) -> list[str]:
    """Make an event's runs due again.

    Args:
        only: names of handlers; empty for all that subscribe to the event.

    Returns:
        Names of the handlers that will run.

    Raises:
        NotFound: there is no such event.
        NotReplayable: it is in quarantine, a handler is not active, or its stored body no longer fits its signature.
    """
    event = _event(connection, event_id)
    if event["status"] == "quarantined":
        raise NotReplayable(f"{event_id} is in quarantine; `tts-receiver events release` dispatches it.")
    reverify(settings, event)
    wanted = list(only) or list(registry.names_for(event["type"]))
    for name in wanted:
        if name not in registry:
            raise NotReplayable(f"No handler {name!r} is active{nearest(name, registry.active)}")
    return runs.replay(connection, event_id, wanted, now)


def release_event(
    connection: Connection, settings: Settings, registry: Registry, event_id: str, now: float
) -> list[str]:
    """Take an event out of quarantine and dispatch it.

    Returns:
        Names of the handlers that will run.

    Raises:
        NotFound: there is no such event.
        NotReplayable: it is not in quarantine, or its stored body no longer fits its signature.
    """
    event = _event(connection, event_id)
    reverify(settings, event)
    names = registry.names_for(event["type"])
    if not inbox.release(connection, event_id, names, now):
        raise NotReplayable(f"{event_id} is not in quarantine.")
    return list(names)


def reverify(settings: Settings, event: dict[str, Any]) -> bool:
    """Check the stored signature over the stored body again.

    Returns:
        True if it holds; False if it cannot be told: the event came by polling, or its key was retired.

    Raises:
        NotReplayable: the key is there, and the signature does not hold: somebody changed the row.
    """
    source = settings.sources.get(event["source"])
    if event["origin"] != Origin.WEBHOOK or source is None or (scheme := source.scheme) is None:
        return False
    keys = [key for key in source.signing_keys() if key.id == event["key_id"]]
    if not keys:
        return False
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in event["headers"]]
    try:
        scheme.verify(headers, event["body"], keys, event["received_at"])
    except SignatureError as error:
        raise NotReplayable(
            f"{event['id']}: the stored body does not fit its stored signature ({error.reason}): the row was changed."
        ) from None
    return True


def _event(connection: Connection, event_id: str) -> dict[str, Any]:
    event = views.get_event(connection, event_id)
    if event is None:
        raise NotFound(f"There is no event {event_id}.")
    return event
