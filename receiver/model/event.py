"""The events that handlers receive: typed and frozen.

They are built from the stored row alone, so that a handler gets the same event from a webhook, a poll and a replay.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, ClassVar

from receiver.model.json_body import document_of

COMPLETED = "job.completed"
FAILED = "job.failed"
TEST = "test"
OUR_TYPES = (COMPLETED, FAILED, TEST)
"""The types of the events that the built-in providers report. A service may send any other word."""
TERMINAL = frozenset({COMPLETED, FAILED})
OPPOSITE = {COMPLETED: FAILED, FAILED: COMPLETED}


class Origin(StrEnum):
    """How an event was received: `edited` if an operator made it of another. A replay keeps its event's origin."""

    WEBHOOK = "webhook"
    POLL = "poll"
    SUBMIT = "submit"
    EDITED = "edited"


_ORIGINS = {origin.value: origin for origin in Origin}


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One fact that a provider reported, stored once. Subscribe with `on=Event` to receive every event.

    Attributes:
        id: `evt_` and 32 hex digits; sorts by time.
        source: the name of the configured source.
        type: the provider's event type.
        job_id: the provider's job id; None if the event has none.
        received_at: when the first delivery was accepted (UTC).
        payload: the mapped fields of the event's data, with the same names for every provider.
        raw: the bytes that reported it: a delivery's body, or the response to a poll or a submit. Empty
            if the receiver gave the job up without a response. An edited end of a job has those of the event that it
            was made of; any other edited event has its payload as JSON.
        edited_from: the id of the event that an operator edited to make this one; None if it was received.
    """

    id: str
    source: str
    type: str
    job_id: str | None = None
    origin: Origin = Origin.WEBHOOK
    received_at: datetime
    payload: Mapping[str, Any] = field(default_factory=dict)
    raw: bytes = field(default=b"", repr=False)
    edited_from: str | None = None
    _body: dict[str, Any] | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def body(self) -> Mapping[str, Any]:
        """The provider's whole JSON object, with its own names: `raw`, parsed on first use; read-only.

        Empty if `raw` is not a JSON object.
        """
        if self._body is None:
            object.__setattr__(self, "_body", document_of(self.raw))
        return MappingProxyType(self._body or {})

    @property
    def metadata(self) -> Mapping[str, Any]:
        """The `metadata` that was submitted with the job; empty if there was none."""
        value = self.payload.get("metadata")
        return value if isinstance(value, Mapping) else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class JobCompleted(Event):
    """A job's audio is ready at the provider. Get it with `await ctx.audio()`."""

    job_id: str
    chars_charged: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFailed(Event):
    """A job ended without audio.

    Attributes:
        code: the provider's error code, such as `GENERATION_FAILED`; empty if it gave none.
        message: the provider's error message; empty if it gave none.
    """

    job_id: str
    code: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TestEvent(Event):
    """The provider's test of our webhook address."""

    __test__: ClassVar[bool] = False  # its name looks like a test class to pytest


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherEvent(Event):
    """Any other event of the provider; `type` has its type, `payload` and `body` its data."""


_BY_TYPE: dict[str, type[Event]] = {COMPLETED: JobCompleted, FAILED: JobFailed, TEST: TestEvent}


def event_class(type_: str) -> type[Event]:
    """The class of events of this type."""
    return _BY_TYPE.get(type_, OtherEvent)


def subscribes(on: tuple[type[Event], ...], type_: str) -> bool:
    """Whether a handler of these event classes gets events of this type."""
    return issubclass(event_class(type_), on)


def build_event(
    *,
    id: str,
    source: str,
    type: str,
    job_id: str | None,
    origin: str,
    received_at: float,
    payload: Mapping[str, Any],
    raw: bytes = b"",
    edited_from: str | None = None,
) -> Event:
    """Build the typed event of a stored row.

    Args:
        received_at: unix seconds.
        payload: the normalised payload of a provider module (see `model.delivery.Parsed`).
        raw: the stored body.
        edited_from: the event that this one was made of.
    """
    details: dict[str, Any] = {}
    cls = event_class(type)
    if cls is JobCompleted:
        charged = payload.get("chars_charged")
        details["chars_charged"] = charged if isinstance(charged, int) else None
    elif cls is JobFailed:
        error = payload.get("error")
        error = error if isinstance(error, Mapping) else {}
        details["code"] = str(error.get("code") or "")
        details["message"] = str(error.get("message") or "")
    return cls(
        id=id, source=source, type=type, job_id=job_id, origin=_ORIGINS[origin],
        received_at=datetime.fromtimestamp(received_at, UTC), payload=payload, raw=raw,
        edited_from=edited_from, **details,
    )  # fmt: skip
