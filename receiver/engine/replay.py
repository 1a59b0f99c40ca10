"""Replays events, and releases them from quarantine. The stored signature is verified again first."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection

from receiver.engine.plugins import Registry
from receiver.errors import NotFound, ReceiverError, SignatureError
from receiver.model.event import Origin
from receiver.settings import Settings, suggestion
from receiver.store import inbox, runs, views
from receiver.store.states import EventStatus


class NotReplayable(ReceiverError):
    """The event cannot be replayed in its state; the message says why and what to do."""

    reason = "not_replayable"


class ReplayResult(NamedTuple):
    """The result for one event.

    Attributes:
        handlers: names of the handlers that will run.
        error: why the event was refused and not changed; None if it was not.
    """

    event_id: str
    handlers: list[str]
    error: ReceiverError | None = None


def count_due(results: Collection[ReplayResult]) -> int:
    """The runs that were made due."""
    return sum(len(result.handlers) for result in results)


def count_changed(results: Collection[ReplayResult]) -> int:
    """The events that were not refused."""
    return sum(result.error is None for result in results)


def replay_events(
    connection: Connection,
    settings: Settings,
    registry: Registry,
    ids: Sequence[str],
    only: Collection[str],
    now: float,
) -> list[ReplayResult]:
    """Make the runs of events due again.

    An event is refused, without affecting the others, if it does not exist or is in quarantine, if a handler is not
    active or not for the event, or if its stored signature does not match its stored body.

    Args:
        only: names of handlers; empty for all that the event is for.

    Returns:
        One result for each event, in order.
    """

    def wanted_of(event: Mapping[str, Any]) -> list[str]:
        require_replayable(settings, event)
        return choose_handlers(registry, event, only)

    checked = _check(connection, ids, wanted_of)
    keys = [(event_id, name) for event_id, wanted, _ in checked for name in wanted]
    due: dict[str, list[str]] = {}
    for event_id, name in runs.replay(connection, keys, now):
        due.setdefault(event_id, []).append(name)
    return [ReplayResult(event_id, due.get(event_id, []), error) for event_id, _, error in checked]


def release_events(
    connection: Connection, settings: Settings, registry: Registry, ids: Sequence[str], now: float
) -> list[ReplayResult]:
    """Take events out of quarantine and dispatch them.

    An event is refused, without affecting the others, if it does not exist or is not in quarantine, or if its stored
    signature does not match its stored body.

    Returns:
        One result for each event, in order.
    """

    def names_of(event: Mapping[str, Any]) -> list[str]:
        reverify(settings, event)
        if event["status"] != EventStatus.QUARANTINED:
            raise NotReplayable(f"{event['id']} is not in quarantine.")
        return choose_handlers(registry, event, ())

    checked = _check(connection, ids, names_of)
    accepted = {event_id: names for event_id, names, error in checked if error is None}
    released = inbox.release(connection, accepted, now)
    return [
        result if result.error is not None or result.event_id in released else _not_quarantined(result.event_id)
        for result in checked
    ]


def _not_quarantined(event_id: str) -> ReplayResult:
    return ReplayResult(event_id, [], NotReplayable(f"{event_id} is not in quarantine."))


def require_replayable(settings: Settings, event: Mapping[str, Any]) -> None:
    """Check that an event was dispatched, and that its row was not changed.

    Raises:
        NotReplayable: it is in quarantine, or its stored signature does not match its stored body.
    """
    if event["status"] == EventStatus.QUARANTINED:
        raise NotReplayable(f"{event['id']} is in quarantine; `tts-receiver events release` dispatches it.")
    reverify(settings, event)


def choose_handlers(registry: Registry, event: Mapping[str, Any], only: Collection[str]) -> list[str]:
    """The names of the handlers that get an event.

    Args:
        only: names of handlers; empty for all that the event is for.

    Raises:
        NotReplayable: one of `only` is not active, or the event is not for it.
    """
    if not only:
        return list(registry.names_for(event["type"], event["source"], event["payload"]))
    wanted = list(dict.fromkeys(only))
    for name in wanted:
        if name not in registry:
            raise NotReplayable(f"No handler {name!r} is active{suggestion(name, registry.active)}")
        mismatch = registry[name].handler.mismatch(event["type"], event["source"], event["payload"])
        if mismatch is not None:
            raise NotReplayable(f"{event['id']} is not for the handler {name}: its {mismatch}.")
    return wanted


def _check(
    connection: Connection, ids: Sequence[str], handlers_of: Callable[[Mapping[str, Any]], list[str]]
) -> list[ReplayResult]:
    """Return each event's handlers, or the error that refuses it. One body is in memory at a time."""
    found: dict[str, ReplayResult] = {}
    for event in views.signed_events(connection, ids):
        event_id = event["id"]
        try:
            found[event_id] = ReplayResult(event_id, handlers_of(event))
        except ReceiverError as error:
            found[event_id] = ReplayResult(event_id, [], error)
    return [found.get(id_) or ReplayResult(id_, [], NotFound(f"There is no event {id_}.")) for id_ in ids]


def reverify(settings: Settings, event: Mapping[str, Any]) -> bool:
    """Verify the stored signature over the stored body again.

    Returns:
        True if it is valid; False if it cannot be verified: the event came by polling, or its key was retired.

    Raises:
        NotReplayable: the signature is invalid although its key is configured: the row was changed.
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
            f"{event['id']}: the stored signature does not match the stored body ({error.reason}): the row was changed."
        ) from None
    return True
