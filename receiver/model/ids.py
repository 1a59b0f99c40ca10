"""Event ids: UUIDv7 (RFC 9562), so that they sort by time and can be made before the commit."""

from __future__ import annotations


def event_id(now: float, random_bits: int) -> str:
    """Make an event's id.

    Args:
        now: unix seconds.
        random_bits: at least 74 random bits; more are cut off.
    """
    value = (int(now * 1000) & (1 << 48) - 1) << 80
    value |= 0x7 << 76
    value |= (random_bits >> 62 & 0xFFF) << 64
    value |= 0b10 << 62
    value |= random_bits & (1 << 62) - 1
    return f"evt_{value:032x}"


def first_id_at(seconds: float) -> str:
    """What every id made before `seconds` (unix) sorts before, and every one made at or after it does not."""
    return f"evt_{max(0, int(seconds * 1000)) & (1 << 48) - 1:012x}"
