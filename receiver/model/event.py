"""What a handler is given: one fact about a job, as a typed and frozen value.

Built from the stored row alone, so that a webhook, a poll and a replay look the same to a handler.
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
TERMINAL = frozenset({COMPLETED, FAILED})
OPPOSITE = {COMPLETED: FAILED, FAILED: COMPLETED}


class Origin(StrEnum):
    """How an event was received. A replay keeps its event's origin."""

    WEBHOOK = "webhook"
    POLL = "poll"
    SUBMIT = "submit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One fact, stored once. Subscribe with `on=Event` to be given every event.

    Attributes:
        id: ours: `evt_` and 32 hex digits, sorting by time.
        source: the configured source's name.
        type: the provider's event word.
        job_id: the provider's job id; None where the event names no job.
        received_at: when the first delivery was accepted (UTC).
        payload: the mapped fields of the event's data, with the same names whatever the provider.
        raw: the bytes that reported it: a delivery's body, or the answer to a poll or a submit. Empty
            if nothing was received because the receiver gave the job up.
    """

    id: str
    source: str
    type: str
    job_id: str | None = None
    origin: Origin = Origin.WEBHOOK
    received_at: datetime
    payload: Mapping[str, Any] = field(default_factory=dict)
    raw: bytes = field(default=b"", repr=False)
    _body: dict[str, Any] | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def body(self) -> Mapping[str, Any]:
        """The provider's whole answer, under its own names: `raw` as JSON, read-only; parsed on first use.

        Empty where `raw` is no JSON object.
        """
        if self._body is None:
            object.__setattr__(self, "_body", document_of(self.raw))
        return MappingProxyType(self._body or {})

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What was given as `metadata` when the job was submitted; empty if nothing was."""
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
        message: the provider's words; empty if it gave none.
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
    """Any other event word of the provider's; `type` has the word, `payload` and `body` the data."""


_BY_TYPE: dict[str, type[Event]] = {COMPLETED: JobCompleted, FAILED: JobFailed, TEST: TestEvent}


def event_class(type_: str) -> type[Event]:
    """The class that an event of this type word becomes."""
    return _BY_TYPE.get(type_, OtherEvent)


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
) -> Event:
    """Make the typed event out of a stored row.

    Args:
        received_at: unix seconds.
        payload: the normalised payload that a provider module made (see `model.delivery.Parsed`).
        raw: the stored body.
    """
    common: dict[str, Any] = {
        "id": id,
        "source": source,
        "type": type,
        "job_id": job_id,
        "origin": Origin(origin),
        "received_at": datetime.fromtimestamp(received_at, UTC),
        "payload": payload,
        "raw": raw,
    }
    cls = event_class(type)
    if cls is JobCompleted:
        charged = payload.get("chars_charged")
        common["chars_charged"] = charged if isinstance(charged, int) else None
    elif cls is JobFailed:
        error = payload.get("error")
        error = error if isinstance(error, Mapping) else {}
        common["code"] = str(error.get("code") or "")
        common["message"] = str(error.get("message") or "")
    return cls(**common)
