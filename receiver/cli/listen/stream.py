"""Reads the server-sent events of `GET /v1/stream`. Pure.

Beside events the stream has positions, in comments: up to which event everything was sent. They are what a reader with
a filter, or one that has had no event yet, resumes from.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from receiver.cli.listen.errors import NotAStream
from receiver.errors import InvalidJson
from receiver.model.json_body import read_strict_json_object

MAX_MESSAGE_BYTES = 1 << 20
"""Of one message; an event in the stream has less than two kilobytes."""

EVENT_ID = re.compile(r"evt_[0-9a-f]{32}\Z")
_POSITION = re.compile(r"position (evt_[0-9a-f]{32}) (\S+)\Z")
_NOTHING_NEW = "nothing new"


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """An event's summary. `received_at` is in unix seconds, by the receiver's clock."""

    id: str
    source: str
    type: str
    job_id: str | None
    state: str
    received_at: float


@dataclass(frozen=True, slots=True)
class StreamPosition:
    """Everything up to this event was sent.

    Attributes:
        at: unix seconds of the receiver's clock.
        caught_up: whether the receiver had no later event then.
    """

    id: str
    at: float
    caught_up: bool


@dataclass(frozen=True, slots=True)
class StreamComment:
    """A sign of life without a position."""


StreamMessage = StreamEvent | StreamPosition | StreamComment


class StreamReader:
    """Splits the received bytes into messages."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, chunk: bytes) -> Iterator[StreamMessage]:
        """The messages that this chunk completes.

        Raises:
            NotAStream: it is not a stream of the receiver's events.
        """
        self._buffer += chunk
        *messages, self._buffer = self._buffer.split(b"\n\n")
        if len(self._buffer) > MAX_MESSAGE_BYTES:
            raise NotAStream("It sends a message without an end.")
        for message in messages:
            found = _read(message.decode("utf-8", "replace").split("\n"))
            if found is not None:
                yield found


def _read(lines: list[str]) -> StreamMessage | None:
    comments = [line[1:].strip() for line in lines if line.startswith(":")]
    data = [line.removeprefix("data:").strip() for line in lines if line.startswith("data:")]
    if data:
        return _event("\n".join(data))
    for comment in comments:
        if match := _POSITION.match(comment):
            return StreamPosition(match[1], parse_time(match[2]), caught_up=_NOTHING_NEW in comments)
    return StreamComment() if comments else None


def _event(data: str) -> StreamEvent:
    try:
        value = read_strict_json_object(data.encode())
        job_id = value["job_id"]
        id, source, type_, state = (_text(value[name]) for name in ("id", "source", "type", "state"))
        received_at = parse_time(_text(value["received_at"]))
    except (InvalidJson, KeyError) as error:
        raise NotAStream(f"It sends an event that cannot be read: {error}.") from None
    if not EVENT_ID.match(id):
        raise NotAStream("It sends an event whose id is not one of a receiver.")
    return StreamEvent(id, source, type_, None if job_id is None else _text(job_id), state, received_at)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise NotAStream("It sends an event that cannot be read: a text is something else.")
    return value


def parse_time(text: str) -> float:
    """An ISO time with its zone as unix seconds.

    Raises:
        NotAStream: it is not one.
    """
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise NotAStream("It sends a time that is not in ISO 8601.") from None
    if at.tzinfo is None:
        raise NotAStream("It sends a time without a zone.")
    return at.timestamp()
