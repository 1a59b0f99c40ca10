"""Whether events may have been deleted before they were handed over. Pure.

A receiver deletes finished events that are older than its retention period, which has a minimum, and deletes the oldest
first. So what is younger than the minimum is there, and if a finished event from before a position is there, all that
followed the position is.
"""

from __future__ import annotations

from dataclasses import dataclass

from receiver.model.timestamps import utc_text

KEPT_SECONDS = 47 * 3600.0
"""A receiver keeps every event for at least two days (`store.retention_days`); less an hour for two clocks."""
_BEFORE_EVENTS = "0" * 20
"""What the id of a position that is a time ends with; an event's own never does: it has the bits of a UUIDv7."""
_FIRST_DIGIT, _END_OF_TIME = 4, 16


@dataclass(frozen=True, slots=True)
class Found:
    """What the receiver says of a position.

    Attributes:
        state: of the event at the position; None if it does not exist.
        has_older: whether a finished event from before the position is known to exist.
    """

    state: str | None
    has_older: bool


def is_event(position: str) -> bool:
    """Whether a position is an event's id, and not a time in its form."""
    return not position.endswith(_BEFORE_EVENTS)


def position_at(seconds: float) -> str:
    """The position before all events that are created from this time (unix seconds) on."""
    return f"evt_{max(0, int(seconds * 1000)) & (1 << 48) - 1:012x}{_BEFORE_EVENTS}"


def gap(position: str, complete_until: float, now: float, found: Found) -> str | None:
    """What may be missing after a position, in a sentence; None if nothing is.

    Args:
        complete_until: up to when all is known to be handed over, unix seconds.
        now: unix seconds of the receiver's clock.
    """
    if is_event(position) and found.state is None and now - _created_at(position) < KEPT_SECONDS:
        return (
            f"The receiver does not know {position}, the last event that was handed over, although it is not old: "
            "it was restored from a backup, or is another receiver. Events may be missing, or come again."
        )
    if now - complete_until < KEPT_SECONDS or found.state == "done" or found.has_older:
        return None
    return (
        f"Events that the receiver got after {utc_text(complete_until)} may be missing: it deletes old events, and has "
        "none from before that time any more. Going on with the first that it still has."
    )


def _created_at(event_id: str) -> float:
    return int(event_id[_FIRST_DIGIT:_END_OF_TIME], 16) / 1000
