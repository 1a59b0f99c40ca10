"""Events that an operator made by editing another: stored like a delivery, under an identity that no delivery has.

Nothing of a job is looked up by such an identity, so that an edited event ends no job, and is no duplicate of its end.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import Connection, insert, literal, select, update

from receiver.model.delivery import Delivery
from receiver.store.dialect import DIALECTS
from receiver.store.inbox import accept
from receiver.store.schema import artifacts, events, runs

MAX_SHOWN = 20
"""Edited events of one event that are listed with it."""


class EditedEvent(NamedTuple):
    """An edited event that is stored, and the names of the handlers that got a run of it."""

    event_id: str
    payload: Any
    handlers: list[str]


def edited_key(event_id: str, client_key: str | None = None) -> str:
    """The key of an edited event. It begins with a space, as no job id, message id or hash does.

    Args:
        event_id: its own id; with a `client_key`, that of the event that is edited.
        client_key: the idempotency key of the request, so that the same request finds the same event.
    """
    return f" {event_id}" if client_key is None else f" {event_id} {client_key}"


def find(connection: Connection, key: str, source: str, type_: str) -> EditedEvent | None:
    """The edited event with this identity; no other transaction stores one until the end of this one."""
    DIALECTS[connection.dialect.name].events.hold_keys(connection, [key])
    same = (events.c.key == key, events.c.source == source, events.c.type == type_)
    found = connection.execute(select(events.c.id, events.c.payload).where(*same)).first()
    if found is None:
        return None
    names = connection.execute(select(runs.c.handler).where(runs.c.event_id == found.id).order_by(runs.c.handler))
    return EditedEvent(found.id, found.payload, list(names.scalars()))


def store(connection: Connection, edited: Delivery, edited_from: str) -> None:
    """Store an edited event, with its runs and its pairs of metadata.

    Args:
        edited_from: the event that it was made of.
    """
    accept(connection, [edited])
    connection.execute(update(events).where(events.c.id == edited.event_id).values(edited_from=edited_from))


def share_audio(connection: Connection, event_id: str, edited_from: str) -> None:
    """Let an edited event have the files that were fetched for the event that it was made of."""
    columns = [column for column in artifacts.c if column is not artifacts.c.event_id]
    rows = select(literal(event_id), *columns).where(artifacts.c.event_id == edited_from)
    connection.execute(insert(artifacts).from_select(["event_id", *(column.name for column in columns)], rows))


def made_of(connection: Connection, event_id: str) -> list[str]:
    """The ids of the newest events that were made by editing this one."""
    of = select(events.c.id).where(events.c.edited_from == event_id)
    return list(connection.execute(of.order_by(events.c.id.desc()).limit(MAX_SHOWN)).scalars())
