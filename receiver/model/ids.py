"""Ids of events, jobs and changes: UUIDv7 (RFC 9562), which sort by time and can be created before the commit."""

from __future__ import annotations

import re

_VERSION_AND_VARIANT = 7 << 76 | 1 << 63
CHANGE_PREFIX = "chg_"
CLIENT_KEY_PATTERN = r"^[!-~]([ -~]*[!-~])?$"
"""An idempotency key of a client: visible ASCII, with spaces inside only."""
MAX_CLIENT_KEY = 255
_UUID_V4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.IGNORECASE)


def event_id(now: float, random_bits: int) -> str:
    """Create an event's id.

    Args:
        now: unix seconds.
        random_bits: at least 74 random bits; the rest is ignored.
    """
    return "evt_" + _uuid7(now, random_bits)


def new_job_id(now: float, random_bits: int) -> str:
    """Create our id of a job, which it has before the provider's. Arguments as for `event_id`."""
    return "job_" + _uuid7(now, random_bits)


def new_change_id(now: float, random_bits: int) -> str:
    """Create the id of an entry of the audit log. Arguments as for `event_id`."""
    return CHANGE_PREFIX + _uuid7(now, random_bits)


def new_submit_key(random_bits: int) -> str:
    """Create an `Idempotency-Key`: a UUID v4, as providers require.

    Args:
        random_bits: at least 122 random bits; the rest is ignored.
    """
    digits = f"{random_bits & (1 << 122) - 1:031x}"
    variant = "89ab"[int(digits[15], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[12:15]}-{variant}{digits[16:19]}-{digits[19:]}"


def is_submit_key(text: str) -> bool:
    """Whether a text can be sent to providers as an `Idempotency-Key`: it is a UUID v4, in either letter case."""
    return _UUID_V4.fullmatch(text) is not None


def is_client_key(text: str) -> bool:
    """Whether a text can be a client's idempotency key."""
    return len(text) <= MAX_CLIENT_KEY and re.fullmatch(CLIENT_KEY_PATTERN.strip("^$"), text) is not None


def first_id_at(seconds: float, prefix: str = "evt_") -> str:
    """A lower bound of ids: those created before `seconds` (unix) sort before it, all others do not."""
    return f"{prefix}{max(0, int(seconds * 1000)) & (1 << 48) - 1:012x}"


def time_of_id(id: str) -> float | None:
    """When an id was created, unix seconds to the millisecond; None if it is not one of ours."""
    digits = id.rpartition("_")[2]
    return int(digits[:12], 16) / 1000 if re.fullmatch("[0-9a-f]{32}", digits) else None


def _uuid7(now: float, random_bits: int) -> str:
    milliseconds = int(now * 1000) & 0xFFFF_FFFF_FFFF
    random = (random_bits >> 62 & 0xFFF) << 64 | random_bits & (1 << 62) - 1
    return f"{milliseconds << 80 | _VERSION_AND_VARIANT | random:032x}"
